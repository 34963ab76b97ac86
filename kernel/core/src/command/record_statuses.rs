//! RecordStatuses: what an agent says of its tasks; each (task, sequence) counts once, and terminal
//! is terminal.

use kelson_model::id::AgentId;
use kelson_model::request::Refusal;
use kelson_model::task::{CheckState, TaskState, TaskStatus};
use kelson_model::time::ClusterTime;
use serde::{Deserialize, Serialize};

use crate::command::session::refuse_older;
use crate::context::Context;
use crate::lifecycle::end_task;
use crate::reply::Reply;
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
    let Some(task) = state.tasks.get(status.task) else {
        return;
    };
    if task.agent() != agent || task.sequence() >= status.sequence || task.state().is_terminal() {
        return;
    }
    let healthy_since = match (status.health, task.healthy_since()) {
        // A task that ends has no health any more; how long it was healthy still counts for the
        // next attempt.
        (_, since) if matches!(status.state, TaskState::Stopping) || status.state.is_terminal() => {
            since
        }
        (CheckState::Healthy, Some(since)) => Some(since),
        // Cluster time stands still while no member leads, so a task may have been healthy for
        // longer than the cluster has had time; and to schedulers, the time 0 is none.
        (CheckState::Healthy, None) => Some(ClusterTime(
            context.now.0.saturating_sub(status.healthy_for).max(1),
        )),
        (CheckState::Unknown | CheckState::Unhealthy, _) => None,
    };
    let is_moved = task.state() != status.state;
    let mut draft = task.draft();
    draft.set_sequence(status.sequence);
    draft.set_health(status.health, healthy_since);
    draft.set_ready(status.ready && !status.state.is_terminal());
    draft.set_program(status.pid, status.started_at.or(task.started_at()));
    draft.set_words(&status.isolation, &status.message);
    if status.state.is_terminal() {
        let exit = status.exit.clone().unwrap_or_default();
        end_task(state, context, draft, status.state, exit);
        return;
    }
    if is_moved {
        draft.set_state(status.state, context.now);
        if status.state == TaskState::Running {
            let pid = status
                .pid
                .map(|pid| format!(" as process {pid}"))
                .unwrap_or_default();
            let message = format!("{} runs on {agent}{pid}", task.name());
            let event = context.event("TaskRunning", Some(task.object()), message);
            state.push_event(event);
        }
    }
    state.put_task(draft);
}
