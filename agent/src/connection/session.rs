//! Attaching, talking, and attaching again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kelson_model::agent::AgentDescription;
use kelson_model::id::{AgentId, TaskId};
use kelson_proto::v1::agents_client::AgentsClient;
use kelson_proto::v1::{self, AgentMessage, agent_message, kernel_message};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::backoff::Backoff;
use super::logs;
use super::orders::read_batch;
use crate::config::AgentError;
use crate::identity::Identity;
use crate::layout::Layout;
use crate::supervisor::{Notice, Shared};

/// Messages that wait for the stream.
const OUTGOING: usize = 256;
/// Pieces of output that wait for the stream.
const OUTGOING_OUTPUT: usize = 4;
/// The kernel must answer an Attach within this.
const ATTACH_DEADLINE: Duration = Duration::from_secs(10);
/// Most outputs that are read at the same time.
const MAX_LOG_REQUESTS: usize = 64;
/// Shortest lease that is believed.
const SHORTEST_LEASE: u64 = 300;

/// What a session needs.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) channel: Channel,
    pub(crate) identity: Identity,
    pub(crate) root: PathBuf,
    pub(crate) description: AgentDescription,
    pub(crate) layout: Layout,
    pub(crate) shared: Arc<Shared>,
    pub(crate) supervisor: mpsc::Sender<Notice>,
    /// The id, once the kernel has given it and it is durable here.
    pub(crate) registered: watch::Sender<Option<AgentId>>,
}

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("{0}")]
    Status(String),
    #[error("the kernel refuses this agent: {0}")]
    Refused(String),
    #[error("the stream has ended")]
    Ended,
    #[error("no answer to the Attach within {} s", ATTACH_DEADLINE.as_secs())]
    Silent,
    #[error("the kernel did not begin with Attached")]
    Protocol,
    #[error("the kernel calls this agent agt_{given}, and it is agt_{own}")]
    OtherId { own: u64, given: u64 },
    #[error("goodbye: {0}")]
    Goodbye(String),
    #[error(transparent)]
    Fatal(AgentError),
}

impl From<tonic::Status> for SessionError {
    fn from(status: tonic::Status) -> Self {
        match status.code() {
            tonic::Code::FailedPrecondition => Self::Refused(status.message().to_owned()),
            code => Self::Status(format!("{code}: {}", status.message())),
        }
    }
}

/// Keeps a session for ever.
///
/// *Guarantees*: after each Attach everything that is not acknowledged is sent again.
///
/// # Errors
/// Where the kernel says that another incarnation of this agent has taken over, or the identity
/// cannot be kept.
pub(crate) async fn run_connection(mut attachment: Attachment) -> AgentError {
    let mut backoff = Backoff::default();
    loop {
        let error = attachment.session(&mut backoff).await;
        let _ = attachment.supervisor.send(Notice::SessionDown).await;
        match error {
            SessionError::Fatal(error) => return error,
            SessionError::Goodbye(reason) if is_final(&reason) => {
                return AgentError::Dismissed(reason);
            }
            error => {
                let pause = backoff.next(draw());
                tracing::info!(%error, pause_ms = u64::try_from(pause.as_millis()).unwrap_or(0), "no session with the kernel");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Another agent has this one's directory, or its id: going on would be a fight.
fn is_final(reason: &str) -> bool {
    reason.contains("incarnation") || reason.contains("another process")
}

fn draw() -> u64 {
    let mut bytes = [0u8; 8];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_ne_bytes(bytes)
}

fn message(message: agent_message::Message) -> AgentMessage {
    AgentMessage {
        message: Some(message),
    }
}

impl Attachment {
    async fn session(&mut self, backoff: &mut Backoff) -> SessionError {
        match self.try_session(backoff).await {
            Ok(()) => SessionError::Ended,
            Err(error) => error,
        }
    }

    async fn try_session(&mut self, backoff: &mut Backoff) -> Result<(), SessionError> {
        let mut client = AgentsClient::new(self.channel.clone())
            .max_decoding_message_size(kelson_proto::MAX_MESSAGE)
            .max_encoding_message_size(kelson_proto::MAX_MESSAGE);
        let (out, outgoing) = mpsc::channel(OUTGOING);
        // Outputs have a place of their own, so that a busy one does not hold up statuses and
        // heartbeats.
        let (output, outgoing_output) = mpsc::channel(OUTGOING_OUTPUT);
        let outgoing = ReceiverStream::new(outgoing).merge(ReceiverStream::new(outgoing_output));
        let attach = v1::Attach {
            agent: self.identity.agent,
            incarnation: self.identity.incarnation,
            assignment_index: self.shared.index.load(Ordering::Acquire),
            description: Some(v1::AgentDescription::from(&self.description)),
            token: self.identity.token.clone(),
        };
        let _ = out
            .send(message(agent_message::Message::Attach(attach)))
            .await;
        let begin = async {
            let mut stream = client.session(outgoing).await?.into_inner();
            let first = stream.message().await?;
            Ok::<_, SessionError>((stream, first))
        };
        let (mut stream, first) = tokio::time::timeout(ATTACH_DEADLINE, begin)
            .await
            .map_err(|_| SessionError::Silent)??;
        let attached = match first.and_then(|first| first.message) {
            Some(kernel_message::Message::Attached(attached)) => attached,
            Some(kernel_message::Message::Goodbye(goodbye)) => {
                return Err(SessionError::Goodbye(goodbye.reason));
            }
            Some(_) => return Err(SessionError::Protocol),
            None => return Err(SessionError::Ended),
        };
        self.keep_id(attached.agent, &attached.cluster)?;
        backoff.reset();
        tracing::info!(agent = %AgentId(attached.agent), cluster = attached.cluster, "attached");
        let _ = self.supervisor.send(Notice::SessionUp(out.clone())).await;

        let lease = attached.lease_ms.max(SHORTEST_LEASE);
        let mut heartbeat = tokio::time::interval(Duration::from_millis(lease / 3));
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut readers = Readers::default();
        loop {
            tokio::select! {
                received = stream.message() => match received?.and_then(|one| one.message) {
                    Some(received) => self.received(received, &output, &mut readers).await?,
                    None => return Ok(()),
                },
                _ = heartbeat.tick() => {
                    // A full stream carries other messages, which count as well.
                    let _ = out.try_send(message(agent_message::Message::Heartbeat(v1::Heartbeat {})));
                }
                Some(_) = readers.work.join_next(), if !readers.work.is_empty() => readers.tidy(),
            }
        }
    }

    fn keep_id(&mut self, given: u64, cluster: &str) -> Result<(), SessionError> {
        let own = self.identity.agent;
        if own != 0 && own != given {
            return Err(SessionError::OtherId { own, given });
        }
        self.identity
            .settle(&self.root, given, cluster)
            .map_err(SessionError::Fatal)?;
        self.registered.send_replace(Some(AgentId(given)));
        Ok(())
    }

    async fn received(
        &self,
        received: kernel_message::Message,
        output: &mpsc::Sender<AgentMessage>,
        readers: &mut Readers,
    ) -> Result<(), SessionError> {
        let notice = match received {
            kernel_message::Message::Attached(_) => return Err(SessionError::Protocol),
            kernel_message::Message::Goodbye(goodbye) => {
                return Err(SessionError::Goodbye(goodbye.reason));
            }
            kernel_message::Message::Log(request) => {
                readers.request(&self.layout, request, output);
                return Ok(());
            }
            kernel_message::Message::Assignments(assignments) => {
                Notice::Orders(read_batch(assignments))
            }
            kernel_message::Message::Acks(acks) => Notice::Acks(
                acks.acks
                    .iter()
                    .map(|ack| (TaskId(ack.task), ack.sequence))
                    .collect(),
            ),
        };
        self.supervisor
            .send(notice)
            .await
            .map_err(|_| SessionError::Ended)
    }
}

/// Who reads outputs at the moment; all of them end with the session.
#[derive(Debug, Default)]
struct Readers {
    work: JoinSet<()>,
    by_request: BTreeMap<u64, AbortHandle>,
}

impl Readers {
    fn request(
        &mut self,
        layout: &Layout,
        request: v1::LogRequest,
        out: &mpsc::Sender<AgentMessage>,
    ) {
        if request.cancel {
            if let Some(reader) = self.by_request.remove(&request.request) {
                reader.abort();
            }
            return;
        }
        self.tidy();
        if self.by_request.len() >= MAX_LOG_REQUESTS {
            let refused = v1::LogChunk {
                request: request.request,
                end: true,
                error: format!("{MAX_LOG_REQUESTS} outputs are read on this agent already"),
                ..v1::LogChunk::default()
            };
            let _ = out.try_send(message(agent_message::Message::Log(refused)));
            return;
        }
        let id = request.request;
        let reader = self
            .work
            .spawn(logs::answer(layout.clone(), request, out.clone()));
        self.by_request.insert(id, reader);
    }

    fn tidy(&mut self) {
        self.by_request.retain(|_, reader| !reader.is_finished());
    }
}
