//! UseToken: a machine joins by a token.

use std::sync::Arc;

use imbl::OrdMap;
use kelson_model::access::Role;
use kelson_model::agent::{AgentDescription, AgentState, PortRange};
use kelson_model::code::Code;
use kelson_model::id::{AgentId, Digest, Index, TokenId};
use kelson_model::quantity::Resources;
use kelson_model::request::Refusal;

use crate::context::Context;
use crate::record::{Agent, Joined, TokenRecord};
use crate::reply::{Reply, refusal};
use crate::state::State;

/// Longest name of a machine or of a data directory, in bytes.
const NAME_BYTES: usize = 64;

/// A machine joins. Asked again under the same token, key and data directory, it is given the same
/// id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseToken {
    /// Which token.
    pub token: TokenId,
    /// The hash of the secret that was shown.
    pub hash: Digest,
    /// What it joins as.
    pub role: Role,
    /// The digest of the machine's public key.
    pub key: Digest,
    /// Names its data directory.
    pub directory: String,
    /// The machine's name, for people.
    pub name: String,
}

/// The token that somebody shows, where it holds.
///
/// # Errors
/// There is none, the secret is another, or it has expired. All are told alike.
fn shown<'a>(
    state: &'a State,
    context: &Context,
    command: &UseToken,
) -> Result<&'a Arc<TokenRecord>, Refusal> {
    let known = state.tokens.get(&command.token);
    let holds = |token: &&Arc<TokenRecord>| {
        token.hash == command.hash && !token.has_expired(context.now, context.wall)
    };
    known.filter(holds).ok_or_else(|| {
        refusal(
            Code::TokenRefused,
            "this token does not hold: it was used, has expired or was revoked",
            "ask for a new one: kelson token create",
        )
    })
}

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &UseToken,
) -> Result<Reply, Refusal> {
    if command.name.len() > NAME_BYTES || command.directory.len() > NAME_BYTES {
        return Err(refusal(
            Code::TokenRefused,
            format!("names of machines and directories have at most {NAME_BYTES} bytes"),
            "give another name with --name",
        ));
    }
    let mut token = (**shown(state, context, command)?).clone();
    if token.role != command.role {
        let message = format!(
            "this token is for an {}, not for an {}",
            token.role, command.role
        );
        return Err(refusal(Code::TokenRefused, message, "ask for another one"));
    }
    let again = token.joined.iter().find(|joined| joined.key == command.key);
    if let Some(again) = again {
        return Ok(Reply::Joined { id: again.id });
    }
    let used = u32::try_from(token.joined.len()).unwrap_or(u32::MAX);
    if used >= token.uses {
        return Err(refusal(
            Code::TokenRefused,
            "this token does not hold: it was used, has expired or was revoked",
            "ask for a new one: kelson token create",
        ));
    }
    let id = match command.role {
        Role::Agent => admit_agent(state, context, command).0,
        role @ (Role::Member | Role::Reader | Role::Operator | Role::Admin) => {
            let message = format!("nobody joins as {role} by this way");
            return Err(refusal(Code::TokenRefused, message, "use it as it is"));
        }
    };
    token.joined.push(Joined {
        key: command.key.clone(),
        id,
    });
    state.put_token(token);
    Ok(Reply::Joined { id })
}

/// Gives an agent its id; it has nothing to offer until it attaches.
fn admit_agent(state: &mut State, context: &Context, command: &UseToken) -> AgentId {
    let id = state.next_agent();
    let message = format!("{id} ({}) has joined by {}", command.name, command.token);
    state.push_event(context.event("AgentJoined", None, message));
    let room_version = state.next_room_version();
    state.put_agent(Agent {
        id,
        token: command.directory.as_str().into(),
        incarnation: 0,
        session: Index::default(),
        description: Arc::new(AgentDescription {
            name: command.name.clone(),
            address: String::new(),
            resources: Resources::default(),
            ports: PortRange { first: 1, last: 1 },
            attributes: std::collections::BTreeMap::new(),
            pid: 0,
            version: String::new(),
        }),
        attributes: Arc::default(),
        state: AgentState::Unreachable,
        state_since: context.now,
        used: Resources::default(),
        used_ports: OrdMap::new(),
        used_in_range: 0,
        last_port: 0,
        taken_ports: OrdMap::new(),
        room_version,
    });
    id
}
