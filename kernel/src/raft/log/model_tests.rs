//! Any sequence of calls, with reopenings and torn tails in between, leaves what a plain model
//! says.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use openraft::storage::{LogState, RaftLogStorage, RaftLogStorageExt};
use openraft::{EntryPayload, RaftLogReader};
use proptest::prelude::*;

use super::segment::{list_segments, segment_path};
use super::shared::LogOptions;
use super::store::LogStore;
use crate::heart::Hearts;
use crate::metrics::Metrics;
use crate::raft::ClusterId;
use crate::raft::reserve::Reserve;
use crate::raft::types::{Entry, LogId, Payload, Vote, log_id, vote};

#[derive(Debug, Clone)]
enum Call {
    Vote(u64),
    Append {
        entries: u64,
        bytes: usize,
    },
    /// Keeps this share of the entries, in percent.
    Truncate(u64),
    /// Removes this share of the entries, in percent.
    Purge(u64),
    Commit,
    Reopen,
    /// Opens again with this many bytes of a record at the end that was never finished.
    Tear(usize),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        1 => (1_u64..100).prop_map(Call::Vote),
        6 => (1_u64..6, 0_usize..120).prop_map(|(entries, bytes)| Call::Append { entries, bytes }),
        1 => (0_u64..=100).prop_map(Call::Truncate),
        2 => (0_u64..=100).prop_map(Call::Purge),
        1 => Just(Call::Commit),
        2 => Just(Call::Reopen),
        1 => (1_usize..60).prop_map(Call::Tear),
    ]
}

#[derive(Debug, Default)]
struct Model {
    term: u64,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    entries: BTreeMap<u64, Entry>,
}

impl Model {
    fn last(&self) -> Option<LogId> {
        self.entries
            .last_key_value()
            .map(|(_, entry)| entry.log_id)
            .or(self.purged)
    }

    /// The entry that stands after this share of the entries.
    fn at(&self, percent: u64) -> Option<LogId> {
        let count = u64::try_from(self.entries.len()).unwrap();
        self.entries
            .values()
            .nth(usize::try_from(count * percent / 101).unwrap())
            .map(|entry| entry.log_id)
    }
}

fn open(directory: &Path) -> LogStore {
    let reserve = Arc::new(Reserve::open(directory, 0));
    let cluster = ClusterId::from_bytes([1; 16]);
    LogStore::open(
        LogOptions {
            directory: directory.to_owned(),
            cluster,
            segment_bytes: 300,
            cache_bytes: 150,
            reserve,
            hearts: Hearts::default(),
            metrics: Metrics::default(),
        },
        None,
    )
    .unwrap()
}

async fn run(calls: Vec<Call>) {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path());
    let mut model = Model::default();
    for call in calls {
        match call {
            Call::Vote(term) => {
                model.term += term;
                model.vote = Some(vote(model.term, 1, term % 2 == 0));
                log.save_vote(&model.vote.unwrap()).await.unwrap();
            }
            Call::Append { entries, bytes } => {
                let next = model.last().map_or(0, |last| last.index + 1);
                let new: Vec<_> = (next..next + entries)
                    .map(|index| Entry {
                        log_id: log_id(model.term, index),
                        payload: EntryPayload::Normal(Payload(Bytes::from(vec![b'K'; bytes]))),
                    })
                    .collect();
                model
                    .entries
                    .extend(new.iter().map(|entry| (entry.log_id.index, entry.clone())));
                log.blocking_append(new).await.unwrap();
            }
            Call::Truncate(percent) => {
                if let Some(after) = model.at(percent) {
                    model.entries.split_off(&(after.index + 1));
                    log.truncate_after(Some(after)).await.unwrap();
                }
            }
            Call::Purge(percent) => {
                if let Some(upto) = model.at(percent) {
                    model.entries = model.entries.split_off(&(upto.index + 1));
                    model.purged = Some(upto);
                    log.purge(upto).await.unwrap();
                }
            }
            Call::Commit => {
                model.committed = model.last();
                log.save_committed(model.committed).await.unwrap();
            }
            Call::Reopen | Call::Tear(_) => {
                log.watch().close_and_wait();
                if let Call::Tear(bytes) = call {
                    let last = *list_segments(directory.path()).unwrap().last().unwrap();
                    let mut file = OpenOptions::new()
                        .append(true)
                        .open(segment_path(directory.path(), last))
                        .unwrap();
                    let torn = [b"KL\x02\0\xff\0\0\0".as_slice(), &[7; 60]].concat();
                    file.write_all(&torn[..bytes]).unwrap();
                }
                log = open(directory.path());
            }
        }
        let state = LogState {
            last_purged_log_id: model.purged,
            last_log_id: model.last(),
        };
        assert_eq!(log.get_log_state().await.unwrap(), state);
    }
    log.watch().close_and_wait();
    let mut log = open(directory.path());
    let mut reader = log.get_log_reader().await;
    assert_eq!(
        reader.try_get_log_entries(..).await.unwrap(),
        model.entries.into_values().collect::<Vec<_>>()
    );
    assert_eq!(reader.read_vote().await.unwrap(), model.vote);
    assert_eq!(log.read_committed().await.unwrap(), model.committed);
    log.watch().close_and_wait();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_calls_and_crashes_leaves_what_the_model_says(calls in prop::collection::vec(call(), 1..40)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(calls));
    }
}
