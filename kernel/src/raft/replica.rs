//! The machine as openraft sees it: applies what is committed, makes snapshots, takes them over.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::watch;

use super::compaction::Compaction;
use super::log::LogWatch;
use super::machine::{Encode, Machine, Position};
use super::reserve::Reserve;
use super::snapshot::{Snapshot, SnapshotDirectory, SnapshotError, SnapshotFile, SnapshotMeta};
use super::types::{LogId, Payload, Reply, StoredMembership, TypeConfig, position};

/// Entries applied before the state is shown and the proposers are answered.
const PUBLISH_EVERY: usize = 1024;

/// One member's copy of the machine.
pub(crate) struct Replica {
    machine: Box<dyn Machine>,
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshots: Arc<SnapshotDirectory>,
    reserve: Arc<Reserve>,
    log: LogWatch,
    compaction: Arc<Compaction>,
    progress: watch::Sender<Position>,
}

impl Replica {
    /// Wraps a machine that has applied nothing yet.
    pub(crate) fn new(
        machine: Box<dyn Machine>,
        snapshots: Arc<SnapshotDirectory>,
        reserve: Arc<Reserve>,
        log: LogWatch,
        compaction: Arc<Compaction>,
        progress: watch::Sender<Position>,
    ) -> Self {
        Self {
            machine,
            applied: None,
            membership: StoredMembership::default(),
            snapshots,
            reserve,
            log,
            compaction,
            progress,
        }
    }

    fn apply_payload(&mut self, at: Position, payload: &[u8]) -> io::Result<Reply> {
        let machine = &mut self.machine;
        // A panic would end openraft's task without a word and leave every proposer waiting.
        let applied = catch_unwind(AssertUnwindSafe(|| machine.apply(at, payload)));
        match applied {
            Ok(Ok(reply)) => Ok(Reply(Bytes::from(reply))),
            Ok(Err(error)) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                error.to_string(),
            )),
            Err(panic) => Err(io::Error::other(format!(
                "applying entry {} panicked: {}",
                at.index,
                panic_text(panic.as_ref())
            ))),
        }
    }

    fn publish(&mut self, answers: &mut Vec<(ApplyResponder<TypeConfig>, Reply)>) {
        let Some(applied) = self.applied else { return };
        let at = position(&applied);
        self.machine.publish(at);
        self.progress.send_replace(at);
        for (responder, reply) in answers.drain(..) {
            responder.send(reply);
        }
        self.compaction.note_written(self.log.written_bytes());
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        }
    }

    fn builder(&self, is_forced: bool) -> Builder {
        Builder {
            is_forced,
            job: Mutex::new(Some((self.meta(), self.machine.snapshot()))),
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

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

impl RaftStateMachine<TypeConfig> for Replica {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Entries>(&mut self, mut entries: Entries) -> Result<(), io::Error>
    where
        Entries:
            Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut answers = Vec::new();
        let mut unpublished = 0_usize;
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let reply = match entry.payload {
                EntryPayload::Blank => Reply(Bytes::new()),
                EntryPayload::Normal(Payload(bytes)) => {
                    self.apply_payload(position(&entry.log_id), &bytes)?
                }
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Reply(Bytes::new())
                }
            };
            self.applied = Some(entry.log_id);
            answers.extend(responder.map(|responder| (responder, reply)));
            unpublished += 1;
            if unpublished >= PUBLISH_EVERY {
                self.publish(&mut answers);
                unpublished = 0;
            }
        }
        if unpublished > 0 {
            self.publish(&mut answers);
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        if !force {
            let refused = if self.applied.is_none() {
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
        Some(self.builder(force))
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        self.builder(true)
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        self.snapshots
            .adopt(meta, &snapshot)
            .map_err(|error| error.to_io())?;
        let mut body = self
            .snapshots
            .open_body(&snapshot)
            .map_err(|error| error.to_io())?;
        let machine = &mut self.machine;
        catch_unwind(AssertUnwindSafe(|| machine.restore(&mut body)))
            .map_err(|panic| {
                io::Error::other(format!(
                    "restoring a snapshot panicked: {}",
                    panic_text(panic.as_ref())
                ))
            })?
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.publish(&mut Vec::new());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.snapshots.newest())
    }
}

/// Writes one snapshot, of the state as it was when this was made.
pub(crate) struct Builder {
    /// Whether openraft cannot go on without it.
    is_forced: bool,
    job: Mutex<Option<(SnapshotMeta, Encode)>>,
    snapshots: Arc<SnapshotDirectory>,
    /// How many bytes it may take: a snapshot must not take the room that the log needs meanwhile.
    budget: u64,
    compaction: Arc<Compaction>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let (meta, encode) = self
            .job
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .ok_or_else(|| io::Error::other("this snapshot was already made"))?;
        let snapshots = Arc::clone(&self.snapshots);
        let budget = self.budget;
        let written = tokio::task::spawn_blocking(move || snapshots.write(&meta, encode, budget))
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
