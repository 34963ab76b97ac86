//! The seat's rows, kept up to date from turn to turn. A cache: it is rebuilt by `restore` whenever
//! the instance was dropped.

use std::collections::{BTreeMap, BTreeSet};

use crate::rows::{Agent, AgentState, Task, Workload};

/// Everything that the seat may see of the cluster, as of this turn.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    workloads: BTreeMap<u64, Workload>,
    /// By workload, slot and id, so that the tasks of a workload and of a slot are ranges.
    tasks: BTreeMap<(u64, u32, u64), Task>,
    /// Where each task stands in `tasks`: the row of one that is gone may carry no more than its
    /// id.
    places: BTreeMap<u64, (u64, u32)>,
    agents: BTreeMap<u32, Agent>,
    changes: Changes,
}

/// What differs from the turn before; everything after a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Workloads whose own row or one of whose tasks changed.
    pub workloads: BTreeSet<u64>,
    /// Agents that can be reached and could not before, or the other way round.
    pub agents: BTreeSet<u32>,
}

impl Cluster {
    /// All workloads by id, removed ones included while they have tasks.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.workloads.values()
    }

    /// One workload.
    pub fn workload(&self, id: u64) -> Option<&Workload> {
        self.workloads.get(&id)
    }

    /// The tasks of a workload, terminal ones included, by slot and then by age.
    pub fn tasks_of(&self, workload: u64) -> impl Iterator<Item = &Task> {
        self.tasks
            .range((workload, 0, 0)..=(workload, u32::MAX, u64::MAX))
            .map(|(_, task)| task)
    }

    /// One task.
    pub fn task(&self, id: u64) -> Option<&Task> {
        let (workload, slot) = self.places.get(&id)?;
        self.tasks.get(&(*workload, *slot, id))
    }

    /// The tasks of one slot, terminal ones included, by age.
    pub fn tasks_in(&self, workload: u64, slot: u32) -> impl Iterator<Item = &Task> {
        self.tasks
            .range((workload, slot, 0)..=(workload, slot, u64::MAX))
            .map(|(_, task)| task)
    }

    /// All tasks of the seat.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values()
    }

    /// Agents that were offered to the seat or run its tasks.
    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.agents.values()
    }

    /// One agent.
    pub fn agent(&self, id: u32) -> Option<&Agent> {
        self.agents.get(&id)
    }

    /// Whether the agent can be reached; an agent that was never seen is taken to be.
    pub fn is_reachable(&self, agent: u32) -> bool {
        self.agents
            .get(&agent)
            .is_none_or(|row| row.state == AgentState::Ready)
    }

    /// What differs from the turn before.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Takes a workload's row as it is now.
    pub(crate) fn put_workload(&mut self, row: Workload) {
        self.changes.workloads.insert(row.id);
        self.workloads.insert(row.id, row);
    }

    /// Takes a task's row as it is now, or drops it where the kernel has forgotten it.
    pub(crate) fn put_task(&mut self, row: Task, is_gone: bool) {
        if is_gone {
            if let Some((workload, slot)) = self.places.remove(&row.id) {
                self.changes.workloads.insert(workload);
                self.tasks.remove(&(workload, slot, row.id));
            }
            return;
        }
        self.changes.workloads.insert(row.workload);
        self.places.insert(row.id, (row.workload, row.slot));
        self.tasks.insert((row.workload, row.slot, row.id), row);
    }

    /// Takes an agent's row as it is now.
    pub(crate) fn put_agent(&mut self, row: Agent) {
        if self.agents.get(&row.id).map(|old| old.state) != Some(row.state) {
            self.changes.agents.insert(row.id);
        }
        self.agents.insert(row.id, row);
    }

    /// Ends a turn: removed workloads without tasks leave, and nothing has changed any more.
    pub(crate) fn settle(&mut self) {
        for id in std::mem::take(&mut self.changes.workloads) {
            let is_over = self.workloads.get(&id).is_some_and(|row| row.is_gone)
                && self.tasks_of(id).next().is_none();
            if is_over {
                self.workloads.remove(&id);
            }
        }
        self.changes.agents.clear();
    }
}
