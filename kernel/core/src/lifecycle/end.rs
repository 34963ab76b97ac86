//! End: a task has ended for good, and a bounded number of those that have is kept.

use std::sync::Arc;

use kelson_model::drift::{DriftItem, DriftState, Plane};
use kelson_model::id::{TaskId, WorkloadId};
use kelson_model::task::{Exit, TaskState};

use crate::context::Context;
use crate::record::{KEPT_ENDED_OF_SLOT, KEPT_FORGOTTEN, KEPT_TRIES_OF_SLOT};
use crate::state::State;
use crate::tasks::{Draft, TaskRef};

/// Ends a task for good: gives back what it held, and drops its workload where that was removed and
/// this was its last task.
pub(crate) fn end_task(
    state: &mut State,
    context: &Context,
    mut draft: Draft,
    end: TaskState,
    exit: Exit,
) {
    draft.set_state(end, context.now);
    draft.set_ready(false);
    draft.assign_again();
    let name = draft.as_ref().name();
    let message = format!("{name} {}: {}", ended(end), exit.reason);
    draft.set_exit(exit);
    let task = draft.as_ref();
    state.give_back(task);
    if let Some(exit) = task.exit().filter(|_| task.is_port_taken()) {
        state.note_taken_ports(task.agent(), &exit.taken_ports, context.now);
    }
    // What a row of tries for the same ports comes to is told once.
    if !(task.is_port_taken() && task.refusals() > 0) {
        state.push_event(context.event("TaskEnded", Some(task.object()), message));
    }
    let (id, workload, slot) = (task.id(), task.workload(), task.slot());
    state.put_task(draft);
    heal_what_ended(state, context, id);
    // The object of a workload that was removed and made again is another one: what counts is the
    // workload.
    let owner = state
        .object_of(workload)
        .map(|object| (object.is_removed, object.key.clone()));
    let is_over = owner.as_ref().is_none_or(|(is_removed, _)| *is_removed);
    if is_over && state.counts_of(workload).live == 0 {
        match owner {
            Some((_, key)) => state.drop_object(&key),
            None => state.drop_tasks_of(workload),
        }
    } else {
        drop_old_tasks_of_slot(state, workload, slot);
    }
}

/// Closes what an agent saw differ of a task that has ended: nothing of it runs any more.
fn heal_what_ended(state: &mut State, context: &Context, task: TaskId) {
    if !state.is_drifting(task) {
        return;
    }
    let is_about = |item: &DriftItem| {
        item.plane == Plane::Agent && item.state == DriftState::Open && item.task == Some(task)
    };
    let mut items: Vec<Arc<DriftItem>> = state.drift.iter().cloned().collect();
    for item in items.iter_mut().filter(|item| is_about(item)) {
        let item = Arc::make_mut(item);
        item.state = DriftState::Healed;
        item.healed_at = Some(context.wall);
    }
    state.put_drift(items);
}

fn ended(state: TaskState) -> &'static str {
    match state {
        TaskState::Finished => "finished",
        TaskState::Failed => "failed",
        TaskState::Killed => "was stopped",
        TaskState::Lost => "is lost",
        TaskState::Staging | TaskState::Starting | TaskState::Running | TaskState::Stopping => {
            "goes on"
        }
    }
}

/// Notes that the scheduler of an ended task has done with it.
pub(crate) fn forget(state: &mut State, mut task: Draft) {
    let workload = task.as_ref().workload();
    task.set_forgotten();
    state.put_task(task);
    let forgotten = state.forgotten_tasks_of(workload);
    let (tries, runs) = by_kind(forgotten);
    drop_surplus(state, runs, KEPT_FORGOTTEN);
    drop_surplus(state, tries, KEPT_FORGOTTEN);
}

/// The tasks that never ran for want of their ports, and the others.
fn by_kind<'a>(tasks: impl Iterator<Item = TaskRef<'a>>) -> (Vec<TaskId>, Vec<TaskId>) {
    let (mut tries, mut runs) = (Vec::new(), Vec::new());
    for task in tasks {
        let list = if task.is_port_taken() {
            &mut tries
        } else {
            &mut runs
        };
        list.push(task.id());
    }
    (tries, runs)
}

/// Keeps the youngest ended tasks of a slot, whether its scheduler has done with them or not. What
/// never ran for want of its ports pushes none of them out.
fn drop_old_tasks_of_slot(state: &mut State, workload: WorkloadId, slot: u32) {
    let ended = state.ended_tasks_of_slot(workload, slot);
    let (tries, runs) = by_kind(ended);
    drop_surplus(state, runs, KEPT_ENDED_OF_SLOT);
    drop_surplus(state, tries, KEPT_TRIES_OF_SLOT);
}

fn drop_surplus(state: &mut State, mut tasks: Vec<TaskId>, kept: usize) {
    let surplus = tasks.len().saturating_sub(kept);
    tasks.sort_unstable();
    for id in tasks.into_iter().take(surplus) {
        state.drop_task(id);
    }
}
