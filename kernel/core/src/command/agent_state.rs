//! SetAgentState: an agent's session has ended, or it will not come back.

use std::sync::Arc;

use kelson_model::agent::AgentState;
use kelson_model::id::{AgentId, Index, TaskId};
use kelson_model::request::Refusal;
use kelson_model::task::{Exit, ExitCause, TaskState};
use serde::{Deserialize, Serialize};

use crate::command::session::unknown;
use crate::context::Context;
use crate::lifecycle::end_task;
use crate::reply::Reply;
use crate::state::State;
use crate::tasks::TaskRef;

/// Says that an agent can or cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetAgentState {
    /// Which.
    pub agent: AgentId,
    /// The incarnation whose session this is about; a newer one is left alone.
    pub incarnation: u64,
    /// The session that this is about; a newer one is left alone. Absent: whichever there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Index>,
    /// The new state.
    pub state: AgentState,
    /// Whether the agent itself says so, as it ends.
    #[serde(default)]
    pub is_leaving: bool,
}

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &SetAgentState,
) -> Result<Reply, Refusal> {
    let Some(agent) = state.agents.get(&command.agent).cloned() else {
        return Ok(unknown(command.agent));
    };
    let is_older = agent.incarnation != command.incarnation
        || command
            .session
            .is_some_and(|session| session != agent.session);
    if is_older || agent.state == command.state {
        return Ok(context.done(None));
    }
    let mut agent = Arc::unwrap_or_clone(agent);
    agent.state = command.state;
    agent.state_since = context.now;
    agent.room_version = state.next_room_version();
    let tasks: Vec<TaskId> = state
        .tasks_on(agent.id)
        .filter(|task| !task.state().is_terminal())
        .map(|task| task.id())
        .collect();
    let (reason, message) = match command.state {
        AgentState::Ready => ("AgentReady", format!("{} can be reached again", agent.id)),
        AgentState::Unreachable if command.is_leaving => (
            "AgentLeaving",
            format!(
                "{} ends; it is offered no more until it attaches again",
                agent.id
            ),
        ),
        AgentState::Unreachable => (
            "AgentUnreachable",
            format!(
                "{} cannot be reached; its {} tasks are left alone for now",
                agent.id,
                tasks.len()
            ),
        ),
        AgentState::Gone => (
            "AgentGone",
            format!(
                "{} will not come back; its {} tasks are lost",
                agent.id,
                tasks.len()
            ),
        ),
    };
    state.push_event(context.event(reason, None, message));
    let is_gone = command.state == AgentState::Gone;
    state.put_agent(agent);
    for id in tasks {
        if !is_gone {
            state.touch_task(id);
        } else if let Some(task) = state.tasks.get(id).map(TaskRef::draft) {
            let exit = Exit {
                reason: "its agent is gone".to_owned(),
                cause: Some(ExitCause::AgentGone),
                ..Exit::default()
            };
            end_task(state, context, task, TaskState::Lost, exit);
        }
    }
    Ok(context.done(None))
}
