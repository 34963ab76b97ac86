//! Whose word counts: the newest process of an agent, and the newest of its sessions.

use kelson_model::code::Code;
use kelson_model::id::AgentId;
use kelson_model::session::SessionEnd;

use crate::reply::{Reply, refusal};
use crate::state::State;

/// Says that a session is over.
pub(super) fn over(end: SessionEnd, message: String) -> Reply {
    let hint = match end {
        SessionEnd::UnknownAgent | SessionEnd::OtherDirectory | SessionEnd::OtherCluster => {
            "give the agent an empty data directory: it is registered anew then"
        }
        SessionEnd::Superseded => "only the newest process of an agent speaks for it",
        SessionEnd::Replaced
        | SessionEnd::Silent
        | SessionEnd::Misspoken
        | SessionEnd::Unavailable => "attach again",
    };
    Reply::SessionOver {
        end,
        refusal: refusal(Code::AgentRefused, message, hint),
    }
}

/// What an agent is told that this cluster does not know.
pub(super) fn unknown(agent: AgentId) -> Reply {
    let message = format!("{agent} is not an agent of this cluster");
    over(SessionEnd::UnknownAgent, message)
}

/// What a process of an agent is told whose reports do not count any more; nothing where they do.
pub(super) fn refuse_older(state: &State, agent: AgentId, incarnation: u64) -> Option<Reply> {
    let Some(known) = state.agents.get(&agent) else {
        return Some(unknown(agent));
    };
    (known.incarnation != incarnation).then(|| {
        let message = format!(
            "incarnation {incarnation} of {agent} is over; {} has attached",
            known.incarnation
        );
        over(SessionEnd::Superseded, message)
    })
}
