//! Handing entries to the leader: one stream for all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kelson_proto::v1;
use kelson_proto::v1::relay_client::RelayClient;
use kelson_proto::v1::relayed_failure::Kind;
use kelson_proto::v1::relayed_outcome::Outcome;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::{CLUSTER, Links, UNDER_WAY};
use crate::raft::ProposeError;

/// How long the stream may take to begin.
const OPENING: Duration = Duration::from_secs(2);

/// What became of an entry: where it stands in the log, and the reply in its stored form.
type Handed = Result<(u64, Bytes), ProposeError>;

struct Order {
    entry: Bytes,
    handed: oneshot::Sender<Handed>,
}

/// The stream to each leader, by its id and address.
type Streams = BTreeMap<(u64, String), mpsc::Sender<Order>>;

/// The streams to whoever leads; clones share them.
#[derive(Clone)]
pub(crate) struct Relays {
    links: Links,
    cluster: String,
    streams: Arc<Mutex<Streams>>,
}

impl Relays {
    pub(crate) fn new(links: Links, cluster: String) -> Self {
        Self {
            links,
            cluster,
            streams: Arc::default(),
        }
    }

    /// Hands an entry to the leader and waits until it is applied there.
    ///
    /// # Errors
    /// As [`Member::propose`](crate::raft::Member::propose): only with `Unknown` may it be in the
    /// log.
    pub(crate) async fn propose(
        &self,
        leader: u64,
        address: &str,
        entry: Bytes,
        deadline: Instant,
    ) -> Handed {
        let unknown = |reason: &str| ProposeError::Unknown {
            reason: format!("{reason} (member {leader})"),
        };
        let orders = self.stream(leader, address)?;
        let (handed, outcome) = oneshot::channel();
        let order = Order { entry, handed };
        if !matches!(timeout_at(deadline, orders.send(order)).await, Ok(Ok(()))) {
            return Err(ProposeError::NotLeader {
                leader: Some(leader),
                address: None,
            });
        }
        match timeout_at(deadline, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(unknown("the connection to the leader is lost")),
            Err(_) => Err(unknown("the leader has not answered in time")),
        }
    }

    /// Tells the leader of agents.
    ///
    /// # Errors
    /// It could not be told.
    pub(crate) async fn hear(
        &self,
        leader: u64,
        address: &str,
        heard: v1::HeardAgents,
    ) -> Result<(), Status> {
        let channel = self.links.channel(leader, address);
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        let request = meant_for(&self.cluster, heard)?;
        let answered = timeout(OPENING, client(channel).hear(request)).await;
        answered.map_err(|_| Status::deadline_exceeded("no answer in time"))??;
        Ok(())
    }

    fn stream(&self, leader: u64, address: &str) -> Result<mpsc::Sender<Order>, ProposeError> {
        let mut by_leader = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        by_leader.retain(|_, orders| !orders.is_closed());
        let key = (leader, address.to_owned());
        if let Some(orders) = by_leader.get(&key) {
            return Ok(orders.clone());
        }
        let channel = self.links.channel(leader, address).map_err(|error| {
            tracing::warn!(leader, %error, "the leader cannot be called");
            ProposeError::NotLeader {
                leader: Some(leader),
                address: None,
            }
        })?;
        let (orders, inbox) = mpsc::channel(UNDER_WAY);
        by_leader.insert(key, orders.clone());
        drop(by_leader);
        // It ends when the stream breaks, or with these relays.
        tokio::spawn(run_stream(channel, self.cluster.clone(), inbox));
        Ok(orders)
    }
}

fn client(channel: Channel) -> RelayClient<Channel> {
    RelayClient::new(channel)
        .max_decoding_message_size(kelson_proto::MAX_MESSAGE)
        .max_encoding_message_size(kelson_proto::MAX_MESSAGE)
}

fn meant_for<T>(cluster: &str, message: T) -> Result<Request<T>, Status> {
    let mut request = Request::new(message);
    let cluster: MetadataValue<_> = cluster
        .parse()
        .map_err(|_| Status::internal("the cluster's name is no metadata"))?;
    request.metadata_mut().insert(CLUSTER, cluster);
    Ok(request)
}

/// Hands entries over for as long as the stream holds; who waits when it breaks is told that the
/// outcome is unknown.
async fn run_stream(channel: Channel, cluster: String, mut inbox: mpsc::Receiver<Order>) {
    let Some(first) = inbox.recv().await else {
        return;
    };
    let (entries, outgoing) = mpsc::channel(UNDER_WAY);
    let mut stream = Stream {
        entries,
        waiting: BTreeMap::new(),
        number: 0,
    };
    // Given before the call, so that there is something to read for whoever answers then.
    stream.hand(first).await;
    let begun = async {
        let request = meant_for(&cluster, ReceiverStream::new(outgoing))?;
        client(channel).propose(request).await
    };
    let mut outcomes = match timeout(OPENING, begun).await {
        Ok(Ok(outcomes)) => outcomes.into_inner(),
        Ok(Err(status)) => return stream.fail(status.message()),
        Err(_) => return stream.fail("the leader did not answer in time"),
    };
    let reason = stream.carry(&mut inbox, &mut outcomes).await;
    stream.fail(&reason);
}

struct Stream {
    entries: mpsc::Sender<v1::RelayedEntry>,
    waiting: BTreeMap<u64, oneshot::Sender<Handed>>,
    number: u64,
}

impl Stream {
    /// As many places as may be under way are there, so this does not wait for the other side.
    async fn hand(&mut self, order: Order) {
        self.number += 1;
        let number = self.number;
        self.waiting.insert(number, order.handed);
        let entry = v1::RelayedEntry {
            number,
            entry: order.entry,
        };
        // A stream that is over is noticed where its outcomes are read.
        let _ = self.entries.send(entry).await;
    }

    /// Carries entries and outcomes until the stream is over; says why it is.
    async fn carry(
        &mut self,
        inbox: &mut mpsc::Receiver<Order>,
        outcomes: &mut Streaming<v1::RelayedOutcome>,
    ) -> String {
        loop {
            tokio::select! {
                order = inbox.recv(), if self.waiting.len() < UNDER_WAY => match order {
                    Some(order) => self.hand(order).await,
                    None => return "this member ends".to_owned(),
                },
                outcome = outcomes.message() => match outcome {
                    Ok(Some(outcome)) => self.answer(outcome),
                    Ok(None) => return "the leader has ended the stream".to_owned(),
                    Err(status) => return status.message().to_owned(),
                },
            }
        }
    }

    fn answer(&mut self, outcome: v1::RelayedOutcome) {
        let Some(handed) = self.waiting.remove(&outcome.number) else {
            return;
        };
        let result = match outcome.outcome {
            Some(Outcome::Reply(reply)) => Ok((reply.index, reply.reply)),
            Some(Outcome::Failure(failure)) => Err(failed(failure)),
            None => Err(ProposeError::Unknown {
                reason: "the leader says nothing of it".to_owned(),
            }),
        };
        // Whoever asked may have gone.
        let _ = handed.send(result);
    }

    fn fail(self, reason: &str) {
        for handed in self.waiting.into_values() {
            let _ = handed.send(Err(ProposeError::Unknown {
                reason: format!("the stream to the leader is over: {reason}"),
            }));
        }
    }
}

fn failed(failure: v1::RelayedFailure) -> ProposeError {
    match failure.kind() {
        Kind::NotLeader => ProposeError::NotLeader {
            leader: None,
            address: None,
        },
        Kind::TooLarge => ProposeError::TooLarge {
            bytes: usize::try_from(failure.bytes).unwrap_or(usize::MAX),
        },
        Kind::DiskFull => ProposeError::DiskFull,
        Kind::Unknown | Kind::Refused => ProposeError::Unknown {
            reason: failure.message,
        },
    }
}
