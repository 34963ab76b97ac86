//! What a plan looks at: the workload, the generation that is worked towards, and its slots.

use kelson_sdk::{Task, Workload};

use crate::slots::Slot;
use crate::spec::{Spec, Update};

/// Which generation is worked towards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// The generation that new tasks run.
    pub generation: u64,
    /// Names the content of its template: tasks that run it are kept, whatever their generation.
    pub template_id: u64,
    /// Whether it is the good generation, because the newest was quarantined.
    pub is_rollback: bool,
}

impl Want {
    /// The newest generation, or the good one where the newest is quarantined.
    pub fn of(row: &Workload) -> Self {
        match (row.good_generation, row.good_template_id) {
            (Some(generation), Some(template_id))
                if row.quarantined_generation == Some(row.generation)
                    && generation != row.generation =>
            {
                Self {
                    generation,
                    template_id,
                    is_rollback: true,
                }
            }
            _ => Self {
                generation: row.generation,
                template_id: row.template_id,
                is_rollback: false,
            },
        }
    }
}

/// Everything that a plan is a function of, beside the tasks.
pub struct View<'a> {
    /// The workload.
    pub row: &'a Workload,
    /// Which generation is worked towards.
    pub want: Want,
    /// The specification of that generation.
    pub spec: &'a Spec,
    /// Whether a task of another version may hold a port that this generation asks for by its
    /// number, so that it has to go first.
    pub is_port_shared: bool,
    /// Whether the newest generation asks for a port by its number.
    pub is_port_fixed: bool,
    /// The workload's name, for messages.
    pub name: &'a str,
    /// Cluster time in ms.
    pub now: u64,
    /// From when the deadline of this generation counts, where it has waited for room in between.
    pub counted_from: Option<u64>,
    /// Whether an agent can be reached.
    pub is_reachable: &'a dyn Fn(u32) -> bool,
    /// How the kernel says that a task ended.
    pub end_of: &'a dyn Fn(u64) -> Option<String>,
}

impl View<'_> {
    /// How tasks of older versions are replaced.
    pub(crate) fn update(&self) -> Update {
        if self.is_port_shared {
            self.spec.update.without_surge()
        } else {
            self.spec.update
        }
    }

    /// Whether an ended task of the newest version says something about it. That a port was taken
    /// says nothing, unless the version asks for one by its number: no try of it gets another.
    pub(crate) fn is_telling(&self, ended: &Task) -> bool {
        !ended.is_port_taken || self.is_port_fixed
    }

    /// When the slot of a seat that was tried may be tried again.
    pub(crate) fn retry_at(&self, seat: &Seat<'_>) -> Option<u64> {
        let ended = seat.slot.last_try?;
        let min_healthy = self.spec.update.min_healthy;
        Some(self.spec.backoff.retry_at(ended, min_healthy))
    }
}

/// A slot that needs a task now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Which.
    pub slot: u32,
    /// Since when, in cluster time.
    pub since: u64,
}

/// One wanted slot, with at most one task of each sort.
pub(crate) struct Seat<'a> {
    pub(crate) slot: Slot<'a>,
    pub(crate) fresh: Option<&'a Task>,
    pub(crate) stale: Option<&'a Task>,
    pub(crate) is_fresh_working: bool,
    pub(crate) is_fresh_proved: bool,
    pub(crate) is_stale_working: bool,
}

impl Seat<'_> {
    pub(crate) fn is_served(&self) -> bool {
        self.is_fresh_proved || self.is_stale_working
    }

    /// Whether nothing of the wanted version is there, nor ends there.
    pub(crate) fn is_open(&self) -> bool {
        self.fresh.is_none() && !self.slot.is_fresh_ending
    }
}
