//! The thread that owns the machine: what is committed is applied there, and nowhere else, so that
//! however long it takes, elections and replication go on.
//!
//! *Flow*: the replica hands it one job at a time and waits for its end: entries to apply, a state
//! to take a snapshot of, a snapshot to restore. *Guarantees*: answers reach proposers after the
//! state was shown; a panic of the machine is an error with its text. It ends when the replica lets
//! go of it.

use std::any::Any;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::storage::ApplyResponder;
use tokio::sync::{oneshot, watch};

use super::compaction::Compaction;
use super::log::LogWatch;
use super::machine::{Encode, Machine, Position};
use super::roster::Roster;
use super::snapshot::SnapshotMeta;
use super::types::{Entry, LogId, Payload, Reply, StoredMembership, TypeConfig, position};

/// A committed entry, and who waits for its answer.
pub(crate) type Committed = (Entry, Option<ApplyResponder<TypeConfig>>);
/// What the thread reads a snapshot from.
pub(crate) type Body = Box<dyn Read + Send>;

/// What a snapshot is made of.
pub(crate) struct Capture {
    /// What it covers.
    pub(crate) meta: SnapshotMeta,
    /// Who is no more.
    pub(crate) departed: BTreeSet<u64>,
    /// Writes the state.
    pub(crate) encode: Encode,
}

enum Job {
    Apply(Vec<Committed>, oneshot::Sender<io::Result<()>>),
    Capture(oneshot::Sender<Capture>),
    Restore(
        SnapshotMeta,
        BTreeSet<u64>,
        Body,
        oneshot::Sender<io::Result<()>>,
    ),
    State(oneshot::Sender<(Option<LogId>, StoredMembership)>),
}

/// Gives jobs to the thread.
pub(crate) struct Applier {
    jobs: mpsc::Sender<Job>,
}

/// What the thread tells others.
pub(crate) struct Outlets {
    /// The last entry that was applied and shown.
    pub(crate) progress: watch::Sender<Position>,
    /// Who belongs to the cluster.
    pub(crate) roster: watch::Sender<Roster>,
    /// The log, to count what was written.
    pub(crate) log: LogWatch,
    /// Who makes snapshots when enough was.
    pub(crate) compaction: Arc<Compaction>,
}

impl Applier {
    /// Starts the thread with a machine that has applied nothing yet.
    pub(crate) fn start(machine: Box<dyn Machine>, outlets: Outlets) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let worker = Worker {
            machine,
            applied: None,
            outlets,
        };
        std::thread::Builder::new()
            .name("kelson-apply".to_owned())
            .spawn(move || worker.run(&queue))?;
        Ok(Self { jobs })
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> io::Result<T> {
        let ended = || io::Error::other("the thread that applies has ended");
        let (sender, answer) = oneshot::channel();
        self.jobs.send(job(sender)).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    }

    /// Applies entries and shows the state; whoever waits for an answer has it then.
    pub(crate) async fn apply(&self, entries: Vec<Committed>) -> io::Result<()> {
        self.ask(|done| Job::Apply(entries, done)).await?
    }

    /// Gives what a snapshot of the present state is made of.
    pub(crate) async fn capture(&self) -> io::Result<Capture> {
        self.ask(Job::Capture).await
    }

    /// Replaces the state by that of a snapshot.
    pub(crate) async fn restore(
        &self,
        meta: SnapshotMeta,
        departed: BTreeSet<u64>,
        body: Body,
    ) -> io::Result<()> {
        self.ask(|done| Job::Restore(meta, departed, body, done))
            .await?
    }

    /// Gives the last applied entry, and the members as of then.
    pub(crate) async fn state(&self) -> io::Result<(Option<LogId>, StoredMembership)> {
        self.ask(Job::State).await
    }
}

/// What the thread owns.
struct Worker {
    machine: Box<dyn Machine>,
    applied: Option<LogId>,
    outlets: Outlets,
}

impl Worker {
    fn run(mut self, queue: &mpsc::Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            match job {
                Job::Apply(entries, done) => {
                    let _ = done.send(self.apply(entries));
                }
                Job::Capture(done) => {
                    let _ = done.send(self.capture());
                }
                Job::Restore(meta, departed, body, done) => {
                    let _ = done.send(self.restore(&meta, departed, body));
                }
                Job::State(done) => {
                    let members = self.outlets.roster.borrow().stored().clone();
                    let _ = done.send((self.applied, members));
                }
            }
        }
    }

    fn apply(&mut self, entries: Vec<Committed>) -> io::Result<()> {
        let mut answers = Vec::new();
        for (entry, responder) in entries {
            let reply = match entry.payload {
                EntryPayload::Blank => Reply(Bytes::new()),
                EntryPayload::Normal(Payload(bytes)) => {
                    self.apply_payload(position(&entry.log_id), &bytes)?
                }
                EntryPayload::Membership(membership) => {
                    self.outlets
                        .roster
                        .send_modify(|roster| roster.follow(entry.log_id, membership));
                    Reply(Bytes::new())
                }
            };
            self.applied = Some(entry.log_id);
            answers.extend(responder.map(|responder| (responder, reply)));
        }
        self.publish();
        for (responder, reply) in answers {
            responder.send(reply);
        }
        Ok(())
    }

    fn apply_payload(&mut self, at: Position, payload: &[u8]) -> io::Result<Reply> {
        let machine = &mut self.machine;
        // A panic would end the thread without a word and leave every proposer waiting.
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

    fn publish(&mut self) {
        let Some(applied) = self.applied else { return };
        let at = position(&applied);
        self.machine.publish(at);
        self.outlets.progress.send_replace(at);
        self.outlets
            .compaction
            .note_written(self.outlets.log.written_bytes());
    }

    fn capture(&self) -> Capture {
        let roster = self.outlets.roster.borrow();
        Capture {
            meta: SnapshotMeta {
                last_log_id: self.applied,
                last_membership: roster.stored().clone(),
            },
            departed: roster.departed().clone(),
            encode: self.machine.snapshot(),
        }
    }

    fn restore(
        &mut self,
        meta: &SnapshotMeta,
        departed: BTreeSet<u64>,
        mut body: Body,
    ) -> io::Result<()> {
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
        self.outlets
            .roster
            .send_modify(|roster| roster.take_over(meta.last_membership.clone(), departed));
        self.publish();
        Ok(())
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
