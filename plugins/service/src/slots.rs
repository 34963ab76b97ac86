//! The tasks of a workload, sorted into its slots.
//!
//! A slot is a place for one task, 0 to `instances` - 1. A task of a new version takes the slot of the task that it replaces, so two
//! share a slot while a surge lasts; nothing else about a slot is remembered, and so nothing can get out of step.

use std::collections::BTreeMap;

use kelson_sdk::{Check, Task, TaskState};

/// What one slot holds; tasks are in the order of their age.
#[derive(Debug, Default)]
pub(crate) struct Slot<'a> {
    /// There, not asked to end, with the wanted template.
    pub(crate) fresh: Vec<&'a Task>,
    /// There, not asked to end, with any other template.
    pub(crate) stale: Vec<&'a Task>,
    /// Asked to end, not ended yet, with the wanted template.
    pub(crate) is_fresh_ending: bool,
    /// Ended.
    pub(crate) ended: Vec<&'a Task>,
    /// The youngest ended task with the wanted template.
    pub(crate) last_try: Option<&'a Task>,
    /// The largest task number.
    pub(crate) youngest: u64,
    /// When anything last happened here, in cluster time.
    pub(crate) moved_at: u64,
}

/// Sorts tasks into slots; `wanted` names the content of the wanted template.
pub(crate) fn sort<'a>(
    tasks: impl Iterator<Item = &'a Task>,
    wanted: u64,
) -> BTreeMap<u32, Slot<'a>> {
    let mut slots: BTreeMap<u32, Slot<'a>> = BTreeMap::new();
    for task in tasks {
        let slot = slots.entry(task.slot).or_default();
        slot.youngest = slot.youngest.max(task.id);
        slot.moved_at = slot.moved_at.max(task.state_since);
        let is_fresh = task.template_id == wanted;
        if task.state.is_terminal() {
            slot.ended.push(task);
            if is_fresh && slot.last_try.is_none_or(|other| other.id < task.id) {
                slot.last_try = Some(task);
            }
        } else if !task.is_live() {
            slot.is_fresh_ending |= is_fresh;
        } else if is_fresh {
            slot.fresh.push(task);
        } else {
            slot.stale.push(task);
        }
    }
    slots
}

impl<'a> Slot<'a> {
    /// Ended tasks that no one needs to see any more: all but the youngest task of the slot and the youngest that failed.
    pub(crate) fn forgettable(&self) -> impl Iterator<Item = &'a Task> {
        let tells = |task: &&&Task| task.state != TaskState::Killed || task.is_ended_by_hand;
        let telling = self.ended.iter().filter(tells).map(|task| task.id).max();
        let youngest = self.youngest;
        self.ended
            .iter()
            .copied()
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
