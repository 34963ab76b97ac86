//! What openraft sends to other members.
//!
//! *Flow*: openraft makes one connection for entries, one for signs of life and one for snapshots
//! of each member; all of one member share a [`Link`]. Entries go up one stream, many requests
//! under way at once, and their replies come back in order. *Guarantees*: at most
//! [`WINDOW`] bytes of entries wait for a reply; a stream on which replies stay out ends with an
//! error, and openraft begins another. *Assumes*: the log hands out entries in batches well below
//! the largest message.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt, stream};
use kelson_proto::v1;
use kelson_proto::v1::hand_over_reply::Outcome as HandOverOutcome;
use openraft::OptionalSend;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{
    Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential,
};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError,
    TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use prost::Message as _;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::dialer::Lane;
use super::message::{
    AppendResult, Nonsense, put_append, put_ballot, put_last, put_vote_request, take_append_result,
    take_ballot, take_matched, take_vote_reply,
};
use super::peers::{Client, Failure, Link, Peers};
use super::snapshot::{Snapshot, SnapshotFile};
use super::transfer::{Pace, send_snapshot};
use super::types::{Peer, TypeConfig, Vote};

/// Most bytes of entries under way to one member without a reply.
const WINDOW: usize = 8 << 20;
/// How long a stream may take to begin.
const SETUP: Duration = Duration::from_secs(2);
/// How long the oldest request of a stream may go without a reply: a disk may be slow.
const STALL: Duration = Duration::from_secs(5);
/// How often a stream looks whether it stalls.
const LOOK: Duration = Duration::from_secs(1);
/// The first pause of openraft before it tries an unreachable member again, and the longest.
const BACKOFF: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];

type Replies<'s> = BoxStream<'s, Result<AppendResult, RPCError<TypeConfig>>>;

/// Makes connections to other members.
#[derive(Clone)]
pub(crate) struct Network {
    peers: Peers,
    pace: Pace,
}

impl Network {
    /// Uses the links of `peers`, and sends snapshots at this pace.
    pub(crate) fn new(peers: Peers, pace: Pace) -> Self {
        Self { peers, pace }
    }

    fn connect(&self, target: u64, peer: &Peer, is_for_beats: bool) -> Connection {
        Connection {
            target,
            is_for_beats,
            link: self.peers.link(target, &peer.address),
            peers: self.peers.clone(),
            pace: self.pace,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, peer: &Peer) -> Connection {
        self.connect(target, peer, false)
    }

    async fn new_heartbeat_client(&mut self, target: u64, peer: &Peer) -> Connection {
        self.connect(target, peer, true)
    }
}

/// A connection to one other member, for one of openraft's tasks.
pub(crate) struct Connection {
    target: u64,
    /// Whether it carries signs of life only: those go alone, and never behind entries.
    is_for_beats: bool,
    link: Arc<Link>,
    peers: Peers,
    pace: Pace,
}

/// Says what a failure means for openraft: whether to pause before the next attempt.
fn rpc_error(failure: &Failure) -> RPCError<TypeConfig> {
    match failure {
        Failure::Unreachable(_) | Failure::Refused(..) => Unreachable::from_string(failure).into(),
        Failure::Silent | Failure::Broken(_) => NetworkError::from_string(failure).into(),
    }
}

fn nonsense(error: &Nonsense) -> RPCError<TypeConfig> {
    NetworkError::new(error).into()
}

impl Connection {
    fn envelope(&self) -> v1::Envelope {
        self.peers.envelope(self.target)
    }

    /// Makes one call on the urgent lane.
    async fn call<T, Call>(
        &self,
        client: Result<Client, Failure>,
        call: impl FnOnce(Client) -> Call,
    ) -> Result<T, RPCError<TypeConfig>>
    where
        Call: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let client = client.map_err(|failure| rpc_error(&failure))?;
        let attempt = self.link.attempt(Lane::Urgent);
        attempt
            .end(call(client).await)
            .map(tonic::Response::into_inner)
            .map_err(|failure| rpc_error(&failure))
    }

    async fn stream<Requests>(
        &self,
        requests: Requests,
    ) -> Result<Replies<'static>, RPCError<TypeConfig>>
    where
        Requests: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let mut client = self
            .link
            .client(Lane::Bulk)
            .map_err(|failure| rpc_error(&failure))?;
        let window = Arc::new(Window::default());
        let (peers, target, sending) = (self.peers.clone(), self.target, Arc::clone(&window));
        let messages = requests.then(move |request| {
            let message = put_append(peers.envelope(target), request);
            let window = Arc::clone(&sending);
            async move {
                window.enter(message.encoded_len()).await;
                message
            }
        });
        let attempt = self.link.attempt(Lane::Bulk);
        let response = match timeout(SETUP, client.append(messages)).await {
            Ok(response) => attempt
                .end(response)
                .map_err(|failure| rpc_error(&failure))?,
            Err(_) => {
                drop(attempt);
                return Err(rpc_error(&Failure::Silent));
            }
        };
        let replies = ReplyStream {
            incoming: response.into_inner(),
            link: Arc::clone(&self.link),
            window,
        };
        Ok(stream::unfold(Some(replies), |replies| async move {
            let mut replies = replies?;
            let reply = replies.next().await?;
            let goes_on = matches!(reply, Ok(Ok(_)));
            Some((reply, goes_on.then_some(replies)))
        })
        .boxed())
    }
}

/// The replies of one stream of entries.
struct ReplyStream {
    incoming: tonic::Streaming<v1::AppendReply>,
    link: Arc<Link>,
    window: Arc<Window>,
}

impl ReplyStream {
    async fn next(&mut self) -> Option<Result<AppendResult, RPCError<TypeConfig>>> {
        loop {
            let message = match timeout(LOOK, self.incoming.message()).await {
                Ok(message) => message,
                Err(_) if self.window.oldest().is_some_and(|age| age >= STALL) => {
                    self.link.failed(Lane::Bulk, &Failure::Silent);
                    return Some(Err(rpc_error(&Failure::Silent)));
                }
                Err(_) => continue,
            };
            return match message {
                Ok(None) => None,
                Ok(Some(reply)) => {
                    self.link.succeeded(Lane::Bulk);
                    self.window.leave();
                    Some(take_append_result(reply).map_err(|error| nonsense(&error)))
                }
                Err(status) => {
                    let failure = Failure::from(status);
                    self.link.failed(Lane::Bulk, &failure);
                    Some(Err(rpc_error(&failure)))
                }
            };
        }
    }
}

/// The requests of one stream that wait for their replies, in order: their bytes, and when they
/// were sent.
struct Window {
    room: Semaphore,
    under_way: Mutex<VecDeque<(u32, Instant)>>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            room: Semaphore::new(WINDOW),
            under_way: Mutex::default(),
        }
    }
}

impl Window {
    fn under_way(&self) -> std::sync::MutexGuard<'_, VecDeque<(u32, Instant)>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room for so many bytes, and takes it.
    async fn enter(&self, bytes: usize) {
        let bytes = u32::try_from(bytes.min(WINDOW)).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        if let Ok(room) = self.room.acquire_many(bytes).await {
            room.forget();
        }
        self.under_way().push_back((bytes, Instant::now()));
    }

    /// Gives back the room of the oldest request.
    fn leave(&self) {
        if let Some((bytes, _)) = self.under_way().pop_front() {
            self.room
                .add_permits(usize::try_from(bytes).unwrap_or_default());
        }
    }

    /// Says how long the oldest request waits.
    fn oldest(&self) -> Option<Duration> {
        self.under_way().front().map(|(_, sent)| sent.elapsed())
    }
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let is_at_the_beginning = request.prev_log_id.is_none();
        let message = put_append(self.envelope(), request);
        let reply = self
            .call(self.link.client(Lane::Urgent), |mut client| async move {
                client.beat(message).await
            })
            .await?;
        let result = take_append_result(reply).map_err(|error| nonsense(&error))?;
        Ok(match result {
            Ok(_) => AppendEntriesResponse::Success,
            Err(StreamAppendError::Conflict(_)) if is_at_the_beginning => {
                return Err(nonsense(&Nonsense(
                    "nothing can be missing before the beginning",
                )));
            }
            Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
            Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
        })
    }

    fn stream_append<'s, Requests>(
        &'s mut self,
        requests: Requests,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<Replies<'s>, RPCError<TypeConfig>>>
    where
        Requests: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        if self.is_for_beats {
            return stream_append_sequential(self, requests, option);
        }
        async move {
            let replies: Replies<'s> = self.stream(requests).await?;
            Ok(replies)
        }
        .boxed()
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = put_vote_request(self.envelope(), &request);
        let client = self.link.urgent_client(Lane::Urgent);
        let reply = self
            .call(
                client,
                |mut client| async move { client.vote(message).await },
            )
            .await?;
        take_vote_reply(&reply).map_err(|error| nonsense(&error))
    }

    // The default grants, which would make pre-vote mean nothing.
    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = put_vote_request(self.envelope(), &request);
        let client = self.link.urgent_client(Lane::Urgent);
        let reply = self
            .call(client, |mut client| async move {
                client.pre_vote(message).await
            })
            .await?;
        take_vote_reply(&reply).map_err(|error| nonsense(&error))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let envelope = self.envelope();
        let sending = send_snapshot(&self.link, envelope, &vote, &snapshot, self.pace);
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sending => sent.map_err(|failure| rpc_error(&failure).into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = v1::HandOverRequest {
            envelope: Some(self.envelope()),
            leader: Some(put_ballot(request.from_leader())),
            successor: *request.to_node_id(),
            last: put_last(request.last_log_id()),
        };
        let client = self.link.urgent_client(Lane::Urgent);
        let reply = self
            .call(client, |mut client| async move {
                client.hand_over(message).await
            })
            .await?;
        match reply.outcome {
            Some(HandOverOutcome::Agreed(_)) => Ok(Ok(())),
            Some(HandOverOutcome::Newer(ballot)) => Ok(Err(TransferLeaderError::VoteChanged {
                expected: *request.from_leader(),
                actual: take_ballot(Some(&ballot)).map_err(|error| nonsense(&error))?,
            })),
            Some(HandOverOutcome::Behind(matched)) => Ok(Err(TransferLeaderError::LogNotFlushed {
                expected: request.last_log_id().copied(),
                actual: take_matched(&matched),
            })),
            None => Err(nonsense(&Nonsense("the outcome is not known here"))),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        let [first, longest] = BACKOFF;
        let pauses =
            std::iter::successors(Some(first), move |pause| Some((*pause * 2).min(longest)));
        Some(Backoff::new(pauses))
    }
}
