//! Watching a member: who leads, and whether it has come to its end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kelson_proto::v1;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Raft, ServerState};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::ClusterId;
use super::dialer::Lane;
use super::error::RaftError;
use super::log::LogWatch;
use super::member::Leadership;
use super::replica::Replica;
use super::reserve::Reserve;
use super::service::Receiver;
use super::types::TypeConfig;
use crate::heart::Heart;

/// How long a member hears of no leader before it asks the others whether it still belongs to them.
const SILENCE: Duration = Duration::from_secs(2);
/// The longest pause between such questions.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How often a member with a full disk looks whether there is room.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(1);

/// Why a member has ended for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Something failed.
    Failed(String),
    /// The cluster has removed it.
    Removed,
    /// Its directory is empty, and must not be.
    DataLost,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(reason) => f.write_str(reason),
            Self::Removed => f.write_str("it was removed from the cluster"),
            Self::DataLost => f.write_str("its data directory is empty, and it had data"),
        }
    }
}

impl End {
    /// Says it as the kernel hears it.
    pub(crate) fn to_error(&self, member: u64, cluster: ClusterId) -> RaftError {
        match self {
            Self::Failed(reason) => RaftError::Fatal(reason.clone()),
            Self::Removed => RaftError::Removed { member, cluster },
            Self::DataLost => RaftError::DataLost { member, cluster },
        }
    }
}

/// What the watching loop watches and tells.
pub(crate) struct Monitor {
    /// The member's openraft.
    pub(crate) raft: Raft<TypeConfig, Replica>,
    /// Its log.
    pub(crate) log: LogWatch,
    /// What others say to it.
    pub(crate) receiver: Arc<Receiver>,
    /// Where the leadership is told.
    pub(crate) leadership: watch::Sender<Leadership>,
    /// Where the end is told.
    pub(crate) end: watch::Sender<Option<End>>,
    /// Tells how the loop does.
    pub(crate) heart: Heart,
}

impl Monitor {
    /// Waits for the end of the member, and says why it came.
    pub(crate) async fn run(self, mut stopping: watch::Receiver<bool>) {
        self.heart
            .waits("for news of its term, its leader or its end", None);
        let end = tokio::select! {
            // An ordered stop, or everybody has let go of the member.
            _ = stopping.wait_for(|stop| *stop) => return,
            cause = self.log.failed() => End::Failed(cause.to_string()),
            symptom = self.follow() => End::Failed(self.log.failure().map_or(symptom, |cause| cause.to_string())),
            () = self.removed() => End::Removed,
            () = is_true(self.receiver.is_lost.subscribe()) => End::DataLost,
            () = self.forget_departed() => return,
        };
        if *stopping.borrow() {
            return;
        }
        tracing::error!(reason = %end, "the member has ended");
        drop(self.heart);
        let goes_on = !matches!(end, End::Failed(_));
        self.end.send_replace(Some(end));
        if goes_on && let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "the member did not stop in order");
        }
        // Keeps the reason readable for as long as the member is held.
        let _ = stopping.wait_for(|stop| *stop).await;
    }

    /// Tells of every change of the leadership, until openraft ends.
    async fn follow(&self) -> String {
        let mut metrics = self.raft.metrics();
        loop {
            {
                let now = metrics.borrow_watched();
                if let Err(error) = &now.running_state {
                    return error.to_string();
                }
                let found = Leadership {
                    term: now.current_term,
                    leader: now.current_leader,
                    is_mine: now.state.is_leader(),
                };
                self.leadership.send_if_modified(|known| {
                    let is_news = *known != found;
                    *known = found;
                    is_news
                });
            }
            if metrics.changed().await.is_err() {
                return "its core ended".to_owned();
            }
        }
    }

    /// Lets go of the connections to members that are no more.
    async fn forget_departed(&self) {
        let mut roster = self.receiver.roster.clone();
        while roster.changed().await.is_ok() {
            let roster = roster.borrow_and_update();
            self.receiver
                .peers
                .keep_only(|member| !roster.has_departed(member));
        }
        // The machine is gone, and the log or openraft says why.
        std::future::pending().await
    }

    /// Completes when this member is known to be removed: by what is applied here, or by what
    /// others say. A leader leads until it has handed over.
    async fn removed(&self) {
        let member = self.receiver.member;
        let mut roster = self.receiver.roster.clone();
        let by_log = async {
            // The sender lives as long as the machine.
            if roster
                .wait_for(|roster| roster.has_departed(member))
                .await
                .is_err()
            {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = by_log => {}
            () = is_true(self.receiver.peers.watch_removed()) => {}
        }
        let mut server = self.raft.server_metrics();
        loop {
            if server.borrow_watched().state != ServerState::Leader {
                return;
            }
            if server.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

async fn is_true(mut signal: watch::Receiver<bool>) {
    if signal.wait_for(|is_set| *is_set).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Keeps a member whose disk is full from standing for election until there is room: it would lead,
/// and take nothing.
pub(crate) async fn run_standing_by(
    raft: Raft<TypeConfig, Replica>,
    reserve: Arc<Reserve>,
    mut stopping: watch::Receiver<bool>,
) {
    raft.runtime_config().elect(false);
    tracing::warn!("the disk is full: this member does not stand for election");
    let has_room = async {
        while !reserve.ensure() {
            sleep(LOOK_FOR_ROOM).await;
        }
    };
    tokio::select! {
        () = has_room => raft.runtime_config().elect(true),
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

/// Asks the others whether this member still belongs to them, while it hears of no leader: whoever
/// was removed while it was away is called by nobody any more.
pub(crate) async fn run_greetings(receiver: Arc<Receiver>, mut stopping: watch::Receiver<bool>) {
    let work = async {
        let mut heard = receiver.heard.subscribe();
        let mut pause = SILENCE;
        let mut turn = 0_usize;
        loop {
            let last = *heard.borrow_and_update();
            let is_leader =
                receiver.raft.server_metrics().borrow_watched().state == ServerState::Leader;
            if is_leader || last.elapsed() < SILENCE {
                pause = SILENCE;
            } else {
                greet(&receiver, turn).await;
                turn = turn.wrapping_add(1);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            sleep(pause).await;
        }
    };
    tokio::select! {
        () = work => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

/// Asks one of the others; what it says is noted by its link.
async fn greet(receiver: &Receiver, turn: usize) {
    let others: Vec<(u64, String)> = receiver
        .roster
        .borrow()
        .membership()
        .nodes()
        .filter(|(id, _)| **id != receiver.member)
        .map(|(id, peer)| (*id, peer.address.clone()))
        .collect();
    let Some((member, address)) = turn
        .checked_rem(others.len())
        .and_then(|place| others.get(place))
    else {
        return;
    };
    let link = receiver.peers.link(*member, address);
    let Ok(mut client) = link.client(Lane::Urgent) else {
        return;
    };
    let request = v1::GreetRequest {
        envelope: Some(receiver.peers.envelope(*member)),
    };
    let attempt = link.attempt(Lane::Urgent);
    if let Ok(reply) = timeout(ANSWER, client.greet(request)).await {
        let _ = attempt.end(reply);
    }
}
