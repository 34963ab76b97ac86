//! RecordStatuses: what an agent says of its tasks; each (task, sequence) counts once, and terminal is terminal.

use std::sync::Arc;

use kelson_model::drift::{DriftItem, DriftState, Plane};
use kelson_model::id::{AgentId, TaskId, WorkloadId};
use kelson_model::request::Refusal;
use kelson_model::task::{CheckState, Exit, StopReason, TaskState, TaskStatus};
use serde::{Deserialize, Serialize};

use crate::apply::{Context, Reply};
use crate::command::record_drift::put_ledger;
use crate::command::session::refuse_older;
use crate::record::{KEPT_ENDED_TASKS, Task};
use crate::state::State;

/// Records a batch of status updates of one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordStatuses {
    /// Who says so.
    pub agent: AgentId,
    /// The incarnation of its session; an older one is refused.
    pub incarnation: u64,
    /// What it says.
    pub statuses: Vec<TaskStatus>,
}

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &RecordStatuses,
) -> Result<Reply, Refusal> {
    if let Some(over) = refuse_older(state, command.agent, command.incarnation) {
        return Ok(over);
    }
    for status in &command.statuses {
        record(state, context, command.agent, status);
    }
    Ok(context.done(None))
}

/// Applies one update; unknown tasks, repeated sequences and updates after the end change nothing.
fn record(state: &mut State, context: &Context, agent: AgentId, status: &TaskStatus) {
    let Some(task) = state.tasks.get(&status.task) else {
        return;
    };
    if task.agent != agent || task.sequence >= status.sequence || task.state.is_terminal() {
        return;
    }
    let mut task = Task::clone(task);
    task.sequence = status.sequence;
    task.health = status.health;
    task.is_ready = status.ready && !status.state.is_terminal();
    task.pid = status.pid;
    task.started_at = status.started_at.or(task.started_at);
    task.isolation.clone_from(&status.isolation);
    task.message.clone_from(&status.message);
    task.healthy_since = match (status.health, task.healthy_since) {
        // A task that ends has no health any more; how long it was healthy still counts for the next attempt.
        (_, since) if matches!(status.state, TaskState::Stopping) || status.state.is_terminal() => {
            since
        }
        (CheckState::Healthy, Some(since)) => Some(since),
        (CheckState::Healthy, None) => Some(kelson_model::time::ClusterTime(
            context.now.0.saturating_sub(status.healthy_for),
        )),
        (CheckState::Unknown | CheckState::Unhealthy, _) => None,
    };
    if status.state.is_terminal() {
        end_task(
            state,
            context,
            task,
            status.state,
            status.exit.clone().unwrap_or_default(),
        );
        return;
    }
    if task.state != status.state {
        task.state = status.state;
        task.state_since = context.now;
        if status.state == TaskState::Running {
            let place = format!("{} runs on {}", task.name(), task.agent);
            let pid = task
                .pid
                .map(|pid| format!(" as process {pid}"))
                .unwrap_or_default();
            state.push_event(context.event(
                "TaskRunning",
                Some(&task.object),
                format!("{place}{pid}"),
            ));
        }
    }
    state.put_task(task);
}

/// Ends a task for good: gives back what it held, and drops its workload where that was removed and this was its last task.
pub(super) fn end_task(
    state: &mut State,
    context: &Context,
    mut task: Task,
    end: TaskState,
    exit: Exit,
) {
    task.state = end;
    task.state_since = context.now;
    task.is_ready = false;
    task.assignment += 1;
    let message = format!("{} {}: {}", task.name(), ended(end), exit.reason);
    task.exit = Some(exit);
    state.account(&task, false);
    state.push_event(context.event("TaskEnded", Some(&task.object), message));
    let (id, workload) = (task.id, task.workload);
    state.put_task(task);
    heal_what_ended(state, context, id);
    // The object of a workload that was removed and made again is another one: what counts is the workload.
    let owner = state
        .object_of(workload)
        .map(|object| (object.is_removed, object.key.clone()));
    let is_over = owner.as_ref().is_none_or(|(is_removed, _)| *is_removed);
    let has_ended = |task: &Arc<Task>| task.state.is_terminal();
    if is_over && state.tasks_of(workload).all(has_ended) {
        match owner {
            Some((_, key)) => state.drop_object(&key),
            None => state.drop_tasks_of(workload),
        }
    }
}

/// Closes what an agent saw differ of a task that has ended: nothing of it runs any more.
fn heal_what_ended(state: &mut State, context: &Context, task: TaskId) {
    let is_about = |item: &DriftItem| {
        item.plane == Plane::Agent && item.state == DriftState::Open && item.task == Some(task)
    };
    if !state.drift.iter().any(|item| is_about(item)) {
        return;
    }
    let mut items: Vec<Arc<DriftItem>> = state.drift.iter().cloned().collect();
    for item in items.iter_mut().filter(|item| is_about(item)) {
        let item = Arc::make_mut(item);
        item.state = DriftState::Healed;
        item.healed_at = Some(context.wall);
    }
    put_ledger(state, items);
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

/// Drops the oldest forgotten tasks of a workload, so that a bounded number is kept for people.
pub(super) fn drop_old_tasks(state: &mut State, workload: WorkloadId) {
    let forgotten: Vec<TaskId> = state
        .tasks_of(workload)
        .filter(|task| task.is_forgotten)
        .map(|task| task.id)
        .collect();
    let surplus = forgotten.len().saturating_sub(KEPT_ENDED_TASKS);
    for id in forgotten.into_iter().take(surplus) {
        state.drop_task(id);
    }
}

/// The attempt that a new task of a slot is: one more than that of the slot's newest task, unless that one stayed healthy.
pub(super) fn next_attempt(
    state: &State,
    workload: WorkloadId,
    slot: u32,
    template_id: u64,
) -> u32 {
    let newest: Option<&Arc<Task>> = state
        .tasks_of(workload)
        .filter(|task| task.slot == slot)
        .max_by_key(|task| task.id);
    match newest {
        Some(task)
            if task.template_id == template_id
                && task.state.is_terminal()
                && !task.is_ended_by_hand()
                && !is_ended_by_plan(task) =>
        {
            let was_steady = task
                .healthy_since
                .is_some_and(|since| task.state_since.since(since) >= crate::record::STEADY);
            if was_steady {
                1
            } else {
                task.attempts.saturating_add(1)
            }
        }
        Some(_) | None => 1,
    }
}

/// Whether a task was asked to end for no fault of its own.
fn is_ended_by_plan(task: &Task) -> bool {
    task.stop.as_ref().is_some_and(|stop| match stop.reason {
        StopReason::Replaced
        | StopReason::ScaledDown
        | StopReason::Removed
        | StopReason::ByHand
        | StopReason::Drifted => true,
        StopReason::Unhealthy => false,
    })
}
