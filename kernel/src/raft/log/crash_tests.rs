//! What a log is after a crash, and after damage.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{EntryPayload, RaftLogReader};
use tempfile::TempDir;

use super::error::LogError;
use super::recovery::{Torn, recover};
use super::segment::{SEGMENT_HEADER, list_segments, segment_path};
use super::shared::LogOptions;
use super::store::LogStore;
use crate::heart::Hearts;
use crate::metrics::Metrics;
use crate::raft::ClusterId;
use crate::raft::reserve::Reserve;
use crate::raft::types::{Entry, Payload, log_id, vote};

const CLUSTER: ClusterId = ClusterId::from_bytes([1; 16]);
const WHOLE_FILE: u64 = 1 << 20;

fn try_open(directory: &Path, segment_bytes: u64) -> Result<LogStore, LogError> {
    let reserve = Arc::new(Reserve::open(directory, 0));
    LogStore::open(
        LogOptions {
            directory: directory.to_owned(),
            cluster: CLUSTER,
            segment_bytes,
            cache_bytes: 100,
            reserve,
            hearts: Hearts::default(),
            metrics: Metrics::default(),
        },
        None,
    )
}

fn close(log: LogStore) {
    log.watch().close_and_wait();
}

fn entry(index: u64) -> Entry {
    let payload = Bytes::from(format!("payload of entry {index}"));
    Entry {
        log_id: log_id(1, index),
        payload: EntryPayload::Normal(Payload(payload)),
    }
}

async fn append(log: &mut LogStore, indexes: impl IntoIterator<Item = u64>) {
    log.blocking_append(indexes.into_iter().map(entry).collect::<Vec<_>>())
        .await
        .unwrap();
}

async fn indexes(log: &mut LogStore) -> Vec<u64> {
    let entries = log
        .get_log_reader()
        .await
        .try_get_log_entries(..)
        .await
        .unwrap();
    for found in &entries {
        assert_eq!(
            *found,
            entry(found.log_id.index),
            "an entry changed its content"
        );
    }
    entries.iter().map(|entry| entry.log_id.index).collect()
}

/// A log of one segment with a vote and ten entries, closed.
async fn ten_entries() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let mut log = try_open(directory.path(), WHOLE_FILE).unwrap();
    log.save_vote(&vote(1, 1, true)).await.unwrap();
    append(&mut log, 0..10).await;
    close(log);
    let path = segment_path(directory.path(), 1);
    (directory, path)
}

/// The bytes that one frame of `entry(0)` to `entry(9)` takes.
fn frame_bytes() -> usize {
    20 + 17 + "payload of entry 0".len()
}

#[tokio::test]
async fn a_tail_cut_at_every_byte_of_the_last_record_keeps_all_complete_ones() {
    let (directory, path) = ten_entries().await;
    let whole = fs::read(&path).unwrap();
    for cut in 1..=frame_bytes() {
        fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        let mut log = try_open(directory.path(), WHOLE_FILE).unwrap();
        assert_eq!(
            indexes(&mut log).await,
            (0..9).collect::<Vec<_>>(),
            "cut {cut} bytes"
        );
        append(&mut log, [9, 10]).await;
        close(log);
        let mut log = try_open(directory.path(), WHOLE_FILE).unwrap();
        assert_eq!(
            indexes(&mut log).await,
            (0..11).collect::<Vec<_>>(),
            "goes on after a cut of {cut} bytes"
        );
        close(log);
    }
}

#[tokio::test]
async fn a_tail_of_zeros_or_garbage_after_a_power_cut_is_cut() {
    let (directory, path) = ten_entries().await;
    let whole = fs::read(&path).unwrap();
    for tail in [
        vec![0; 5000],
        vec![0xff; 777],
        b"KLKLKLKLKLKLKLKLKLKLKLKLKLKLKL".to_vec(),
    ] {
        fs::write(&path, [&whole[..], &tail].concat()).unwrap();
        let mut log = try_open(directory.path(), WHOLE_FILE).unwrap();
        assert_eq!(indexes(&mut log).await, (0..10).collect::<Vec<_>>());
        close(log);
        assert_eq!(
            fs::read(&path).unwrap(),
            whole,
            "nothing but the tail was removed"
        );
    }
}

#[tokio::test]
async fn a_bit_flipped_before_the_last_record_is_a_named_error() {
    let (directory, path) = ten_entries().await;
    let whole = fs::read(&path).unwrap();
    for position in 0..whole.len() - frame_bytes() {
        let mut bad = whole.clone();
        bad[position] ^= 1 << (position % 8);
        fs::write(&path, &bad).unwrap();
        let error = recover(directory.path(), CLUSTER, 0, Torn::Cut).unwrap_err();
        let is_named = match &error {
            LogError::Damaged {
                path: named,
                offset,
                ..
            } => *named == path && *offset <= u64::try_from(position).unwrap(),
            LogError::UnknownVersion { path: named, .. } => *named == path,
            _ => false,
        };
        assert!(is_named, "bit in byte {position}: {error}");
        assert_eq!(
            fs::read(&path).unwrap(),
            bad,
            "a damaged log is left as it is"
        );
    }
}

#[tokio::test]
async fn a_bit_flipped_in_the_last_record_never_invents_an_entry() {
    let (directory, path) = ten_entries().await;
    let whole = fs::read(&path).unwrap();
    for position in whole.len() - frame_bytes()..whole.len() {
        let mut bad = whole.clone();
        bad[position] ^= 1 << (position % 8);
        fs::write(&path, &bad).unwrap();
        let mut log = try_open(directory.path(), WHOLE_FILE).unwrap();
        assert_eq!(
            indexes(&mut log).await,
            (0..9).collect::<Vec<_>>(),
            "byte {position}"
        );
        close(log);
    }
}

#[tokio::test]
async fn a_bit_flipped_anywhere_in_an_earlier_segment_is_a_named_error() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = try_open(directory.path(), 200).unwrap();
    for index in 0..12 {
        append(&mut log, [index]).await;
    }
    close(log);
    assert!(list_segments(directory.path()).unwrap().len() > 2);
    let path = segment_path(directory.path(), 1);
    let whole = fs::read(&path).unwrap();
    for position in 0..whole.len() {
        let mut bad = whole.clone();
        bad[position] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        assert!(
            recover(directory.path(), CLUSTER, 0, Torn::Cut).is_err(),
            "byte {position}"
        );
    }
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let error = recover(directory.path(), CLUSTER, 0, Torn::Cut).unwrap_err();
        assert!(
            matches!(error, LogError::Damaged { .. }),
            "cut at {cut}: {error}"
        );
    }
}

#[tokio::test]
async fn a_missing_or_exchanged_segment_is_a_named_error() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = try_open(directory.path(), 200).unwrap();
    for index in 0..12 {
        append(&mut log, [index]).await;
    }
    close(log);
    let path = |number| segment_path(directory.path(), number);
    let second = fs::read(path(2)).unwrap();
    fs::remove_file(path(2)).unwrap();
    assert!(
        matches!(recover(directory.path(), CLUSTER, 0, Torn::Cut), Err(LogError::MissingSegment { path: missing }) if missing == path(2))
    );
    fs::copy(path(3), path(2)).unwrap();
    assert!(matches!(
        recover(directory.path(), CLUSTER, 0, Torn::Cut),
        Err(LogError::Damaged { .. })
    ));
    fs::write(path(2), second).unwrap();
    let first = fs::read(path(1)).unwrap();
    fs::remove_file(path(1)).unwrap();
    assert!(
        matches!(recover(directory.path(), CLUSTER, 0, Torn::Cut), Err(LogError::MissingSegment { path: missing }) if missing == path(1))
    );
    fs::write(path(1), first).unwrap();
    recover(directory.path(), CLUSTER, 0, Torn::Cut).unwrap();
    assert!(matches!(
        recover(
            directory.path(),
            ClusterId::from_bytes([2; 16]),
            0,
            Torn::Cut
        ),
        Err(LogError::WrongCluster { .. })
    ));
}

#[tokio::test]
async fn a_segment_that_was_never_finished_is_removed_and_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = try_open(directory.path(), 200).unwrap();
    append(&mut log, 0..5).await;
    close(log);
    let last = *list_segments(directory.path()).unwrap().last().unwrap();
    let torn = segment_path(directory.path(), last + 1);
    for length in [0, 1, SEGMENT_HEADER - 1] {
        fs::write(&torn, vec![b'K'; length]).unwrap();
        let mut log = try_open(directory.path(), 200).unwrap();
        assert_eq!(indexes(&mut log).await, (0..5).collect::<Vec<_>>());
        close(log);
        assert!(!torn.exists());
    }
    let mut log = try_open(directory.path(), 200).unwrap();
    append(&mut log, 5..15).await;
    assert_eq!(indexes(&mut log).await, (0..15).collect::<Vec<_>>());
    close(log);
}

#[tokio::test]
async fn purged_segments_are_unlinked_and_what_they_said_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = try_open(directory.path(), 200).unwrap();
    log.save_vote(&vote(7, 1, true)).await.unwrap();
    for index in 0..30 {
        append(&mut log, [index]).await;
        log.save_committed(Some(log_id(1, index))).await.unwrap();
    }
    let before = list_segments(directory.path()).unwrap().len();
    log.purge(log_id(1, 25)).await.unwrap();
    close(log);
    let after = list_segments(directory.path()).unwrap();
    assert!(
        after.len() <= 6 && before > 20,
        "{before} segments before, {} after",
        after.len()
    );
    let mut log = try_open(directory.path(), 200).unwrap();
    assert_eq!(indexes(&mut log).await, [26, 27, 28, 29]);
    let state = log.get_log_state().await.unwrap();
    assert_eq!(
        (state.last_purged_log_id, state.last_log_id),
        (Some(log_id(1, 25)), Some(log_id(1, 29)))
    );
    assert_eq!(
        log.get_log_reader().await.read_vote().await.unwrap(),
        Some(vote(7, 1, true))
    );
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 29)));
    close(log);
}

#[tokio::test]
async fn a_truncated_tail_stays_gone_across_segments_and_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = try_open(directory.path(), 200).unwrap();
    for index in 0..20 {
        append(&mut log, [index]).await;
    }
    log.truncate_after(Some(log_id(1, 4))).await.unwrap();
    append(&mut log, 5..8).await;
    log.purge(log_id(1, 4)).await.unwrap();
    close(log);
    let mut log = try_open(directory.path(), 200).unwrap();
    assert_eq!(indexes(&mut log).await, [5, 6, 7]);
    close(log);
}

#[tokio::test]
async fn entries_that_left_the_cache_are_read_back_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = try_open(directory.path(), 500).unwrap();
    for index in 0..200 {
        append(&mut log, [index]).await;
    }
    assert_eq!(indexes(&mut log).await, (0..200).collect::<Vec<_>>());
    let mut reader = log.get_log_reader().await;
    let middle = reader
        .try_get_log_entries((Bound::Excluded(10), Bound::Included(12)))
        .await
        .unwrap();
    assert_eq!(middle, [entry(11), entry(12)]);
    close(log);
}

#[tokio::test]
async fn a_closed_log_refuses_to_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = try_open(directory.path(), WHOLE_FILE).unwrap();
    log.watch().close_and_wait();
    assert!(log.save_vote(&vote(1, 1, false)).await.is_err());
    assert!(log.blocking_append([entry(0)]).await.is_err());
}

#[tokio::test]
async fn the_vote_survives_a_segment_whose_beginning_was_torn() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = try_open(directory.path(), 200).unwrap();
    log.save_vote(&vote(7, 1, true)).await.unwrap();
    for index in 0..6 {
        append(&mut log, [index]).await;
    }
    close(log);
    let last = *list_segments(directory.path()).unwrap().last().unwrap();
    let path = segment_path(directory.path(), last);
    let whole = fs::read(&path).unwrap();
    for length in 0..=whole.len() {
        let copy = tempfile::tempdir().unwrap();
        for number in 1..last {
            fs::copy(
                segment_path(directory.path(), number),
                segment_path(copy.path(), number),
            )
            .unwrap();
        }
        fs::write(segment_path(copy.path(), last), &whole[..length]).unwrap();
        // Opened twice, as if the member had crashed again before it wrote anything.
        close(try_open(copy.path(), WHOLE_FILE).unwrap());
        let mut log = try_open(copy.path(), WHOLE_FILE).unwrap();
        let next = log
            .get_log_state()
            .await
            .unwrap()
            .last_log_id
            .unwrap()
            .index
            + 1;
        append(&mut log, next..next + 3).await;
        log.purge(log_id(1, next)).await.unwrap();
        close(log);
        let mut log = try_open(copy.path(), WHOLE_FILE).unwrap();
        assert_eq!(
            log.get_log_reader().await.read_vote().await.unwrap(),
            Some(vote(7, 1, true)),
            "cut to {length}"
        );
        assert_eq!(
            indexes(&mut log).await,
            [next + 1, next + 2],
            "cut to {length}"
        );
        close(log);
    }
}
