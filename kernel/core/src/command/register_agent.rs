//! RegisterAgent: attaches an agent, new or known.

use std::sync::Arc;

use imbl::OrdMap;
use kelson_model::agent::{AgentDescription, AgentState};
use kelson_model::id::AgentId;
use kelson_model::quantity::Resources;
use kelson_model::request::Refusal;
use kelson_model::session::SessionEnd;
use serde::{Deserialize, Serialize};

use crate::command::session::{over, unknown};
use crate::context::Context;
use crate::record::Agent;
use crate::reply::Reply;
use crate::state::State;

/// Attaches an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterAgent {
    /// The id it was given before; absent: it is new.
    pub agent: Option<AgentId>,
    /// Names its data directory.
    pub token: String,
    /// Grows with each start of the agent.
    pub incarnation: u64,
    /// What it says about itself.
    pub description: AgentDescription,
    /// The cluster that it belongs to; empty: it has not been told yet.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster: String,
}

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &RegisterAgent,
) -> Result<Reply, Refusal> {
    if !command.cluster.is_empty() && command.cluster != state.cluster {
        let message = format!(
            "the agent belongs to the cluster {}, and this one is {}",
            command.cluster, state.cluster
        );
        return Ok(over(SessionEnd::OtherCluster, message));
    }
    let known = match command.agent {
        // An agent that lost the answer to its first registration asks again under the same token.
        None => state.agent_of(&command.token).cloned(),
        Some(id) => match state.agents.get(&id) {
            Some(known) => Some(known.clone()),
            None => return Ok(unknown(id)),
        },
    };
    let description = Arc::new(command.description.clone());
    let attributes = Arc::new(description.attributes.clone().into_iter().collect());
    let agent = match known {
        Some(known) if *known.token != command.token => {
            let message = format!("{} belongs to another data directory", known.id);
            return Ok(over(SessionEnd::OtherDirectory, message));
        }
        Some(known) if known.incarnation > command.incarnation => {
            let message = format!(
                "incarnation {} of {} is over; {} has attached",
                command.incarnation, known.id, known.incarnation
            );
            return Ok(over(SessionEnd::Superseded, message));
        }
        Some(known) => {
            let range = description.ports;
            let used_in_range = known
                .used_ports
                .keys()
                .filter(|port| (range.first..=range.last).contains(*port))
                .count();
            Agent {
                incarnation: command.incarnation,
                session: context.index,
                description,
                attributes,
                state: AgentState::Ready,
                state_since: context.now,
                used_in_range: u32::try_from(used_in_range).unwrap_or(u32::MAX),
                room_version: state.next_room_version(),
                ..(*known).clone()
            }
        }
        None => Agent {
            id: state.next_agent(),
            token: command.token.as_str().into(),
            incarnation: command.incarnation,
            session: context.index,
            attributes,
            state: AgentState::Ready,
            state_since: context.now,
            used: Resources::default(),
            used_ports: OrdMap::new(),
            used_in_range: 0,
            last_port: description.ports.last,
            taken_ports: OrdMap::new(),
            description,
            room_version: state.next_room_version(),
        },
    };
    let (id, name) = (agent.id, agent.description.name.clone());
    state.push_event(context.event(
        "AgentAttached",
        None,
        format!(
            "{id} ({name}) attached with {}",
            agent.description.resources
        ),
    ));
    state.put_agent(agent);
    Ok(Reply::Attached {
        agent: id,
        session: context.index,
    })
}
