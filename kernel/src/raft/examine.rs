//! Looking at the data directory of a member that does not run, without changing it.
//!
//! *Guarantees*: nothing is written but the process id in the lock file, which keeps a member from
//! starting meanwhile; every byte of log and snapshots is read, and the machine goes as far as the
//! log is known to be agreed upon.

use std::ops::Bound;
use std::path::Path;

use openraft::EntryPayload;

use super::error::RaftError;
use super::identity::{ClusterId, read_identity};
use super::lock::DirectoryLock;
use super::log::{Found, Torn, recover};
use super::machine::{Machine, Position};
use super::snapshot::{SnapshotDirectory, body_of};
use super::types::{Payload, position};

/// What the data directory of a member holds.
#[derive(Debug)]
pub struct Examination {
    /// The cluster that it belongs to.
    pub cluster: ClusterId,
    /// The member's number.
    pub member: u64,
    /// The term of its last ballot.
    pub term: u64,
    /// The first entry of the log, where it has one.
    pub first: Option<u64>,
    /// The last entry that it knows of, in log or snapshot.
    pub last: Option<Position>,
    /// Up to which entry the log is known to be agreed upon.
    pub committed: Option<Position>,
    /// Up to which entry the machine was brought.
    pub applied: Position,
    /// Segments of the log.
    pub segments: usize,
    /// Snapshots that can be used: their last entry and their bytes, the oldest first.
    pub snapshots: Vec<(Position, u64)>,
    /// What is as it may be after a crash, a sentence each.
    pub notes: Vec<String>,
    /// What is damaged or missing, a sentence each: a member would not start on it, or not with
    /// everything.
    pub faults: Vec<String>,
}

/// Examines a data directory and brings a new machine as far as it goes. Blocks on I/O.
///
/// # Errors
/// When the directory is in use, or is none of a member.
pub fn examine(directory: &Path, machine: &mut dyn Machine) -> Result<Examination, RaftError> {
    let identity = read_identity(directory)?;
    let _lock = DirectoryLock::acquire(directory)?;
    let mut found = Examination {
        cluster: identity.cluster,
        member: identity.member,
        term: 0,
        first: None,
        last: None,
        committed: None,
        applied: Position::default(),
        segments: 0,
        snapshots: Vec::new(),
        notes: Vec::new(),
        faults: Vec::new(),
    };
    found.restore(&directory.join("snapshots"), machine);
    found.replay(&directory.join("log"), machine);
    Ok(found)
}

impl Examination {
    /// Looks at all snapshots, and restores the newest that can be used.
    fn restore(&mut self, directory: &Path, machine: &mut dyn Machine) {
        let listed = match SnapshotDirectory::examine(directory, self.cluster) {
            Ok(listed) => listed,
            Err(error) => return self.faults.push(error.to_string()),
        };
        let mut usable = Vec::new();
        for (path, verdict) in listed {
            match verdict {
                Ok((meta, bytes)) => {
                    let at = meta.last_log_id.as_ref().map(position).unwrap_or_default();
                    self.snapshots.push((at, bytes));
                    usable.push((path, at));
                }
                Err(error) => self.faults.push(error.to_string()),
            }
        }
        for (path, at) in usable.into_iter().rev() {
            let restored = body_of(&path, self.cluster)
                .map_err(|error| error.to_string())
                .and_then(|mut body| {
                    machine
                        .restore(&mut body)
                        .map_err(|error| format!("{}: {error}", path.display()))
                });
            match restored {
                Ok(()) => {
                    self.applied = at;
                    self.last = Some(at);
                    return;
                }
                Err(fault) => self.faults.push(fault),
            }
        }
    }

    /// Reads the whole log, and applies what is agreed upon.
    fn replay(&mut self, directory: &Path, machine: &mut dyn Machine) {
        let log = match recover(directory, self.cluster, usize::MAX, Torn::Leave) {
            Ok(log) => log,
            Err(error) => return self.faults.push(error.to_string()),
        };
        self.notes.extend(log.torn);
        self.segments = log.files.len();
        let index = &log.index;
        self.term = index.vote.map_or(0, |vote| vote.leader_id.term);
        self.first = index.first_index();
        self.last = self.last.max(index.last().as_ref().map(position));
        self.committed = index.committed.as_ref().map(position);
        let purged = index.purged.map_or(0, |purged| purged.index);
        if purged > self.applied.index {
            return self.faults.push(format!(
                "entries up to {purged} are no longer in the log, and the newest usable snapshot ends at {}",
                self.applied.index
            ));
        }
        let Some(committed) = self.committed else {
            return;
        };
        // An empty machine begins with the very first entry, whose index is 0.
        let start = match self.snapshots.is_empty() {
            true => Bound::Unbounded,
            false => Bound::Excluded(self.applied.index),
        };
        for entry in index.find((start, Bound::Included(committed.index)), usize::MAX) {
            let Found::Cached(entry) = entry else {
                continue;
            };
            let at = position(&entry.log_id);
            if let EntryPayload::Normal(Payload(payload)) = &entry.payload
                && let Err(error) = machine.apply(at, payload)
            {
                return self.faults.push(error.to_string());
            }
            self.applied = at;
        }
        machine.publish(self.applied);
        let unsure = self.last.map_or(0, |last| last.index) - self.applied.index;
        if unsure > 0 {
            self.notes.push(format!(
                "{unsure} entries after {} are not known to be agreed upon: a member that starts finds out",
                self.applied.index
            ));
        }
    }
}
