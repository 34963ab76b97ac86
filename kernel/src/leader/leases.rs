//! Leases: an agent of which nothing was heard for a lease is unreachable.

use std::collections::BTreeMap;

use kelson_kernel_core::command::{Command, SetAgentState};
use kelson_kernel_core::record::Agent;
use kelson_model::agent::AgentState;
use kelson_model::id::AgentId;
use kelson_model::session::SessionEnd;
use tokio::time::Instant;

use crate::kernel::{Kernel, SubmitError};
use crate::raft::ProposeError;
use crate::sessions::{Ending, Session};

/// Watches leases for ever.
///
/// *Flow:* a few times per lease, each agent is looked at: one of which nothing was heard for a
/// lease is marked, and its session, where there is one, is ended. *Guarantees:* the lease is
/// counted once, from the last message; an agent that attaches before the mark is committed is
/// not marked, whichever process of it. *Caveats:* an agent of which this process never heard is
/// timed from its first look.
///
/// # Errors
/// The log has stopped.
pub async fn run_leases(kernel: Kernel) -> Result<(), SubmitError> {
    let lease = kernel.config().lease;
    let mut unheard: BTreeMap<AgentId, Instant> = BTreeMap::new();
    let mut ticks = tokio::time::interval(lease / 4);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let heart = kernel.hearts().start("leases");
    loop {
        heart.waits("for its next look", Some(lease));
        ticks.tick().await;
        heart.works("looks at the sessions", lease);
        let (state, now) = (kernel.state(), Instant::now());
        for agent in state.agents.values() {
            let since = match kernel.sessions().heard(agent.id) {
                Some(heard) => heard,
                None => *unheard.entry(agent.id).or_insert(now),
            };
            let is_silent = now.duration_since(since) >= lease;
            let session = kernel.sessions().find(agent.id);
            if let Some(session) = &session
                && let Some(ending) = judge(agent, session, is_silent)
            {
                session.cut(ending);
            }
            if !is_silent || agent.state != AgentState::Ready {
                continue;
            }
            let command = SetAgentState {
                agent: agent.id,
                incarnation: agent.incarnation,
                session: Some(agent.session),
                state: AgentState::Unreachable,
                is_leaving: false,
            };
            match kernel.propose(Command::SetAgentState(command)).await {
                Ok(_) => {}
                Err(error @ SubmitError::Propose(ProposeError::Stopped { .. })) => {
                    return Err(error);
                }
                // At the next look it is tried again.
                Err(error) => {
                    tracing::warn!(agent = %agent.id, %error, "an agent could not be marked as unreachable");
                }
            }
        }
    }
}

/// Why a session is ended, where it is.
fn judge(agent: &Agent, session: &Session, is_silent: bool) -> Option<Ending> {
    if is_silent {
        let message = "nothing was heard of the agent for a lease";
        return Some(Ending::new(SessionEnd::Silent, message));
    }
    // Marked while its attach was on its way; only a new attach makes it ready again.
    let is_forsaken =
        agent.state != AgentState::Ready && agent.session == session.index && !session.is_leaving();
    is_forsaken.then(|| {
        let message = "the agent was taken for unreachable: attach again";
        Ending::new(SessionEnd::Silent, message)
    })
}
