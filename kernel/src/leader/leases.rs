//! Leases: an agent whose session has been gone for a lease is unreachable.

use std::collections::BTreeMap;

use kelson_kernel_core::command::{Command, SetAgentState};
use kelson_model::agent::AgentState;
use kelson_model::id::AgentId;
use tokio::time::Instant;

use crate::kernel::{Kernel, SubmitError};

/// Watches leases for ever.
///
/// *Flow:* a few times per lease, each agent that the state calls ready and that has no session is
/// timed; after a lease without one it is marked. *Guarantees:* an agent that attaches again within
/// the lease is never marked; a new incarnation is left alone by the command itself.
///
/// # Errors
/// The log does not take the change.
pub async fn run_leases(kernel: Kernel) -> Result<(), SubmitError> {
    let lease = kernel.config().lease;
    let mut absent: BTreeMap<AgentId, Instant> = BTreeMap::new();
    let mut ticks = tokio::time::interval(lease / 4);
    let heart = kernel.hearts().start("leases");
    loop {
        heart.waits("for its next look", Some(lease));
        ticks.tick().await;
        heart.works("looks at the sessions", lease);
        let state = kernel.state();
        let now = Instant::now();
        absent.retain(|agent, _| !kernel.sessions().has(*agent));
        for agent in state
            .agents
            .values()
            .filter(|agent| agent.state == AgentState::Ready && !kernel.sessions().has(agent.id))
        {
            let since = *absent.entry(agent.id).or_insert(now);
            if now.duration_since(since) >= lease {
                let command = SetAgentState {
                    agent: agent.id,
                    incarnation: agent.incarnation,
                    session: Some(agent.session),
                    state: AgentState::Unreachable,
                    is_leaving: false,
                };
                kernel.propose(Command::SetAgentState(command)).await?;
                absent.remove(&agent.id);
            }
        }
    }
}
