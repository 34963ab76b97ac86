//! The tasks of a workload, sorted into its slots.
//!
//! A slot is a place for one task, 0 to `instances` - 1. A task of a new version takes the slot of
//! the task that it replaces, so two share a slot while a surge lasts; nothing else about a slot is
//! remembered, and so nothing can get out of step.

use kelson_sdk::{Check, Task, TaskState};

/// What one slot holds. Nothing here is allocated: a Service may have thousands.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Slot<'a> {
    pub(crate) number: u32,
    /// All its tasks, in the order of their age.
    pub(crate) tasks: &'a [&'a Task],
    /// The content of the wanted template.
    wanted: u64,
    /// A task with the wanted template was asked to end, and has not ended yet.
    pub(crate) is_fresh_ending: bool,
    /// The youngest ended task with the wanted template.
    pub(crate) last_try: Option<&'a Task>,
    /// When anything last happened here, in cluster time.
    pub(crate) moved_at: u64,
}

/// Sorts tasks into slots; they come by slot and then by age. `wanted` names the content of the
/// wanted template.
pub(crate) fn sort<'a>(tasks: &'a [&'a Task], wanted: u64) -> impl Iterator<Item = Slot<'a>> {
    tasks
        .chunk_by(|left, right| left.slot == right.slot)
        .map(move |tasks| Slot::of(tasks, wanted))
}

impl<'a> Slot<'a> {
    /// A slot without tasks.
    pub(crate) fn empty(number: u32) -> Self {
        Self {
            number,
            ..Self::default()
        }
    }

    fn of(tasks: &'a [&'a Task], wanted: u64) -> Self {
        let mut slot = Self {
            number: tasks.first().map_or(0, |task| task.slot),
            tasks,
            wanted,
            ..Self::default()
        };
        for task in tasks {
            slot.moved_at = slot.moved_at.max(task.state_since);
            if task.template_id != wanted {
                continue;
            }
            if task.state.is_terminal() {
                slot.last_try = Some(task);
            } else if !task.is_live() {
                slot.is_fresh_ending = true;
            }
        }
        slot
    }

    /// There, not asked to end, with the wanted template or with any other.
    pub(crate) fn live(&self, is_stale: bool) -> impl Iterator<Item = &'a Task> + use<'a> {
        let wanted = self.wanted;
        self.tasks
            .iter()
            .copied()
            .filter(move |task| task.is_live() && (task.template_id != wanted) == is_stale)
    }

    /// Ended.
    pub(crate) fn ended(&self) -> impl Iterator<Item = &'a Task> + use<'a> {
        let tasks = self.tasks.iter().copied();
        tasks.filter(|task| task.state.is_terminal())
    }

    /// Ended tasks that no one needs to see any more: all but the youngest task of the slot and the
    /// youngest that failed.
    pub(crate) fn forgettable(&self) -> impl Iterator<Item = &'a Task> + use<'a> {
        let youngest = self.tasks.last().map_or(0, |task| task.id);
        let tells = |task: &&Task| task.state != TaskState::Killed || task.is_ended_by_hand;
        let telling = self.ended().filter(tells).last().map(|task| task.id);
        self.ended()
            .filter(move |task| task.id != youngest && Some(task.id) != telling)
    }
}

/// Whether a task runs, works and may take traffic, as far as anyone can tell now.
pub(crate) fn is_working(task: &Task, is_reachable: bool) -> bool {
    is_reachable
        && task.state == TaskState::Running
        && task.is_ready
        && task.health == Check::Healthy
        && task.healthy_since.is_some()
}

/// Whether a working task has been healthy for long enough.
pub(crate) fn has_proved(task: &Task, now: u64, min_healthy: u64) -> bool {
    task.healthy_since
        .is_some_and(|since| now >= since.saturating_add(min_healthy))
}
