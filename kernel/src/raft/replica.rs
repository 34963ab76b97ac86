//! The machine as openraft sees it: hands on what is committed, makes snapshots, takes them over.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::task::spawn_blocking;

use super::applier::{Applier, Capture, Committed};
use super::compaction::Compaction;
use super::reserve::Reserve;
use super::snapshot::{Snapshot, SnapshotDirectory, SnapshotError, SnapshotFile, SnapshotMeta};
use super::types::{Entry, LogId, Payload, StoredMembership, TypeConfig};

/// Entries applied before the state is shown and the proposers are answered.
const BATCH: usize = 1024;
/// Bytes of payloads after which a batch is applied, however few entries it has.
const BATCH_BYTES: usize = 4 << 20;

/// One member's copy of the machine.
pub(crate) struct Replica {
    applier: Applier,
    snapshots: Arc<SnapshotDirectory>,
    reserve: Arc<Reserve>,
    compaction: Arc<Compaction>,
}

impl Replica {
    /// Uses a machine that has applied nothing yet.
    pub(crate) fn new(
        applier: Applier,
        snapshots: Arc<SnapshotDirectory>,
        reserve: Arc<Reserve>,
        compaction: Arc<Compaction>,
    ) -> Self {
        Self {
            applier,
            snapshots,
            reserve,
            compaction,
        }
    }

    fn builder(&self, is_forced: bool, capture: Option<Capture>) -> Builder {
        Builder {
            is_forced,
            capture: Mutex::new(capture),
            snapshots: Arc::clone(&self.snapshots),
            budget: self.reserve.budget(),
            compaction: Arc::clone(&self.compaction),
        }
    }

    fn check_room(&self) -> Result<(), SnapshotError> {
        let needed = self.snapshots.expected_bytes();
        match self.reserve.available() {
            Some(available) if available < needed => {
                Err(SnapshotError::NoRoom { needed, available })
            }
            _ => Ok(()),
        }
    }
}

fn bytes_of(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(Payload(bytes)) => bytes.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

impl RaftStateMachine<TypeConfig> for Replica {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        self.applier.state().await
    }

    async fn apply<Entries>(&mut self, mut entries: Entries) -> Result<(), io::Error>
    where
        Entries:
            Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batch: Vec<Committed> = Vec::new();
        let mut bytes = 0;
        while let Some(next) = entries.next().await {
            let committed = next?;
            bytes += bytes_of(&committed.0);
            batch.push(committed);
            if batch.len() >= BATCH || bytes >= BATCH_BYTES {
                self.applier.apply(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.applier.apply(batch).await
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        let capture = self.applier.capture().await.ok();
        if !force {
            let is_empty = capture
                .as_ref()
                .is_none_or(|capture| capture.meta.last_log_id.is_none());
            let refused = if is_empty {
                Err(SnapshotError::Nothing)
            } else {
                self.check_room()
            };
            if let Err(error) = refused {
                tracing::warn!(%error, "no snapshot was made");
                self.compaction.finish(Some(Arc::new(error)));
                return None;
            }
        }
        Some(self.builder(force, capture))
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let capture = self.applier.capture().await.ok();
        self.builder(true, capture)
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        let (snapshots, taken) = (Arc::clone(&self.snapshots), meta.clone());
        let opening = spawn_blocking(move || {
            let file = snapshots.adopt(&taken, &snapshot)?;
            snapshots.open_body(&file)
        });
        let (departed, body): (BTreeSet<u64>, _) = opening
            .await
            .unwrap_or(Err(SnapshotError::Stopped))
            .map_err(|error| error.to_io())?;
        self.applier.restore(meta.clone(), departed, body).await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.snapshots.newest())
    }
}

/// Writes one snapshot, of the state as it was when this was made.
pub(crate) struct Builder {
    /// Whether openraft cannot go on without it.
    is_forced: bool,
    capture: Mutex<Option<Capture>>,
    snapshots: Arc<SnapshotDirectory>,
    /// How many bytes it may take: a snapshot must not take the room that the log needs meanwhile.
    budget: u64,
    compaction: Arc<Compaction>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let capture = self
            .capture
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .ok_or_else(|| io::Error::other("there is no state to make a snapshot of"))?;
        let snapshots = Arc::clone(&self.snapshots);
        let budget = self.budget;
        let written = spawn_blocking(move || {
            snapshots.write(&capture.meta, capture.departed, capture.encode, budget)
        })
        .await
        .unwrap_or(Err(SnapshotError::Stopped));
        match written {
            Ok(snapshot) => {
                self.compaction.finish(None);
                Ok(snapshot)
            }
            Err(error) => {
                tracing::error!(%error, "a snapshot could not be made");
                let failed = error.to_io();
                self.compaction.finish(Some(Arc::new(error)));
                // openraft stops a member whose snapshot fails. The log still holds everything, so
                // a full disk is no reason for that: a snapshot of nothing tells openraft that
                // nothing has changed.
                if self.is_forced {
                    Err(failed)
                } else {
                    Ok(Snapshot {
                        meta: SnapshotMeta::default(),
                        snapshot: SnapshotFile {
                            path: PathBuf::new(),
                        },
                    })
                }
            }
        }
    }
}
