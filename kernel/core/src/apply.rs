//! Apply: the deterministic function of an entry on the state.
//!
//! *Flow:* an entry is a command with who asks and when; `apply` finds out whether it was asked
//! before, carries it out in the command's own file, and remembers the reply for its client.
//! *Guarantees:* the same entries give the same state everywhere; a refused command has changed
//! nothing but the index and the time. *Assumes:* the shell hands entries over once, in log order.

use kelson_model::code::Code;
use kelson_model::id::Index;
use kelson_model::principal::Principal;
use kelson_model::request::Submission;
use kelson_model::time::{ClusterTime, WallTime};
use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::context::Context;
use crate::form::{command_form, first_since};
use crate::leaving;
use crate::reply::{Reply, refusal};
use crate::state::{Standing, State};

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
    /// When that client began, as it was told then; entries of the version before do not say it.
    #[serde(skip)]
    pub since: Option<ClusterTime>,
    /// What is asked.
    pub command: Command,
}

/// Carries out one entry in the first form of its command.
pub fn apply(state: &mut State, index: Index, entry: &Entry) -> Reply {
    let since = first_since(&command_form(&entry.command));
    apply_form(state, index, entry, since)
}

/// Carries out one entry in a form that members know `since` a version of their cluster; where the
/// cluster has an older one, it is refused.
pub fn apply_form(state: &mut State, index: Index, entry: &Entry, since: u32) -> Reply {
    state.begin_entry(index, entry.at);
    if let Some((client, sequence)) = &entry.client {
        match state.standing(client, *sequence, entry.since) {
            Standing::New => {}
            Standing::Answered(reply) => return reply,
            Standing::TooLate(newest) => return too_late(*sequence, newest),
            Standing::Forgotten => return forgotten(),
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
    let allowed = command_form(&entry.command).allow(since, state.cluster_version);
    let reply = match allowed.and_then(|()| entry.command.apply(state, &context)) {
        Ok(reply) => {
            leaving::after_entry(state, &context);
            reply
        }
        Err(refused) => {
            *state = before.clone();
            Reply::Refused(refused)
        }
    };
    if let Some((client, sequence)) = &entry.client {
        state.remember(client, *sequence, entry.since, &reply);
    }
    state.keep_hashes(&before);
    reply
}

fn too_late(sequence: u64, newest: u64) -> Reply {
    let window = Submission::WINDOW;
    Reply::Refused(refusal(
        Code::TooLate,
        format!(
            "request {sequence} of this client comes after request {newest}, and its answer is not kept"
        ),
        format!("a client has at most {window} requests under way, and counts their sequence up"),
    ))
}

fn forgotten() -> Reply {
    Reply::Refused(refusal(
        Code::ClientForgotten,
        "this client is not known any more: whether it asked this before cannot be told",
        "look whether it was done; begin anew as another client, and ask then",
    ))
}
