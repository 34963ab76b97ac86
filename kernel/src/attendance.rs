//! Attendance: which agents are there. Every member looks after the sessions that it holds, and one
//! that does not lead tells the leader of whom it has heard.
//!
//! *Flow:* a few times per lease, sessions that are silent, or that are not those of their agents
//! any more, are ended, and the leader is told of the others in one message. *Guarantees:* an agent
//! that speaks to any member is heard of by the leader within a part of a lease; a member that
//! hears of no leader for a lease lets its agents go elsewhere.

use std::time::Duration;

use kelson_kernel_core::State;
use kelson_kernel_core::record::Agent;
use kelson_model::agent::AgentState;
use kelson_model::session::SessionEnd;
use kelson_proto::v1;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::kernel::Kernel;
use crate::sessions::{Ending, Session};

/// How many looks a lease has.
const LOOKS: u32 = 5;
/// Agents that one message tells of, at most.
const MOST_TOLD: usize = 50_000;

/// Looks after the sessions of this member; returns when the log has stopped.
pub async fn run_attendance(kernel: Kernel) {
    let lease = kernel.config().lease;
    let heart = kernel.hearts().start("attendance");
    let mut ticks = interval(lease / LOOKS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let leadership = kernel.member().watch_leadership();
    let mut led = Instant::now();
    loop {
        heart.waits("for its next look", Some(lease));
        ticks.tick().await;
        if leadership.has_changed().is_err() {
            return;
        }
        heart.works("looks after its sessions", lease);
        let now = Instant::now();
        if leadership.borrow().leader.is_some() {
            led = now;
        }
        let is_lost = now.duration_since(led) >= lease;
        let mut there = v1::HeardAgents {
            member: kernel.member().id(),
            ..v1::HeardAgents::default()
        };
        let state = kernel.state();
        for (session, heard) in kernel.sessions().all_heard() {
            let silent = now.duration_since(heard);
            let ending = if is_lost {
                let message = "this member hears of no leader: attach to another one";
                Some(Ending::new(SessionEnd::Unavailable, message))
            } else {
                judge(&state, &session, silent >= lease)
            };
            match ending {
                Some(ending) => session.cut(ending),
                None => {
                    there.agents.push(session.agent.0);
                    there.silent_ms.push(millis(silent));
                }
            }
        }
        if let Some((leader, address)) = kernel.leader_elsewhere() {
            tell(&kernel, leader, &address, there).await;
        }
    }
}

async fn tell(kernel: &Kernel, leader: u64, address: &str, there: v1::HeardAgents) {
    let agents = there.agents.chunks(MOST_TOLD);
    let silent = there.silent_ms.chunks(MOST_TOLD);
    for (agents, silent_ms) in agents.zip(silent) {
        let part = v1::HeardAgents {
            member: there.member,
            agents: agents.to_vec(),
            silent_ms: silent_ms.to_vec(),
        };
        // At the next look it is told again.
        if let Err(error) = kernel.relays().hear(leader, address, part).await {
            tracing::debug!(leader, %error, "the leader was not told of agents");
            return;
        }
    }
}

fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

/// Why a session is ended, where it is.
fn judge(state: &State, session: &Session, is_silent: bool) -> Option<Ending> {
    if is_silent {
        let message = "nothing was heard of the agent for a lease";
        return Some(Ending::new(SessionEnd::Silent, message));
    }
    let agent: &Agent = state.agents.get(&session.agent)?;
    if agent.session > session.index {
        return Some(Ending::newer(session.incarnation, agent.incarnation));
    }
    // Marked while its attach was on its way; only a new attach makes it ready again.
    let is_forsaken =
        agent.state != AgentState::Ready && agent.session == session.index && !session.is_leaving();
    is_forsaken.then(|| {
        let message = "the agent was taken for unreachable: attach again";
        Ending::new(SessionEnd::Silent, message)
    })
}
