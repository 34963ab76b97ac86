//! openraft's own conformance suite, on a fresh log, on a log that was closed and opened again, and
//! on one that is reopened before every single call.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{OptionalSend, RaftLogReader, StorageError};
use tempfile::TempDir;
use tokio::sync::{Mutex, watch};

use super::shared::LogOptions;
use super::store::{LogReader, LogStore};
use crate::heart::Hearts;
use crate::metrics::Metrics;
use crate::raft::ClusterId;
use crate::raft::applier::{Applier, Outlets};
use crate::raft::compaction::Compaction;
use crate::raft::machine::Position;
use crate::raft::replica::Replica;
use crate::raft::reserve::Reserve;
use crate::raft::roster::Roster;
use crate::raft::snapshot::SnapshotDirectory;
use crate::raft::tests::Journal;
use crate::raft::types::{Entry, LogId, TypeConfig, Vote};

const CLUSTER: ClusterId = ClusterId::from_bytes([1; 16]);

fn open(directory: &Path) -> LogStore {
    let options = LogOptions {
        directory: directory.join("log"),
        cluster: CLUSTER,
        // Small parts, so that the suite also crosses segments and reads entries back from disk.
        segment_bytes: 256,
        cache_bytes: 64,
        reserve: Arc::new(Reserve::open(directory, 0)),
        hearts: Hearts::default(),
        metrics: Metrics::default(),
    };
    LogStore::open(options, None).unwrap()
}

fn replica(directory: &Path, log: &LogStore) -> Replica {
    let snapshots =
        Arc::new(SnapshotDirectory::open(directory.join("snapshots"), CLUSTER).unwrap());
    let reserve = Arc::new(Reserve::open(directory, 0));
    let compaction = Arc::new(Compaction::new(u64::MAX));
    let outlets = Outlets {
        progress: watch::Sender::new(Position::default()),
        roster: watch::Sender::new(Roster::default()),
        log: log.watch(),
        compaction: Arc::clone(&compaction),
    };
    let applier = Applier::start(Box::new(Journal::default()), outlets).unwrap();
    Replica::new(applier, snapshots, reserve, compaction)
}

struct Fresh;

impl StoreBuilder<TypeConfig, LogStore, Replica, TempDir> for Fresh {
    async fn build(&self) -> Result<(TempDir, LogStore, Replica), StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path());
        let replica = replica(directory.path(), &log);
        Ok((directory, log, replica))
    }
}

/// A log that is closed and opened again before every call.
#[derive(Clone)]
struct Reopening {
    directory: std::path::PathBuf,
    log: Arc<Mutex<LogStore>>,
}

impl Reopening {
    async fn reopened(&self) -> tokio::sync::MutexGuard<'_, LogStore> {
        let mut log = self.log.lock().await;
        log.watch().close_and_wait();
        *log = open(&self.directory);
        log
    }

    async fn reader(&self) -> LogReader {
        self.reopened().await.get_log_reader().await
    }
}

impl RaftLogReader<TypeConfig> for Reopening {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        self.reader().await.try_get_log_entries(range).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.reader().await.read_vote().await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.reader()
            .await
            .limited_get_log_entries(start, end)
            .await
    }
}

impl RaftLogStorage<TypeConfig> for Reopening {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        self.reopened().await.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.reopened().await.save_vote(vote).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.reopened().await.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        self.reopened().await.read_committed().await
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        self.reopened().await.append(entries, callback).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        self.reopened().await.truncate_after(last_log_id).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.reopened().await.purge(log_id).await
    }
}

struct ReopenedAlways;

impl StoreBuilder<TypeConfig, Reopening, Replica, TempDir> for ReopenedAlways {
    async fn build(&self) -> Result<(TempDir, Reopening, Replica), StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path());
        let replica = replica(directory.path(), &log);
        let log = Reopening {
            directory: directory.path().to_owned(),
            log: Arc::new(Mutex::new(log)),
        };
        Ok((directory, log, replica))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_log_passes_the_conformance_suite() {
    Suite::test_all(Fresh).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_reopened_before_every_call_passes_the_conformance_suite() {
    Suite::test_all(ReopenedAlways).await.unwrap();
}
