//! Leases: an agent of which nothing was heard for a lease is unreachable.

use std::collections::BTreeMap;

use kelson_kernel_core::command::{Command, SetAgentState};
use kelson_model::agent::AgentState;
use kelson_model::id::{AgentId, Index};
use tokio::time::Instant;

use crate::leader::Tenure;
use crate::proposing::SubmitError;
use crate::raft::ProposeError;

/// Watches leases while this member leads.
///
/// *Flow:* a few times per lease, each agent is looked at: one of which nothing was heard for a
/// lease, by this member or another, is marked; its session, where there is one, ends with that.
/// *Guarantees:* the lease is counted once, from the last message; an agent that attaches before
/// the mark is committed is not marked, whichever process of it; a new leader counts anew.
/// *Caveats:* an agent of which this process never heard is timed from its first look.
///
/// # Errors
/// The log has stopped.
pub async fn run_leases(kernel: Tenure) -> Result<(), SubmitError> {
    let lease = kernel.config().lease;
    let began = Instant::now();
    let mut first_seen: BTreeMap<AgentId, (Index, Instant)> = BTreeMap::new();
    let mut ticks = tokio::time::interval(lease / 4);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let heart = kernel.hearts().start("leases");
    loop {
        heart.waits("for its next look", Some(lease));
        ticks.tick().await;
        heart.works("looks at the sessions", lease);
        let (state, now) = (kernel.state(), Instant::now());
        for agent in state.agents.values() {
            let seen = first_seen.entry(agent.id).or_insert((agent.session, now));
            if seen.0 != agent.session {
                *seen = (agent.session, now);
            }
            let own = kernel.sessions().find(agent.id);
            let is_here = own.is_some_and(|session| session.index == agent.session);
            // What was heard before this term was told to another leader as well, and a session at
            // another member is told of a little later than it begins.
            let since = if is_here { began } else { seen.1 };
            let since = kernel
                .sessions()
                .heard(agent.id)
                .unwrap_or(since)
                .max(since);
            let is_silent = now.duration_since(since) >= lease;
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
