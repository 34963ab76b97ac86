//! When snapshots are made, and how the log is cut behind them.
//!
//! *Flow*: the replica counts what was logged and wakes the loop here; the loop asks openraft for a
//! snapshot, waits for its outcome, and purges the log up to the older of the two snapshots that
//! are kept, so that a damaged newest one costs nothing. *Guarantees*: one attempt at a time; a
//! failed attempt is told and leaves everything as it was; a tail of the log stays for members that
//! lag. *Caveats*: entries that are being read for a lagging member are purged later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::{Raft, RaftMetrics};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::log::LogWatch;
use super::machine::Position;
use super::replica::Replica;
use super::reserve::Reserve;
use super::snapshot::{SnapshotDirectory, SnapshotError};
use super::types::TypeConfig;
use crate::heart::Heart;

/// How long a snapshot waits for the log to be purged after it; a purge that is held up happens
/// later.
const PURGE_PATIENCE: Duration = Duration::from_secs(10);
/// How long a snapshot may take before somebody should look.
const SNAPSHOT: Duration = Duration::from_secs(120);

/// When a snapshot is due, and what became of the last attempt.
pub(crate) struct Compaction {
    after_bytes: u64,
    newest_bytes: AtomicU64,
    written_at_last: AtomicU64,
    /// Wakes the loop that asks for snapshots.
    pub(crate) due: Notify,
    /// Counts attempts, with the outcome of the last.
    pub(crate) outcome: watch::Sender<(u64, Option<Arc<SnapshotError>>)>,
}

impl Compaction {
    /// Starts counting at nothing.
    pub(crate) fn new(after_bytes: u64) -> Self {
        Self {
            after_bytes,
            newest_bytes: AtomicU64::new(0),
            written_at_last: AtomicU64::new(0),
            due: Notify::new(),
            outcome: watch::Sender::new((0, None)),
        }
    }

    /// Notes how large the newest snapshot is: the next one is due after as much was logged, so
    /// that snapshots never cost more writing than the log itself.
    pub(crate) fn note_size(&self, bytes: u64) {
        self.newest_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Notes how much was logged, and wakes the loop when it is enough.
    pub(crate) fn note_written(&self, written: u64) {
        let enough = self
            .after_bytes
            .max(self.newest_bytes.load(Ordering::Relaxed));
        if written.saturating_sub(self.written_at_last.load(Ordering::Relaxed)) >= enough {
            // Counted from here even if the attempt fails: a full disk must not make one attempt
            // per entry.
            self.written_at_last.store(written, Ordering::Relaxed);
            self.due.notify_one();
        }
    }

    /// Notes the end of an attempt.
    pub(crate) fn finish(&self, failure: Option<Arc<SnapshotError>>) {
        self.outcome.send_modify(|(attempts, last)| {
            *attempts += 1;
            *last = failure;
        });
    }
}

/// What the loop of snapshots works with.
pub(crate) struct Compactor {
    /// The member's openraft.
    pub(crate) raft: Raft<TypeConfig, Replica>,
    /// Its snapshots.
    pub(crate) snapshots: Arc<SnapshotDirectory>,
    /// What it keeps back for a full disk.
    pub(crate) reserve: Arc<Reserve>,
    /// Its log.
    pub(crate) log: LogWatch,
    /// Who counts.
    pub(crate) compaction: Arc<Compaction>,
    /// What is applied.
    pub(crate) progress: watch::Receiver<Position>,
    /// How many of the newest entries stay, for members that lag.
    pub(crate) kept_entries: u64,
    /// How many bytes these may have.
    pub(crate) kept_bytes: u64,
    /// Tells how the loop does.
    pub(crate) heart: Heart,
}

/// Makes a snapshot when enough was logged, or when asked; one at a time.
pub(crate) async fn run_compactor(
    compactor: Compactor,
    mut requests: mpsc::Receiver<oneshot::Sender<Result<(), Arc<SnapshotError>>>>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        compactor.heart.waits("for enough entries", None);
        let request = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = compactor.compaction.due.notified() => None,
            request = requests.recv() => match request {
                Some(request) => Some(request),
                None => return,
            },
        };
        compactor.heart.works("makes a snapshot", SNAPSHOT);
        let outcome = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            outcome = compactor.compact() => outcome,
        };
        if let Some(request) = request {
            let _ = request.send(outcome);
        }
    }
}

impl Compactor {
    async fn compact(&self) -> Result<(), Arc<SnapshotError>> {
        let stopped = || Arc::new(SnapshotError::Stopped);
        let newest = || {
            self.snapshots
                .newest()
                .and_then(|newest| newest.meta.last_log_id)
        };
        let applied = self.progress.borrow().index;
        self.compaction.note_size(self.snapshots.newest_bytes());
        if newest().is_none_or(|newest| newest.index < applied) {
            let mut outcomes = self.compaction.outcome.subscribe();
            let before = outcomes.borrow_and_update().0;
            self.raft
                .trigger()
                .snapshot()
                .await
                .map_err(|_| stopped())?;
            let outcome = outcomes
                .wait_for(|(attempts, _)| *attempts > before)
                .await
                .map_err(|_| stopped())?
                .1
                .clone();
            if let Some(error) = outcome {
                return Err(error);
            }
        }
        self.compaction.note_size(self.snapshots.newest_bytes());
        let Some(newest) = newest() else {
            return Err(Arc::new(SnapshotError::Nothing));
        };
        // The file is there; openraft has to have heard of it before it lets entries go.
        let knows = |metrics: &RaftMetrics<TypeConfig>| {
            metrics.running_state.is_err()
                || metrics
                    .snapshot
                    .is_some_and(|known| known.index >= newest.index)
        };
        self.raft
            .wait(None)
            .metrics(knows, "the snapshot is known")
            .await
            .map_err(|_| stopped())?;
        // On a full disk room comes before the comfort of a second snapshot and of entries for
        // members that lag.
        let upto = if self.reserve.is_missing() {
            Some(newest.index)
        } else {
            // The entry before the tail is the last that may go.
            let before_tail = self
                .log
                .tail(self.kept_entries, self.kept_bytes)
                .map_or(newest.index, |first| first.saturating_sub(1));
            self.snapshots
                .fallback()
                .map(|fallback| fallback.index.min(before_tail))
        };
        if let Some(upto) = upto
            && self.log.purged().is_none_or(|purged| purged.index < upto)
            && upto > 0
        {
            self.raft
                .trigger()
                .purge_log(upto)
                .await
                .map_err(|_| stopped())?;
            let is_purged = |metrics: &RaftMetrics<TypeConfig>| {
                metrics.running_state.is_err()
                    || metrics.purged.is_some_and(|purged| purged.index >= upto)
            };
            if self
                .raft
                .wait(Some(PURGE_PATIENCE))
                .metrics(is_purged, "the log is purged")
                .await
                .is_err()
            {
                tracing::debug!(
                    upto,
                    "the log is still in use by another member and will be purged later"
                );
            }
        }
        self.reserve.ensure();
        Ok(())
    }
}
