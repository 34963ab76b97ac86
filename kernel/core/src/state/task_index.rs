//! Which tasks belong to whom: by workload and slot, and by agent. A question costs what its answer
//! holds.

use imbl::{OrdMap, OrdSet};
use kelson_model::id::{AgentId, TaskId, WorkloadId};

use std::sync::Arc;

use crate::record::Task;

/// How far a task has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It has not ended.
    Live,
    /// It has ended.
    Ended,
    /// It has ended, and its scheduler has done with it.
    Forgotten,
}

impl Stage {
    const ALL: [Self; 3] = [Self::Live, Self::Ended, Self::Forgotten];

    fn of(task: &Task) -> Self {
        match (task.state.is_terminal(), task.is_forgotten) {
            (false, _) => Self::Live,
            (true, false) => Self::Ended,
            (true, true) => Self::Forgotten,
        }
    }
}

type Place = (WorkloadId, Stage, u32, TaskId);

const FIRST: TaskId = TaskId(0);
const LAST: TaskId = TaskId(u64::MAX);

/// Tasks by those that they belong to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct TaskIndex {
    by_workload: OrdSet<Place>,
    by_agent: OrdSet<(AgentId, TaskId)>,
}

impl TaskIndex {
    pub(super) fn of(tasks: &OrdMap<TaskId, Arc<Task>>) -> Self {
        Self {
            by_workload: tasks.values().map(|task| place(task)).collect(),
            by_agent: tasks.values().map(|task| (task.agent, task.id)).collect(),
        }
    }

    /// Takes a task in, which was known as `before`.
    pub(super) fn put(&mut self, before: Option<&Task>, task: &Task) {
        match before {
            Some(before) if place(before) == place(task) => {}
            Some(before) => {
                self.by_workload.remove(&place(before));
                self.by_workload.insert(place(task));
            }
            None => {
                self.by_workload.insert(place(task));
                self.by_agent.insert((task.agent, task.id));
            }
        }
    }

    pub(super) fn remove(&mut self, task: &Task) {
        self.by_workload.remove(&place(task));
        self.by_agent.remove(&(task.agent, task.id));
    }

    pub(super) fn of_workload(&self, workload: WorkloadId) -> impl Iterator<Item = TaskId> + '_ {
        self.between(workload, Stage::Live, Stage::Forgotten)
    }

    pub(super) fn live_of_workload(
        &self,
        workload: WorkloadId,
    ) -> impl Iterator<Item = TaskId> + '_ {
        self.between(workload, Stage::Live, Stage::Live)
    }

    pub(super) fn forgotten_of_workload(
        &self,
        workload: WorkloadId,
    ) -> impl Iterator<Item = TaskId> + '_ {
        self.between(workload, Stage::Forgotten, Stage::Forgotten)
    }

    pub(super) fn ended_of_slot(
        &self,
        workload: WorkloadId,
        slot: u32,
    ) -> impl Iterator<Item = TaskId> + '_ {
        [Stage::Ended, Stage::Forgotten]
            .into_iter()
            .flat_map(move |stage| self.of_slot(workload, stage, slot))
    }

    /// The youngest task of a slot, whatever became of it.
    pub(super) fn newest_of_slot(&self, workload: WorkloadId, slot: u32) -> Option<TaskId> {
        Stage::ALL
            .into_iter()
            .filter_map(|stage| self.of_slot(workload, stage, slot).next_back())
            .max()
    }

    pub(super) fn on_agent(&self, agent: AgentId) -> impl Iterator<Item = TaskId> + '_ {
        self.by_agent
            .range((agent, FIRST)..=(agent, LAST))
            .map(|(_, id)| *id)
    }

    fn between(
        &self,
        workload: WorkloadId,
        first: Stage,
        last: Stage,
    ) -> impl Iterator<Item = TaskId> + '_ {
        let range = (workload, first, 0, FIRST)..=(workload, last, u32::MAX, LAST);
        self.by_workload.range(range).map(looked_at)
    }

    fn of_slot(
        &self,
        workload: WorkloadId,
        stage: Stage,
        slot: u32,
    ) -> impl DoubleEndedIterator<Item = TaskId> + '_ {
        let range = (workload, stage, slot, FIRST)..=(workload, stage, slot, LAST);
        self.by_workload.range(range).map(looked_at)
    }
}

fn looked_at(place: &Place) -> TaskId {
    #[cfg(test)]
    steps::count();
    place.3
}

fn place(task: &Task) -> Place {
    (task.workload, Stage::of(task), task.slot, task.id)
}

/// Counts how many tasks were looked at, for tests of what a transition costs.
#[cfg(test)]
pub(crate) mod steps {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn count() {
        STEPS.set(STEPS.get() + 1);
    }

    /// Returns the number so far and begins again.
    pub(crate) fn take() -> u64 {
        STEPS.take()
    }
}
