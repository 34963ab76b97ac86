//! The compact record of one task: what every task has, and apart from it what few have.

use std::sync::Arc;

use kelson_model::id::{AgentId, Index};
use kelson_model::task::{CheckState, Exit, TaskState};
use kelson_model::time::{ClusterTime, WallTime};

use super::shape::Shape;
use crate::record::{StopOrder, Task};

/// How many ports lie in the record itself.
const INLINE_PORTS: usize = 2;

/// What is said with yes or no, one bit each.
pub(super) mod flag {
    pub(in super::super) const READY: u8 = 1;
    pub(in super::super) const FORGOTTEN: u8 = 1 << 1;
    pub(in super::super) const HAS_PID: u8 = 1 << 2;
    pub(in super::super) const WAS_STARTED: u8 = 1 << 3;
    pub(in super::super) const IS_HEALTHY_SINCE: u8 = 1 << 4;
    /// Its numbers stand in the cold part.
    pub(in super::super) const IS_WIDE: u8 = 1 << 5;
}

/// One task without its id, which its place says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed {
    pub(super) shape: Arc<Shape>,
    pub(super) cold: Option<Arc<Cold>>,
    pub(super) state_since: ClusterTime,
    pub(super) healthy_since: ClusterTime,
    pub(super) started_at: WallTime,
    /// The entry that changed it last.
    pub(super) changed: Index,
    sequence: u32,
    assignment: u32,
    agent: u32,
    pub(super) slot: u32,
    pub(super) attempts: u32,
    pub(super) pid: u32,
    ports: [u16; INLINE_PORTS],
    pub(super) state: TaskState,
    pub(super) health: CheckState,
    pub(super) flags: u8,
}

/// What few tasks have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Cold {
    pub(super) stop: Option<StopOrder>,
    pub(super) exit: Option<Exit>,
    pub(super) refusals: u32,
    pub(super) isolation: String,
    pub(super) message: String,
    /// All ports, where there are more than the record has room for.
    ports: Vec<u16>,
    wide: Wide,
}

/// The numbers that do not fit 32 bits, with their neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Wide {
    sequence: u64,
    assignment: u64,
    agent: u64,
}

impl Packed {
    /// A new task of a shape.
    pub(super) fn new(shape: Arc<Shape>, agent: AgentId, slot: u32, ports: &[u16]) -> Self {
        let mut packed = Self {
            shape,
            cold: None,
            state_since: ClusterTime(0),
            healthy_since: ClusterTime(0),
            started_at: WallTime(0),
            changed: Index(0),
            sequence: 0,
            assignment: 0,
            agent: 0,
            slot,
            attempts: 0,
            pid: 0,
            ports: [0; INLINE_PORTS],
            state: TaskState::Staging,
            health: CheckState::Unknown,
            flags: 0,
        };
        let numbers = Wide {
            sequence: 0,
            assignment: 1,
            agent: agent.0,
        };
        packed.set_numbers(numbers);
        match packed.ports.get_mut(..ports.len()) {
            Some(inline) => inline.copy_from_slice(ports),
            None => packed.change_cold(|cold| cold.ports = ports.to_vec()),
        }
        packed
    }

    /// A task as it was handed on.
    pub(super) fn of(task: &Task, shape: Arc<Shape>, changed: Index) -> Self {
        let ports: Vec<u16> = task.ports.values().copied().collect();
        let mut packed = Self::new(shape, task.agent, task.slot, &ports);
        packed.state_since = task.state_since;
        packed.set_healthy_since(task.healthy_since);
        packed.set_started_at(task.started_at);
        packed.changed = changed;
        packed.attempts = task.attempts;
        packed.set_pid(task.pid);
        packed.state = task.state;
        packed.health = task.health;
        packed.set_flag(flag::READY, task.is_ready);
        packed.set_flag(flag::FORGOTTEN, task.is_forgotten);
        packed.change_cold(|cold| {
            cold.stop.clone_from(&task.stop);
            cold.exit.clone_from(&task.exit);
            cold.refusals = task.refusals;
            cold.isolation.clone_from(&task.isolation);
            cold.message.clone_from(&task.message);
        });
        packed.set_numbers(Wide {
            sequence: task.sequence,
            assignment: task.assignment,
            agent: task.agent.0,
        });
        packed
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn set_flag(&mut self, flag: u8, is_so: bool) {
        if is_so {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }

    pub(super) fn healthy_since(&self) -> Option<ClusterTime> {
        self.has(flag::IS_HEALTHY_SINCE)
            .then_some(self.healthy_since)
    }

    pub(super) fn set_healthy_since(&mut self, since: Option<ClusterTime>) {
        self.set_flag(flag::IS_HEALTHY_SINCE, since.is_some());
        self.healthy_since = since.unwrap_or_default();
    }

    pub(super) fn started_at(&self) -> Option<WallTime> {
        self.has(flag::WAS_STARTED).then_some(self.started_at)
    }

    pub(super) fn set_started_at(&mut self, at: Option<WallTime>) {
        self.set_flag(flag::WAS_STARTED, at.is_some());
        self.started_at = at.unwrap_or_default();
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.has(flag::HAS_PID).then_some(self.pid)
    }

    pub(super) fn set_pid(&mut self, pid: Option<u32>) {
        self.set_flag(flag::HAS_PID, pid.is_some());
        self.pid = pid.unwrap_or_default();
    }

    pub(super) fn ports(&self) -> &[u16] {
        match self.ports.get(..self.shape.ports.len()) {
            Some(ports) => ports,
            None => self.cold.as_ref().map_or(&[], |cold| &cold.ports),
        }
    }

    fn numbers(&self) -> Wide {
        match &self.cold {
            Some(cold) if self.has(flag::IS_WIDE) => cold.wide,
            Some(_) | None => Wide {
                sequence: self.sequence.into(),
                assignment: self.assignment.into(),
                agent: self.agent.into(),
            },
        }
    }

    fn set_numbers(&mut self, numbers: Wide) {
        let narrow = (
            u32::try_from(numbers.sequence),
            u32::try_from(numbers.assignment),
            u32::try_from(numbers.agent),
        );
        if let (Ok(sequence), Ok(assignment), Ok(agent)) = narrow {
            (self.sequence, self.assignment, self.agent) = (sequence, assignment, agent);
            if self.has(flag::IS_WIDE) {
                self.set_flag(flag::IS_WIDE, false);
                self.change_cold(|cold| cold.wide = Wide::default());
            }
        } else {
            (self.sequence, self.assignment, self.agent) = (0, 0, 0);
            self.set_flag(flag::IS_WIDE, true);
            self.change_cold(|cold| cold.wide = numbers);
        }
    }

    pub(super) fn agent(&self) -> AgentId {
        AgentId(self.numbers().agent)
    }

    pub(super) fn sequence(&self) -> u64 {
        self.numbers().sequence
    }

    pub(super) fn set_sequence(&mut self, sequence: u64) {
        let numbers = self.numbers();
        self.set_numbers(Wide {
            sequence,
            ..numbers
        });
    }

    pub(super) fn assignment(&self) -> u64 {
        self.numbers().assignment
    }

    pub(super) fn set_assignment(&mut self, assignment: u64) {
        let numbers = self.numbers();
        self.set_numbers(Wide {
            assignment,
            ..numbers
        });
    }

    /// Changes the cold part; where nothing is left in it, there is none.
    pub(super) fn change_cold(&mut self, change: impl FnOnce(&mut Cold)) {
        let mut cold = self.cold.take().unwrap_or_default();
        change(Arc::make_mut(&mut cold));
        let is_needed = *cold != Cold::default();
        self.cold = is_needed.then_some(cold);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_takes_eighty_bytes() {
        assert_eq!(size_of::<Packed>(), 80);
    }
}
