//! What is still to be told to the kernel.

use std::collections::BTreeMap;

use kelson_model::id::TaskId;
use kelson_model::task::TaskStatus;

use crate::moment::Moment;

/// One status, with the moment from which `healthy_for` is counted when it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The status; its sequence is given by the queue, its `healthy_for` when it is sent.
    pub status: TaskStatus,
    /// Since when the task has been healthy without a break.
    pub healthy_since: Option<Moment>,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    last_sequence: u64,
    pending: Option<Report>,
    is_sent: bool,
}

/// The newest status of each task, kept until the kernel has acknowledged it.
///
/// *Flow*: [`push`](Self::push) numbers a status, [`take_unsent`](Self::take_unsent) gives what
/// this session has not carried yet, [`acknowledge`](Self::acknowledge) drops it,
/// [`resend_all`](Self::resend_all) is called after each new session.
/// *Guarantees*: sequences of one task only grow; a task's newest status is never dropped before
/// it, or a later one, is acknowledged.
/// *Caveats*: an older status that was not acknowledged is replaced by the newer one: the kernel is
/// told what is, not what was.
#[derive(Debug, Clone, Default)]
pub struct UpdateQueue {
    first_sequence: u64,
    slots: BTreeMap<TaskId, Slot>,
}

impl UpdateQueue {
    /// A queue of one run of the agent: sequences of a later incarnation are greater than all of an
    /// earlier one.
    pub fn new(incarnation: u64) -> Self {
        Self {
            first_sequence: incarnation.saturating_sub(1) << 32,
            slots: BTreeMap::new(),
        }
    }

    /// Numbers a status and keeps it; says which number it got.
    pub fn push(&mut self, mut report: Report) -> u64 {
        let first = self.first_sequence;
        let slot = self
            .slots
            .entry(report.status.task)
            .or_insert_with(|| Slot {
                last_sequence: first,
                ..Slot::default()
            });
        slot.last_sequence = slot.last_sequence.saturating_add(1);
        report.status.sequence = slot.last_sequence;
        slot.pending = Some(report);
        slot.is_sent = false;
        slot.last_sequence
    }

    /// Gives at most `limit` statuses that this session has not carried yet, with `healthy_for` as
    /// of `now`.
    pub fn take_unsent(&mut self, now: Moment, limit: usize) -> Vec<TaskStatus> {
        let unsent = self
            .slots
            .values_mut()
            .filter(|slot| !slot.is_sent && slot.pending.is_some());
        let mut out = Vec::new();
        for slot in unsent.take(limit) {
            slot.is_sent = true;
            if let Some(report) = &slot.pending {
                let mut status = report.status.clone();
                status.healthy_for = report.healthy_since.map_or(0, |since| now.since(since).0);
                out.push(status);
            }
        }
        out
    }

    /// Forgets what has been sent: a new session carries everything that is not acknowledged.
    pub fn resend_all(&mut self) {
        for slot in self.slots.values_mut() {
            slot.is_sent = false;
        }
    }

    /// Drops what the kernel has recorded; says whether nothing is left to tell about the task.
    pub fn acknowledge(&mut self, task: TaskId, sequence: u64) -> bool {
        let Some(slot) = self.slots.get_mut(&task) else {
            return true;
        };
        if slot.last_sequence <= sequence {
            slot.pending = None;
        }
        slot.pending.is_none()
    }

    /// Whether everything about the task was acknowledged.
    pub fn is_told(&self, task: TaskId) -> bool {
        self.slots
            .get(&task)
            .is_none_or(|slot| slot.pending.is_none())
    }

    /// Drops a task that the kernel has forgotten.
    pub fn forget(&mut self, task: TaskId) {
        self.slots.remove(&task);
    }

    /// How many statuses wait for an acknowledgement.
    pub fn pending(&self) -> usize {
        self.slots
            .values()
            .filter(|slot| slot.pending.is_some())
            .count()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use kelson_model::task::{CheckState, TaskState};
    use proptest::prelude::*;

    fn report(task: u64, state: TaskState) -> Report {
        Report {
            status: TaskStatus {
                task: TaskId(task),
                sequence: 0,
                state,
                health: CheckState::Unknown,
                ready: false,
                pid: None,
                started_at: None,
                healthy_for: 0,
                exit: None,
                isolation: String::new(),
                message: String::new(),
            },
            healthy_since: Some(Moment(10)),
        }
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_by_the_next_session() {
        let mut queue = UpdateQueue::new(1);
        queue.push(report(1, TaskState::Starting));
        assert_eq!(queue.take_unsent(Moment(15), 10)[0].healthy_for, 5);
        assert!(
            queue.take_unsent(Moment(15), 10).is_empty(),
            "once per session"
        );
        queue.push(report(1, TaskState::Running));
        let sent = queue.take_unsent(Moment(20), 10);
        assert_eq!((sent.len(), sent[0].sequence), (1, 2));
        assert!(
            !queue.acknowledge(TaskId(1), 1),
            "the newer one is still open"
        );
        queue.resend_all();
        let again = queue.take_unsent(Moment(40), 10);
        assert_eq!((again[0].sequence, again[0].healthy_for), (2, 30));
        assert!(queue.acknowledge(TaskId(1), 2));
        queue.resend_all();
        assert!(queue.take_unsent(Moment(50), 10).is_empty());
        assert_eq!(queue.pending(), 0);
    }

    #[test]
    fn a_later_incarnation_numbers_above_an_earlier_one() {
        let mut first = UpdateQueue::new(1);
        let mut second = UpdateQueue::new(2);
        assert_eq!(first.push(report(1, TaskState::Running)), 1);
        assert!(second.push(report(1, TaskState::Running)) > 1 << 32);
    }

    proptest! {
        #[test]
        fn sequences_grow_and_the_newest_status_is_never_lost(steps in prop::collection::vec((0u64..3, 0u8..4), 0..80)) {
            let mut queue = UpdateQueue::new(3);
            let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
            let mut acknowledged: BTreeMap<u64, u64> = BTreeMap::new();
            for (task, step) in steps {
                match step {
                    0 => {
                        let sequence = queue.push(report(task, TaskState::Running));
                        prop_assert!(newest.get(&task).is_none_or(|old| *old < sequence));
                        newest.insert(task, sequence);
                    }
                    1 => queue.resend_all(),
                    2 => {
                        for status in queue.take_unsent(Moment(0), 100) {
                            prop_assert_eq!(newest[&status.task.0], status.sequence);
                        }
                    }
                    _ => {
                        if let Some(sequence) = newest.get(&task) {
                            queue.acknowledge(TaskId(task), *sequence);
                            acknowledged.insert(task, *sequence);
                        }
                    }
                }
            }
            queue.resend_all();
            let left: BTreeMap<u64, u64> = queue.take_unsent(Moment(0), 100).iter().map(|s| (s.task.0, s.sequence)).collect();
            for (task, sequence) in &newest {
                let is_acknowledged = acknowledged.get(task) == Some(sequence);
                prop_assert_eq!(left.get(task) == Some(sequence), !is_acknowledged);
            }
        }
    }
}
