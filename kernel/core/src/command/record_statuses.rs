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
use crate::record::Task;
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
