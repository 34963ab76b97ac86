//! Who is attached: one session for each agent, the newest, and when each agent was last heard of.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kelson_model::id::{AgentId, Index};
use kelson_model::session::SessionEnd;
use kelson_proto::v1;
use kelson_proto::v1::kernel_message::Message as Down;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::Status;

use crate::sessions::news::Unsaid;
use crate::sessions::outputs::Outputs;
use crate::sessions::writer::say;

/// What goes down a session.
pub(crate) type Outbox = mpsc::Sender<Result<v1::KernelMessage, Status>>;

/// Why a session has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    /// What the agent decides by.
    pub(crate) end: SessionEnd,
    /// The same for people.
    pub(crate) message: String,
}

impl Ending {
    /// Says why.
    pub(crate) fn new(end: SessionEnd, message: impl Into<String>) -> Self {
        Self {
            end,
            message: message.into(),
        }
    }

    /// Says that the agent has attached anew, by this process of it or by another one.
    pub(crate) fn newer(incarnation: u64, newest: u64) -> Self {
        if incarnation == newest {
            Self::new(SessionEnd::Replaced, "the agent has attached once more")
        } else {
            let message = "a newer process of this agent has attached";
            Self::new(SessionEnd::Superseded, message)
        }
    }

    /// The last message of the session.
    pub(crate) fn goodbye(self) -> Down {
        Down::Goodbye(v1::Goodbye {
            message: self.message,
            end: v1::SessionEnd::from(self.end).into(),
        })
    }
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    /// Whose.
    pub(crate) agent: AgentId,
    /// Of which process of the agent.
    pub(crate) incarnation: u64,
    /// The entry that began it.
    pub(crate) index: Index,
    /// What it has not been told.
    pub(crate) unsaid: Unsaid,
    control: Outbox,
    ending: watch::Sender<Option<Ending>>,
    is_leaving: AtomicBool,
}

impl Session {
    /// Makes a session that has been told nothing.
    pub(crate) fn new(agent: AgentId, incarnation: u64, index: Index, control: Outbox) -> Self {
        let unsaid = Unsaid::default();
        unsaid.add_everything();
        Self {
            agent,
            incarnation,
            index,
            unsaid,
            control,
            ending: watch::Sender::new(None),
            is_leaving: AtomicBool::new(false),
        }
    }

    /// Ends it; the first reason stays.
    pub(crate) fn cut(&self, ending: Ending) {
        self.ending.send_if_modified(|known| {
            let is_first = known.is_none();
            known.get_or_insert(ending);
            is_first
        });
    }

    /// Why it has ended, where it has.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.ending.borrow().clone()
    }

    /// Where its end is told, also to those who do not keep it alive.
    pub(crate) fn endings(&self) -> watch::Receiver<Option<Ending>> {
        self.ending.subscribe()
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) {
        // The sender lives as long as this session does.
        let _ = self.ending.subscribe().wait_for(Option::is_some).await;
    }

    /// The agent has said that it ends.
    pub(crate) fn set_leaving(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Whether it has.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }
}

struct Known {
    session: Option<Arc<Session>>,
    heard: Instant,
    /// The member that has told of it, where it is attached there.
    via: Option<u64>,
}

/// All sessions of this member.
#[derive(Default)]
pub(crate) struct Sessions {
    by_agent: Mutex<BTreeMap<AgentId, Known>>,
    /// The outputs that are read over them.
    pub(crate) outputs: Outputs,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<AgentId, Known>> {
        self.by_agent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session. The older one of the two of an agent is ended, whichever of them comes
    /// first.
    pub(crate) fn begin(&self, session: &Arc<Session>) {
        let mut by_agent = self.lock();
        let known = by_agent.entry(session.agent).or_insert_with(|| Known {
            session: None,
            heard: Instant::now(),
            via: None,
        });
        known.heard = Instant::now();
        let older = match &known.session {
            Some(other) if other.index > session.index => Some(Arc::clone(session)),
            Some(_) | None => known.session.replace(Arc::clone(session)),
        };
        drop(by_agent);
        if let Some(older) = older {
            older.cut(Ending::newer(older.incarnation, session.incarnation));
        }
    }

    /// Forgets a session that has ended; whoever reads outputs over it is told.
    pub(crate) fn end(&self, session: &Session) {
        let mut by_agent = self.lock();
        if let Some(known) = by_agent.get_mut(&session.agent)
            && known
                .session
                .as_ref()
                .is_some_and(|known| known.index == session.index)
        {
            known.session = None;
            drop(by_agent);
            self.outputs.lose(session.agent);
        }
    }

    /// The session of an agent.
    pub(crate) fn find(&self, agent: AgentId) -> Option<Arc<Session>> {
        self.lock().get(&agent)?.session.clone()
    }

    /// All sessions.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        let by_agent = self.lock();
        by_agent
            .values()
            .filter_map(|known| known.session.clone())
            .collect()
    }

    /// All sessions, with when their agents were last heard of.
    pub(crate) fn all_heard(&self) -> Vec<(Arc<Session>, Instant)> {
        let by_agent = self.lock();
        by_agent
            .values()
            .filter_map(|known| Some((known.session.clone()?, known.heard)))
            .collect()
    }

    /// Notes what another member has heard of agents that are attached there, and how long ago.
    pub(crate) fn hear_of(&self, member: u64, agents: impl Iterator<Item = (AgentId, Duration)>) {
        let now = Instant::now();
        let mut by_agent = self.lock();
        for (agent, silent) in agents {
            let Some(heard) = now.checked_sub(silent) else {
                continue;
            };
            let known = by_agent.entry(agent).or_insert(Known {
                session: None,
                heard,
                via: None,
            });
            known.heard = known.heard.max(heard);
            known.via = Some(member);
        }
    }

    /// The member that an agent is attached to, where that is not this one and it has told so.
    pub(crate) fn via(&self, agent: AgentId) -> Option<u64> {
        let by_agent = self.lock();
        let known = by_agent.get(&agent)?;
        known.via.filter(|_| known.session.is_none())
    }

    /// Notes that an agent has said something, be it that it wants to attach.
    pub(crate) fn hear(&self, agent: AgentId) {
        if let Some(known) = self.lock().get_mut(&agent) {
            known.heard = Instant::now();
        }
    }

    /// When this member last heard of an agent.
    pub(crate) fn heard(&self, agent: AgentId) -> Option<Instant> {
        Some(self.lock().get(&agent)?.heard)
    }

    /// Asks something of an agent; false where it has no session or takes nothing more for now.
    pub(crate) fn ask(&self, agent: AgentId, down: Down) -> bool {
        let session = self.find(agent);
        session.is_some_and(|session| session.control.try_send(Ok(say(down))).is_ok())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn session(incarnation: u64, index: u64) -> Arc<Session> {
        let (control, _) = mpsc::channel(1);
        let session = Session::new(AgentId(1), incarnation, Index(index), control);
        Arc::new(session)
    }

    #[tokio::test]
    async fn the_session_that_was_committed_last_stays_and_the_other_learns_of_its_end() {
        let sessions = Sessions::default();
        let (first, second) = (session(1, 10), session(1, 12));
        sessions.begin(&second);
        sessions.begin(&first);
        first.ended().await;
        assert_eq!(first.ending().unwrap().end, SessionEnd::Replaced);
        assert_eq!(second.ending(), None);
        let newer = session(2, 20);
        sessions.begin(&newer);
        assert_eq!(second.ending().unwrap().end, SessionEnd::Superseded);
        sessions.end(&second);
        assert_eq!(sessions.find(AgentId(1)).unwrap().index, newer.index);
        sessions.end(&newer);
        assert!(sessions.find(AgentId(1)).is_none());
        assert!(sessions.heard(AgentId(1)).is_some());
    }
}
