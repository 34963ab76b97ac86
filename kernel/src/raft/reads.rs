//! Read barriers: up to which entry a reader must see so that its read is not stale.
//!
//! *Flow*: readers ask a task of this room; it takes all that wait, makes one barrier for them, and
//! tells them the index; each then waits until that is applied here. On a follower the barrier is
//! made by the leader, one call away. *Guarantees*: a barrier begins after the last of its readers
//! has asked; one is under way at a time, however many wait. *Caveats*: who asks while one is under
//! way waits for the next.

use std::time::Duration;

use kelson_proto::v1;
use kelson_proto::v1::read_index_reply::Outcome;
use openraft::errors::{
    ForwardReason, ForwardToLeader, LinearizableReadError, RaftError as ApiError,
};
use openraft::{Raft, ReadPolicy};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::dialer::Lane;
use super::error::ReadError;
use super::member::RETRY;
use super::peers::Peers;
use super::replica::Replica;
use super::types::TypeConfig;

/// How many readers may wait to be noticed; the others wait for room.
const WAITING: usize = 1024;
/// How long the leader's answer may take before it is asked again.
const ANSWER: Duration = Duration::from_millis(1_000);
/// How long the leader tries on behalf of a follower, which asks again.
const ON_BEHALF: Duration = Duration::from_millis(900);

type Outcomes = Result<u64, ReadError>;

struct Reader {
    /// Whether only this member's own leadership counts.
    is_for_leader: bool,
    answer: oneshot::Sender<Outcomes>,
}

/// Asks for barriers; clones ask the same task.
#[derive(Clone)]
pub(crate) struct Reads {
    readers: mpsc::Sender<Reader>,
}

impl Reads {
    /// Gives the handle, and what the task takes from.
    pub(crate) fn new() -> (Self, ReadRequests) {
        let (readers, requests) = mpsc::channel(WAITING);
        (Self { readers }, ReadRequests { requests })
    }

    /// Gives the index that a read on any member must have seen.
    pub(crate) async fn index(&self) -> Outcomes {
        self.ask(false).await
    }

    /// The same, as long as this member leads.
    pub(crate) async fn index_as_leader(&self) -> Outcomes {
        self.ask(true).await
    }

    async fn ask(&self, is_for_leader: bool) -> Outcomes {
        let stopped = || ReadError::Stopped {
            reason: "it was shut down".to_owned(),
        };
        let (answer, outcome) = oneshot::channel();
        let reader = Reader {
            is_for_leader,
            answer,
        };
        self.readers.send(reader).await.map_err(|_| stopped())?;
        outcome.await.unwrap_or_else(|_| Err(stopped()))
    }
}

/// What readers asked for.
pub(crate) struct ReadRequests {
    requests: mpsc::Receiver<Reader>,
}

/// Makes barriers until the member stops.
pub(crate) async fn run_reads(
    requests: ReadRequests,
    raft: Raft<TypeConfig, Replica>,
    peers: Peers,
    member: u64,
    patience: Duration,
    mut stopping: watch::Receiver<bool>,
) {
    tokio::select! {
        () = answer_all(requests, &raft, &peers, member, patience) => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

async fn answer_all(
    mut requests: ReadRequests,
    raft: &Raft<TypeConfig, Replica>,
    peers: &Peers,
    member: u64,
    patience: Duration,
) {
    let mut readers = Vec::new();
    while requests.requests.recv_many(&mut readers, WAITING).await > 0 {
        let is_for_leader = readers.iter().all(|reader| reader.is_for_leader);
        let patience = if is_for_leader {
            ON_BEHALF.min(patience)
        } else {
            patience
        };
        let barrier = Barrier {
            raft,
            peers,
            member,
            deadline: Instant::now() + patience,
        };
        let mut outcome = barrier.as_leader(is_for_leader).await;
        if let Err(error @ ReadError::NotLeader { .. }) = &outcome {
            let (own, others) = readers
                .drain(..)
                .partition::<Vec<_>, _>(|reader| reader.is_for_leader);
            for reader in own {
                let _ = reader.answer.send(Err(error.clone()));
            }
            readers = others;
            if !readers.is_empty() {
                outcome = barrier.anywhere().await;
            }
        }
        for reader in readers.drain(..) {
            let _ = reader.answer.send(outcome.clone());
        }
    }
}

struct Barrier<'a> {
    raft: &'a Raft<TypeConfig, Replica>,
    peers: &'a Peers,
    member: u64,
    deadline: Instant,
}

impl Barrier<'_> {
    /// Makes the barrier here, once.
    async fn attempt(&self) -> Result<Outcomes, ForwardToLeader<TypeConfig>> {
        let linearizer = self.raft.get_read_linearizer(ReadPolicy::ReadIndex);
        match timeout_at(self.deadline, linearizer).await {
            Err(_) => Ok(Err(ReadError::NoQuorumInTime)),
            Ok(Ok(linearizer)) => Ok(Ok(linearizer.read_log_id().index())),
            Ok(Err(ApiError::Fatal(error))) => Ok(Err(ReadError::Stopped {
                reason: error.to_string(),
            })),
            Ok(Err(ApiError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => {
                Err(forward)
            }
            Ok(Err(ApiError::APIError(LinearizableReadError::QuorumNotEnough(_)))) => {
                Err(ForwardToLeader::empty().with_reason(ForwardReason::LeaseExpired))
            }
        }
    }

    /// Makes the barrier here; waits for an election only on behalf of readers that may ask
    /// anywhere.
    async fn as_leader(&self, is_for_leader: bool) -> Outcomes {
        loop {
            match self.attempt().await {
                Ok(outcome) => return outcome,
                Err(forward) => {
                    let is_lost = forward.reason == ForwardReason::NotLeader
                        && (is_for_leader || forward.leader_id.is_some())
                        && forward.leader_id != Some(self.member);
                    if is_lost || forward.reason == ForwardReason::LeadershipTransfer {
                        return Err(ReadError::NotLeader {
                            leader: forward.leader_id,
                        });
                    }
                }
            }
            self.pause().await?;
        }
    }

    /// Makes the barrier wherever the leader is.
    async fn anywhere(&self) -> Outcomes {
        loop {
            match self.attempt().await {
                Ok(outcome) => return outcome,
                Err(ForwardToLeader {
                    leader_id: Some(leader),
                    leader_node: Some(peer),
                    ..
                }) if leader != self.member => {
                    if let Some(index) = self.ask(leader, &peer.address).await {
                        return Ok(index);
                    }
                }
                Err(_) => {}
            }
            self.pause().await?;
        }
    }

    async fn pause(&self) -> Result<(), ReadError> {
        if Instant::now() + RETRY >= self.deadline {
            return Err(ReadError::NoQuorumInTime);
        }
        sleep(RETRY).await;
        Ok(())
    }

    /// Asks the leader; `None` when it has no answer, and is to be asked again.
    async fn ask(&self, leader: u64, address: &str) -> Option<u64> {
        let link = self.peers.link(leader, address);
        let mut client = link.client(Lane::Urgent).ok()?;
        let request = v1::ReadIndexRequest {
            envelope: Some(self.peers.envelope(leader)),
        };
        let attempt = link.attempt(Lane::Urgent);
        let limit = ANSWER.min(self.deadline.duration_since(Instant::now()));
        let reply = timeout(limit, client.read_index(request)).await.ok()?;
        match attempt.end(reply).ok()?.into_inner().outcome? {
            Outcome::Index(index) => Some(index),
            Outcome::OtherLeader(_) | Outcome::NoQuorum(_) => None,
        }
    }
}
