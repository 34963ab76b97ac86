//! Apply: the deterministic function of an entry on the state.
//!
//! *Flow:* an entry is a command with who asks and when; `apply` finds out whether it was asked before, carries it out in the
//! command's own file, and remembers the reply for its client. *Guarantees:* the same entries give the same state everywhere; a
//! refused command has changed nothing but the index and the time. *Assumes:* the shell hands entries over once, in log order.

use kelson_model::event::Event;
use kelson_model::id::{AgentId, Index};
use kelson_model::object::ObjectKey;
use kelson_model::principal::Principal;
use kelson_model::request::Refusal;
use kelson_model::session::SessionEnd;
use kelson_model::time::{ClusterTime, WallTime};
use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::port::RefusalRow;
use crate::record::Client;
use crate::state::State;

/// So many clients are remembered; the longest silent ones are dropped first.
const KEPT_CLIENTS: usize = 10_000;

/// One entry of the log: a command, who asks, when, and how often it may be carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Who asks.
    pub principal: Principal,
    /// Cluster time at the proposer.
    pub at: ClusterTime,
    /// Wall time at the proposer, for people.
    pub wall: WallTime,
    /// The proposer's term.
    pub term: u64,
    /// The client's name and the sequence of this request; absent: the kernel itself asks.
    pub client: Option<(String, u64)>,
    /// What is asked.
    pub command: Command,
}

/// What an entry came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Reply {
    /// It is done.
    Done {
        /// The entry that did it.
        index: Index,
        /// The generation that came of it, where an object changed.
        generation: Option<u64>,
    },
    /// An agent is attached under this id.
    Attached {
        /// The id.
        agent: AgentId,
        /// The entry that began this session of it.
        #[serde(default)]
        session: Index,
    },
    /// The session of an agent has ended, or may not begin; nothing was done.
    SessionOver {
        /// Why.
        end: SessionEnd,
        /// The same for people, and what to do about it.
        refusal: Refusal,
    },
    /// A turn counts; these of its operations were refused.
    Counted {
        /// The refused ones.
        refusals: Vec<RefusalRow>,
    },
    /// A turn was void and has changed nothing.
    Void {
        /// Why.
        reason: String,
    },
    /// Nothing was done.
    Refused(Refusal),
}

/// What a command knows of its entry.
#[derive(Debug, Clone)]
pub struct Context {
    /// The entry's index.
    pub index: Index,
    /// Cluster time, already made monotonic.
    pub now: ClusterTime,
    /// Wall time, for people.
    pub wall: WallTime,
    /// The proposer's term.
    pub term: u64,
    /// Who asks.
    pub principal: Principal,
}

impl Context {
    pub(crate) fn event(&self, reason: &str, object: Option<&ObjectKey>, message: String) -> Event {
        Event {
            index: self.index,
            place: 0,
            at: self.wall,
            reason: reason.to_owned(),
            object: object.cloned(),
            message,
            by: self.principal.clone(),
        }
    }

    pub(crate) fn done(&self, generation: Option<u64>) -> Reply {
        Reply::Done {
            index: self.index,
            generation,
        }
    }
}

/// Makes a refusal.
pub(crate) fn refusal(code: &str, message: impl Into<String>, hint: impl Into<String>) -> Refusal {
    Refusal {
        code: code.to_owned(),
        message: message.into(),
        hint: hint.into(),
    }
}

/// Carries out one entry.
pub fn apply(state: &mut State, index: Index, entry: &Entry) -> Reply {
    state.begin_entry(index, entry.at);
    if let Some((client, sequence)) = &entry.client
        && let Some(known) = state.clients.get(client)
    {
        if known.sequence == *sequence {
            return known.reply.clone();
        }
        if known.sequence > *sequence {
            return Reply::Refused(refusal(
                "K0305",
                format!(
                    "request {sequence} of this client comes after request {}",
                    known.sequence
                ),
                "each request of a client carries a higher sequence than the one before",
            ));
        }
    }
    let context = Context {
        index,
        now: state.time,
        wall: entry.wall,
        term: entry.term,
        principal: entry.principal.clone(),
    };
    let before = state.clone();
    let reply = match entry.command.apply(state, &context) {
        Ok(reply) => reply,
        Err(refused) => {
            *state = before;
            Reply::Refused(refused)
        }
    };
    if let Some((client, sequence)) = &entry.client {
        state.clients.insert(
            client.clone(),
            Client {
                sequence: *sequence,
                reply: reply.clone(),
                at: state.time,
            },
        );
        if state.clients.len() > KEPT_CLIENTS {
            let oldest = state
                .clients
                .iter()
                .min_by_key(|(name, client)| (client.at, (*name).clone()))
                .map(|(name, _)| name.clone());
            if let Some(name) = oldest {
                state.clients.remove(&name);
            }
        }
    }
    reply
}
