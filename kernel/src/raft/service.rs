//! What other members ask of this one: the service that stands on the one listener beside the rest
//! of the API.
//!
//! *Guarantees*: a message for another cluster or another member, of a newer protocol, of a member
//! that was removed, or of one that this member cannot belong with, changes nothing and is refused
//! by name; so is everything while this member's own data is lost. Work of openraft happens on its
//! runtime, whichever thread polls the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{Stream, StreamExt, stream};
use kelson_proto::v1;
use kelson_proto::v1::hand_over_reply::Outcome as HandOverOutcome;
use kelson_proto::v1::member_refusal::Reason;
use kelson_proto::v1::members_server::{Members, MembersServer};
use kelson_proto::v1::read_index_reply::Outcome as ReadOutcome;
use openraft::Raft;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, TransferLeaderError,
    TransferLeaderRequest,
};
use prost::Message as _;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status, Streaming};

use super::ClusterId;
use super::error::ReadError;
use super::message::{
    Nonsense, PROTOCOL, put_append_result, put_ballot, put_matched, put_vote_reply, take_append,
    take_ballot, take_last, take_vote_request,
};
use super::peers::Peers;
use super::reads::Reads;
use super::receive::Intake;
use super::replica::Replica;
use super::roster::Roster;
use super::types::TypeConfig;

/// Answers of one call that has several.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service that other members call; see [`Member::service`](super::Member::service).
#[derive(Clone)]
pub struct MemberService {
    pub(super) inner: Arc<Receiver>,
}

/// What the service works with.
pub(crate) struct Receiver {
    /// This member's openraft.
    pub(crate) raft: Raft<TypeConfig, Replica>,
    /// Where its work happens.
    pub(crate) runtime: Handle,
    /// The cluster.
    pub(crate) cluster: ClusterId,
    /// This member.
    pub(crate) member: u64,
    /// The others.
    pub(crate) peers: Peers,
    /// Who belongs to the cluster.
    pub(crate) roster: watch::Receiver<Roster>,
    /// Barriers for the reads of followers.
    pub(crate) reads: Reads,
    /// Where snapshots arrive.
    pub(crate) intake: Intake,
    /// Whether nothing was ever stored here.
    pub(crate) is_empty: AtomicBool,
    /// Set when this member turns out to have lost what it had.
    pub(crate) is_lost: watch::Sender<bool>,
    /// When a leader was last heard of.
    pub(crate) heard: watch::Sender<Instant>,
}

/// Wraps the service for a server.
pub(crate) fn server(inner: Arc<Receiver>) -> MembersServer<MemberService> {
    MembersServer::new(MemberService { inner })
        .max_decoding_message_size(kelson_proto::MAX_MESSAGE)
        .max_encoding_message_size(kelson_proto::MAX_MESSAGE)
}

/// Makes a refusal that the sender can tell from others.
fn refusal(reason: Reason, text: String) -> Status {
    let details = v1::MemberRefusal {
        reason: reason.into(),
    };
    Status::with_details(
        Code::FailedPrecondition,
        text,
        details.encode_to_vec().into(),
    )
}

pub(super) fn nonsense(error: &Nonsense) -> Status {
    Status::invalid_argument(error.to_string())
}

pub(super) fn stopped(error: &dyn std::fmt::Display) -> Status {
    Status::unavailable(format!("the member stopped: {error}"))
}

impl Receiver {
    /// Checks the head of a message, and gives its sender.
    pub(super) fn check(&self, envelope: Option<&v1::Envelope>) -> Result<u64, Status> {
        let envelope = envelope.ok_or_else(|| nonsense(&Nonsense("its head is missing")))?;
        let (own, from) = (self.member, envelope.from);
        if envelope.protocol > PROTOCOL {
            return Err(refusal(
                Reason::NewerProtocol,
                format!(
                    "member {from} speaks version {} of the members' protocol; member {own} understands up to {PROTOCOL}",
                    envelope.protocol
                ),
            ));
        }
        let cluster = <[u8; 16]>::try_from(envelope.cluster.as_ref())
            .map(ClusterId::from_bytes)
            .map_err(|_| nonsense(&Nonsense("its cluster is no cluster id")))?;
        if cluster != self.cluster {
            return Err(refusal(
                Reason::OtherCluster,
                format!(
                    "this is member {own} of cluster {}; the message is for cluster {cluster}",
                    self.cluster
                ),
            ));
        }
        if envelope.to != own {
            return Err(refusal(
                Reason::OtherMember,
                format!(
                    "this is member {own}; the message is for member {}",
                    envelope.to
                ),
            ));
        }
        let roster = self.roster.borrow();
        if roster.has_departed(from) {
            return Err(refusal(
                Reason::SenderRemoved,
                format!("member {from} was removed from cluster {cluster}"),
            ));
        }
        // Whoever leads beside a cluster of one belongs to another history of the same cluster.
        if roster.is_alone(own) && !roster.has(from) {
            return Err(refusal(
                Reason::Stranger,
                format!("member {own} is the only voter of its cluster and knows no member {from}"),
            ));
        }
        drop(roster);
        if envelope.standing() == v1::Standing::Voter && self.is_empty.load(Ordering::Acquire) {
            return Err(self.lost());
        }
        self.peers.heard_of(from);
        Ok(from)
    }

    /// Notes that the cluster knows more of this member than its directory does.
    fn lost(&self) -> Status {
        self.is_lost.send_replace(true);
        refusal(
            Reason::DataLost,
            format!(
                "the data directory of member {} is empty, but it had data: remove it, and add a new member",
                self.member
            ),
        )
    }

    fn take_append(
        &self,
        request: v1::AppendRequest,
    ) -> Result<AppendEntriesRequest<TypeConfig>, Status> {
        self.check(request.envelope.as_ref())?;
        let request = take_append(request).map_err(|error| nonsense(&error))?;
        self.heard.send_replace(Instant::now());
        Ok(request)
    }

    pub(super) fn note_stored(&self) {
        self.is_empty.store(false, Ordering::Release);
    }
}

#[tonic::async_trait]
impl Members for MemberService {
    type AppendStream = Answers<v1::AppendReply>;
    type SendSnapshotStream = Answers<v1::SnapshotDown>;

    async fn append(
        &self,
        request: Request<Streaming<v1::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let inner = Arc::clone(&self.inner);
        let (told, fault) = oneshot::channel();
        // Ends with the first message that cannot be taken, and tells why.
        let requests = stream::unfold(
            (request.into_inner(), Some(told), inner),
            |(mut incoming, mut told, inner)| async move {
                let taken = match incoming.message().await {
                    Ok(None) => return None,
                    Ok(Some(message)) => inner.take_append(message),
                    Err(status) => Err(status),
                };
                match taken {
                    Ok(request) => Some((request, (incoming, told, inner))),
                    Err(status) => {
                        let _ = told.take()?.send(status);
                        None
                    }
                }
            },
        );
        let inner = Arc::clone(&self.inner);
        let results = {
            let _on_its_runtime = inner.runtime.enter();
            inner.raft.stream_append(requests)
        };
        let replies = results.map(move |result| match result {
            Ok(result) => {
                if matches!(result, Ok(Some(_))) {
                    inner.note_stored();
                }
                Ok(put_append_result(&result))
            }
            Err(error) => Err(stopped(&error)),
        });
        let fault = stream::once(fault).filter_map(|fault| std::future::ready(fault.ok().map(Err)));
        Ok(Response::new(replies.chain(fault).boxed()))
    }

    async fn beat(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendReply>, Status> {
        let request = self.inner.take_append(request.into_inner())?;
        let known = request.prev_log_id;
        // A beat says what the leader knows this member to have.
        if known.is_some() && self.inner.is_empty.load(Ordering::Acquire) {
            return Err(self.inner.lost());
        }
        let response = self
            .inner
            .raft
            .append_entries(request)
            .await
            .map_err(|error| stopped(&error))?;
        let result = match response {
            AppendEntriesResponse::Success => Ok(known),
            AppendEntriesResponse::PartialSuccess(upto) => Ok(upto),
            AppendEntriesResponse::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote)),
            AppendEntriesResponse::Conflict => match known {
                Some(known) => Err(StreamAppendError::Conflict(known)),
                None => return Err(Status::internal("nothing is missing before the beginning")),
            },
        };
        Ok(Response::new(put_append_result(&result)))
    }

    async fn vote(
        &self,
        request: Request<v1::VoteRequest>,
    ) -> Result<Response<v1::VoteReply>, Status> {
        let request = request.into_inner();
        self.inner.check(request.envelope.as_ref())?;
        let request = take_vote_request(&request).map_err(|error| nonsense(&error))?;
        let reply = self
            .inner
            .raft
            .vote(request)
            .await
            .map_err(|error| stopped(&error))?;
        Ok(Response::new(put_vote_reply(&reply)))
    }

    async fn pre_vote(
        &self,
        request: Request<v1::VoteRequest>,
    ) -> Result<Response<v1::VoteReply>, Status> {
        let request = request.into_inner();
        self.inner.check(request.envelope.as_ref())?;
        let request = take_vote_request(&request).map_err(|error| nonsense(&error))?;
        let reply = self
            .inner
            .raft
            .pre_vote(request)
            .await
            .map_err(|error| stopped(&error))?;
        Ok(Response::new(put_vote_reply(&reply)))
    }

    async fn hand_over(
        &self,
        request: Request<v1::HandOverRequest>,
    ) -> Result<Response<v1::HandOverReply>, Status> {
        let request = request.into_inner();
        self.inner.check(request.envelope.as_ref())?;
        let leader = take_ballot(request.leader.as_ref()).map_err(|error| nonsense(&error))?;
        let last = take_last(request.last.as_ref());
        let request = TransferLeaderRequest::new(leader, request.successor, last);
        let reply = self
            .inner
            .raft
            .handle_transfer_leader(request)
            .await
            .map_err(|error| stopped(&error))?;
        let outcome = match reply {
            Ok(()) => HandOverOutcome::Agreed(v1::Blank {}),
            Err(TransferLeaderError::VoteChanged { actual, .. }) => {
                HandOverOutcome::Newer(put_ballot(&actual))
            }
            Err(TransferLeaderError::LogNotFlushed { actual, .. }) => {
                HandOverOutcome::Behind(put_matched(actual.as_ref()))
            }
        };
        Ok(Response::new(v1::HandOverReply {
            outcome: Some(outcome),
        }))
    }

    async fn read_index(
        &self,
        request: Request<v1::ReadIndexRequest>,
    ) -> Result<Response<v1::ReadIndexReply>, Status> {
        self.inner.check(request.into_inner().envelope.as_ref())?;
        let outcome = match self.inner.reads.index_as_leader().await {
            Ok(index) => ReadOutcome::Index(index),
            Err(ReadError::NotLeader { leader }) => {
                ReadOutcome::OtherLeader(leader.unwrap_or_default())
            }
            Err(ReadError::NoQuorumInTime) => ReadOutcome::NoQuorum(v1::Blank {}),
            Err(ReadError::Stopped { reason }) => return Err(stopped(&reason)),
        };
        Ok(Response::new(v1::ReadIndexReply {
            outcome: Some(outcome),
        }))
    }

    async fn greet(
        &self,
        request: Request<v1::GreetRequest>,
    ) -> Result<Response<v1::GreetReply>, Status> {
        self.inner.check(request.into_inner().envelope.as_ref())?;
        Ok(Response::new(v1::GreetReply {}))
    }

    async fn send_snapshot(
        &self,
        request: Request<Streaming<v1::SnapshotUp>>,
    ) -> Result<Response<Self::SendSnapshotStream>, Status> {
        let answers = super::receive::receive(Arc::clone(&self.inner), request.into_inner());
        Ok(Response::new(answers.boxed()))
    }
}
