//! Which tasks belong to whom: by workload and slot, by agent, and how many by seat. A question
//! costs what its answer holds.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use kelson_model::id::{AgentId, TaskId, WorkloadId};
use kelson_model::object::ObjectKey;
use kelson_model::task::{CheckState, TaskState};

use crate::port::SeatId;
use crate::tasks::{Cold, Draft, Shape, Shapes, TaskRef, Tasks};

/// How far a task has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has not ended.
    Live,
    /// It has ended.
    Ended,
    /// It has ended, and its scheduler has done with it.
    Forgotten,
}

impl Stage {
    fn of(task: TaskRef<'_>) -> Self {
        match (task.state().is_terminal(), task.is_forgotten()) {
            (false, _) => Self::Live,
            (true, false) => Self::Ended,
            (true, true) => Self::Forgotten,
        }
    }
}

/// How many tasks of a workload there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Those that have not ended.
    pub live: u64,
    /// Those that run.
    pub running: u64,
    /// Those of them that are healthy.
    pub healthy: u64,
}

impl Counts {
    fn of(task: TaskRef<'_>) -> Self {
        let is_running = task.state() == TaskState::Running;
        Self {
            live: u64::from(!task.state().is_terminal()),
            running: u64::from(is_running),
            healthy: u64::from(is_running && task.health() == CheckState::Healthy),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            live: self.live + other.live,
            running: self.running + other.running,
            healthy: self.healthy + other.healthy,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            live: self.live.saturating_sub(other.live),
            running: self.running.saturating_sub(other.running),
            healthy: self.healthy.saturating_sub(other.healthy),
        }
    }
}

type Place = (u32, TaskId);

const FIRST: TaskId = TaskId(0);
const LAST: TaskId = TaskId(u64::MAX);

/// The tasks of one workload.
#[derive(Debug, Clone, Default)]
struct OfWorkload {
    live: OrdSet<Place>,
    ended: OrdSet<Place>,
    forgotten: OrdSet<Place>,
    counts: Counts,
    /// Shapes that new tasks may share; not part of what is compared.
    shapes: Shapes,
    /// The cold part that was made last, which others may share; nor is this.
    cold: Option<Arc<Cold>>,
}

impl PartialEq for OfWorkload {
    fn eq(&self, other: &Self) -> bool {
        let sorted = |one: &Self| {
            let Self {
                live,
                ended,
                forgotten,
                ..
            } = one;
            (live.clone(), ended.clone(), forgotten.clone())
        };
        sorted(self) == sorted(other) && self.counts == other.counts
    }
}

impl OfWorkload {
    fn stage(&mut self, stage: Stage) -> &mut OrdSet<Place> {
        match stage {
            Stage::Live => &mut self.live,
            Stage::Ended => &mut self.ended,
            Stage::Forgotten => &mut self.forgotten,
        }
    }

    fn is_empty(&self) -> bool {
        self.live.is_empty() && self.ended.is_empty() && self.forgotten.is_empty()
    }
}

/// The tasks on one agent.
#[derive(Debug, Clone, Default, PartialEq)]
struct OfAgent {
    tasks: OrdSet<TaskId>,
    live: u64,
}

/// Tasks by those that they belong to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct TaskIndex {
    workloads: OrdMap<WorkloadId, Arc<OfWorkload>>,
    agents: OrdMap<AgentId, Arc<OfAgent>>,
    /// How many live tasks a seat has, where it has some.
    seats: OrdMap<Arc<SeatId>, u64>,
}

impl TaskIndex {
    pub(super) fn of(tasks: &Tasks) -> Self {
        let mut index = Self::default();
        for task in tasks.iter() {
            index.put(None, task);
            if let Some(own) = index.workloads.get_mut(&task.workload()) {
                let own = Arc::make_mut(own);
                own.shapes.share(Shape::clone(task.shape()));
            }
        }
        index
    }

    /// Takes a task in, which was known as `before`.
    pub(super) fn put(&mut self, before: Option<TaskRef<'_>>, task: TaskRef<'_>) {
        let is_live = |task: TaskRef<'_>| !task.state().is_terminal();
        let place = (task.slot(), task.id());
        let (stage, counts) = (Stage::of(task), Counts::of(task));
        let stage_before = before.map(Stage::of);
        let counts_before = before.map(Counts::of).unwrap_or_default();
        if stage_before != Some(stage) || counts_before != counts {
            let own = self.workloads.entry(task.workload()).or_default();
            let own = Arc::make_mut(own);
            if let Some(before) = stage_before.filter(|before| *before != stage) {
                own.stage(before).remove(&place);
            }
            if stage_before != Some(stage) {
                own.stage(stage).insert(place);
            }
            own.counts = own.counts.minus(counts_before).plus(counts);
        }
        let was_live = before.is_some_and(is_live);
        if before.is_none() || was_live != is_live(task) {
            let own = Arc::make_mut(self.agents.entry(task.agent()).or_default());
            if before.is_none() {
                own.tasks.insert(task.id());
            }
            own.live = own.live.saturating_sub(u64::from(was_live)) + u64::from(is_live(task));
        }
        let seat_before = before.filter(|before| is_live(*before)).map(TaskRef::seat);
        let seat = Some(task).filter(|task| is_live(*task)).map(TaskRef::seat);
        if seat_before != seat {
            if let Some(before) = seat_before {
                self.uncount(before);
            }
            if seat.is_some() {
                let shared = &task.shape().seat;
                *self.seats.entry(Arc::clone(shared)).or_default() += 1;
            }
        }
    }

    pub(super) fn remove(&mut self, task: TaskRef<'_>) {
        let (workload, agent) = (task.workload(), task.agent());
        let is_live = !task.state().is_terminal();
        if let Some(own) = self.workloads.get_mut(&workload) {
            let own = Arc::make_mut(own);
            own.stage(Stage::of(task)).remove(&(task.slot(), task.id()));
            own.counts = own.counts.minus(Counts::of(task));
            if own.is_empty() {
                self.workloads.remove(&workload);
            }
        }
        if let Some(own) = self.agents.get_mut(&agent) {
            let own = Arc::make_mut(own);
            own.tasks.remove(&task.id());
            own.live = own.live.saturating_sub(u64::from(is_live));
            if own.tasks.is_empty() {
                self.agents.remove(&agent);
            }
        }
        if is_live {
            self.uncount(task.seat());
        }
    }

    fn uncount(&mut self, seat: &SeatId) {
        if let Some(live) = self.seats.get_mut(seat) {
            *live = live.saturating_sub(1);
            if *live == 0 {
                self.seats.remove(seat);
            }
        }
    }

    /// The shape of a workload that is as it is asked for.
    pub(super) fn find_shape(
        &self,
        workload: WorkloadId,
        is_meant: impl Fn(&Shape) -> bool,
    ) -> Option<Arc<Shape>> {
        self.workloads
            .get(&workload)?
            .shapes
            .find(is_meant)
            .cloned()
    }

    /// The shape like this one that is known, or this one from here on.
    pub(super) fn share_shape(&mut self, shape: Shape) -> Arc<Shape> {
        let own = self.workloads.entry(shape.workload).or_default();
        Arc::make_mut(own).shapes.share(shape)
    }

    /// Lets a task share the cold part that was made last in its workload, where it is the same.
    pub(super) fn share_cold(&mut self, task: &mut Draft) {
        let workload = task.as_ref().workload();
        let Some(made) = task.cold_mut() else {
            return;
        };
        let own = self.workloads.entry(workload).or_default();
        match &own.cold {
            Some(known) if known == made => *made = Arc::clone(known),
            Some(_) | None => Arc::make_mut(own).cold = Some(Arc::clone(made)),
        }
    }

    pub(super) fn counts(&self, workload: WorkloadId) -> Counts {
        let own = self.workloads.get(&workload);
        own.map(|own| own.counts).unwrap_or_default()
    }

    /// How many live tasks there are on an agent.
    pub(super) fn live_on(&self, agent: AgentId) -> u64 {
        self.agents.get(&agent).map_or(0, |own| own.live)
    }

    /// Whether a seat of this framework has a live task.
    pub(super) fn has_live_of(&self, framework: &ObjectKey) -> bool {
        let first = SeatId::first_of(framework);
        let mut from = self.seats.range::<_, SeatId>(&first..);
        from.next()
            .is_some_and(|(seat, _)| seat.framework == *framework)
    }

    pub(super) fn of_workload(&self, workload: WorkloadId) -> impl Iterator<Item = TaskId> + '_ {
        let own = self.workloads.get(&workload).into_iter();
        let places = own.flat_map(|own| own.live.iter().chain(&own.ended).chain(&own.forgotten));
        places.map(looked_at)
    }

    pub(super) fn live_of_workload(
        &self,
        workload: WorkloadId,
    ) -> impl Iterator<Item = TaskId> + '_ {
        let own = self.workloads.get(&workload).into_iter();
        own.flat_map(|own| own.live.iter()).map(looked_at)
    }

    pub(super) fn forgotten_of_workload(
        &self,
        workload: WorkloadId,
    ) -> impl Iterator<Item = TaskId> + '_ {
        let own = self.workloads.get(&workload).into_iter();
        own.flat_map(|own| own.forgotten.iter()).map(looked_at)
    }

    pub(super) fn ended_of_slot(
        &self,
        workload: WorkloadId,
        slot: u32,
    ) -> impl Iterator<Item = TaskId> + '_ {
        let own = self.workloads.get(&workload).into_iter();
        own.flat_map(|own| [&own.ended, &own.forgotten])
            .flat_map(move |places| places.range(of_slot(slot)))
            .map(looked_at)
    }

    /// The youngest task of a slot, whatever became of it.
    pub(super) fn newest_of_slot(&self, workload: WorkloadId, slot: u32) -> Option<TaskId> {
        let own = self.workloads.get(&workload)?;
        [&own.live, &own.ended, &own.forgotten]
            .into_iter()
            .filter_map(|places| places.range(of_slot(slot)).next_back())
            .map(looked_at)
            .max()
    }

    pub(super) fn on_agent(&self, agent: AgentId) -> impl Iterator<Item = TaskId> + '_ {
        let own = self.agents.get(&agent).into_iter();
        own.flat_map(|own| own.tasks.iter().copied())
    }
}

fn of_slot(slot: u32) -> std::ops::RangeInclusive<Place> {
    (slot, FIRST)..=(slot, LAST)
}

fn looked_at(place: &Place) -> TaskId {
    #[cfg(test)]
    steps::count();
    place.1
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
