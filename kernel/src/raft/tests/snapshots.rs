//! Snapshots, compaction, and restarts across them.

use std::fs;

use super::*;
use crate::raft::{RaftError, SnapshotError};

async fn propose_numbers(running: &Running, range: std::ops::Range<usize>) {
    let payloads = numbered(range).into_iter().map(Into::into).collect();
    for outcome in within(running.member.propose_many(payloads)).await.unwrap() {
        outcome.unwrap();
    }
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_restart_across_a_snapshot_and_a_compaction_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    propose_numbers(&running, 0..300).await;
    within(running.member.snapshot_now()).await.unwrap();
    propose_numbers(&running, 300..600).await;
    within(running.member.snapshot_now()).await.unwrap();
    propose_numbers(&running, 600..650).await;
    running.shutdown().await;
    let first = files(&directory.path().join("log"))
        .first()
        .unwrap()
        .clone();
    assert!(
        !first.ends_with("0000000000000001.wal"),
        "the oldest segments are gone: {}",
        first.display()
    );
    assert_eq!(files(&directory.path().join("snapshots")).len(), 2);

    let running = start(directory.path()).await;
    assert_eq!(running.lines(), numbered(0..650));
    assert_eq!(running.propose("650").await, "line 651");
    running.shutdown().await;
}

#[tokio::test]
async fn a_damaged_newest_snapshot_costs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    for range in [0..200, 200..400, 400..600] {
        propose_numbers(&running, range).await;
        within(running.member.snapshot_now()).await.unwrap();
    }
    propose_numbers(&running, 600..610).await;
    running.shutdown().await;
    let newest = files(&directory.path().join("snapshots")).pop().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).unwrap() ^= 4;
    fs::write(&newest, bytes).unwrap();

    let running = start(directory.path()).await;
    assert_eq!(running.lines(), numbered(0..610));
    running.shutdown().await;
}

#[tokio::test]
async fn a_log_without_the_snapshot_that_it_follows_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    for range in [0..200, 200..400] {
        propose_numbers(&running, range).await;
        within(running.member.snapshot_now()).await.unwrap();
    }
    running.shutdown().await;
    fs::remove_dir_all(directory.path().join("snapshots")).unwrap();
    let refused = start_with(config(directory.path())).await.err().unwrap();
    assert!(
        matches!(refused, RaftError::SnapshotBehindLog { snapshot: None, .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn a_snapshot_is_made_by_itself_when_enough_was_logged() {
    let directory = tempfile::tempdir().unwrap();
    let running = start_with(MemberConfig {
        snapshot_after_bytes: 20_000,
        ..config(directory.path())
    })
    .await
    .unwrap();
    within(async {
        let mut next = 0;
        while files(&directory.path().join("snapshots"))
            .iter()
            .filter(|file| file.extension().is_some_and(|kind| kind == "snapshot"))
            .count()
            < 2
        {
            propose_numbers(&running, next..next + 50).await;
            next += 50;
        }
    })
    .await;
    let lines = running.lines();
    running.shutdown().await;
    assert_eq!(start(directory.path()).await.lines(), lines);
}

#[tokio::test]
async fn a_snapshot_of_what_is_already_in_one_is_the_same_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    propose_numbers(&running, 0..10).await;
    within(running.member.snapshot_now()).await.unwrap();
    let before = files(&directory.path().join("snapshots"));
    within(running.member.snapshot_now()).await.unwrap();
    assert_eq!(files(&directory.path().join("snapshots")), before);
    running.shutdown().await;
}

#[tokio::test]
async fn a_snapshot_that_fails_is_told_and_the_member_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    for expected in [0, 1] {
        running.propose("a").await;
        running.propose("break snapshots").await;
        let failed = within(running.member.snapshot_now()).await.unwrap_err();
        assert!(matches!(*failed, SnapshotError::Io { .. }), "{failed}");
        assert_eq!(files(&directory.path().join("snapshots")).len(), expected);
        running.propose("mend snapshots").await;
        within(running.member.snapshot_now()).await.unwrap();
    }
    let lines = running.lines();
    running.shutdown().await;
    assert_eq!(start(directory.path()).await.lines(), lines);
}
