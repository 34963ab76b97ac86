//! A draft: a task that is being changed, before the state writes it.

use std::sync::Arc;

use kelson_model::id::{AgentId, Index, TaskId};
use kelson_model::task::{CheckState, Exit, TaskState};
use kelson_model::time::{ClusterTime, WallTime};

use super::packed::{Cold, Packed, flag};
use super::shape::Shape;
use super::view::TaskRef;
use crate::record::StopOrder;

/// A task that is being changed. It costs no more than the record itself.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    id: TaskId,
    packed: Packed,
}

impl Draft {
    pub(super) fn new(id: TaskId, packed: Packed) -> Self {
        Self { id, packed }
    }

    /// A task that is to be started.
    pub(crate) fn staged(
        id: TaskId,
        shape: Arc<Shape>,
        agent: AgentId,
        slot: u32,
        ports: &[u16],
        now: ClusterTime,
    ) -> Self {
        let mut packed = Packed::new(shape, agent, slot, ports);
        packed.state_since = now;
        Self { id, packed }
    }

    /// As it would be read.
    pub(crate) fn as_ref(&self) -> TaskRef<'_> {
        TaskRef::new(self.id, &self.packed)
    }

    pub(super) fn into_packed(self) -> Packed {
        self.packed
    }

    pub(crate) fn set_state(&mut self, state: TaskState, since: ClusterTime) {
        self.packed.state = state;
        self.packed.state_since = since;
    }

    pub(crate) fn set_health(&mut self, health: CheckState, since: Option<ClusterTime>) {
        self.packed.health = health;
        self.packed.set_healthy_since(since);
    }

    pub(crate) fn set_ready(&mut self, is_ready: bool) {
        self.packed.set_flag(flag::READY, is_ready);
    }

    pub(crate) fn set_forgotten(&mut self) {
        self.packed.set_flag(flag::FORGOTTEN, true);
    }

    pub(crate) fn set_program(&mut self, pid: Option<u32>, started_at: Option<WallTime>) {
        self.packed.set_pid(pid);
        self.packed.set_started_at(started_at);
    }

    pub(crate) fn set_attempts(&mut self, attempts: u32, refusals: u32) {
        self.packed.attempts = attempts;
        if self.as_ref().refusals() != refusals {
            self.packed.change_cold(|cold| cold.refusals = refusals);
        }
    }

    pub(crate) fn set_sequence(&mut self, sequence: u64) {
        self.packed.set_sequence(sequence);
    }

    /// Makes its assignment a newer one.
    pub(crate) fn assign_again(&mut self) {
        let assignment = self.packed.assignment().saturating_add(1);
        self.packed.set_assignment(assignment);
    }

    pub(crate) fn set_stop(&mut self, stop: StopOrder) {
        self.packed.change_cold(|cold| cold.stop = Some(stop));
    }

    pub(crate) fn set_exit(&mut self, exit: Exit) {
        self.packed.change_cold(|cold| cold.exit = Some(exit));
    }

    /// Sets what its agent says beside numbers.
    pub(crate) fn set_words(&mut self, isolation: &str, message: &str) {
        let task = self.as_ref();
        if (task.isolation(), task.message()) != (isolation, message) {
            self.packed.change_cold(|cold| {
                isolation.clone_into(&mut cold.isolation);
                message.clone_into(&mut cold.message);
            });
        }
    }

    pub(crate) fn set_shape(&mut self, shape: Arc<Shape>) {
        self.packed.shape = shape;
    }

    pub(crate) fn set_changed(&mut self, at: Index) {
        self.packed.changed = at;
    }

    /// What few tasks have, where this one has any of it.
    pub(crate) fn cold_mut(&mut self) -> &mut Option<Arc<Cold>> {
        &mut self.packed.cold
    }
}
