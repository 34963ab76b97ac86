//! Attaching, talking, and attaching again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kelson_model::agent::AgentDescription;
use kelson_model::id::{AgentId, TaskId};
use kelson_model::session::SessionEnd;
use kelson_proto::v1::agents_client::AgentsClient;
use kelson_proto::v1::{self, AgentMessage, agent_message, kernel_message};
use kelson_trust::Dialer;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::backoff::Backoff;
use super::channel::channel;
use super::logs;
use super::orders::OrderReader;
use crate::config::AgentError;
use crate::identity::Identity;
use crate::layout::Layout;
use crate::supervisor::Notice;

/// Messages that wait for the stream.
const OUTGOING: usize = 256;
/// Pieces of output that wait for the stream.
const OUTGOING_OUTPUT: usize = 4;
/// The kernel must answer an Attach within this.
const ATTACH_DEADLINE: Duration = Duration::from_secs(10);
/// Most outputs that are read at the same time.
const MAX_LOG_REQUESTS: usize = 64;
/// Most chunks of one output that may be under way.
const MAX_WINDOW: usize = 1024;
/// Shortest lease that is believed.
const SHORTEST_LEASE: u64 = 300;

/// What a session needs.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) dialer: Dialer,
    pub(crate) identity: Identity,
    pub(crate) root: PathBuf,
    pub(crate) description: AgentDescription,
    pub(crate) layout: Layout,
    pub(crate) supervisor: mpsc::Sender<Notice>,
    /// The id, once the kernel has given it and it is durable here.
    pub(crate) registered: watch::Sender<Option<AgentId>>,
}

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("{0}")]
    Status(String),
    #[error("the stream has ended")]
    Ended,
    #[error("no answer to the Attach within {} s", ATTACH_DEADLINE.as_secs())]
    Silent,
    #[error("the kernel did not begin with Attached")]
    Protocol,
    #[error("the kernel calls this agent agt_{given}, and it is agt_{own}")]
    OtherId { own: u64, given: u64 },
    #[error("{message}")]
    Goodbye {
        end: Option<SessionEnd>,
        message: String,
    },
    #[error(transparent)]
    Fatal(AgentError),
}

impl From<tonic::Status> for SessionError {
    fn from(status: tonic::Status) -> Self {
        Self::Status(format!("{}: {}", status.code(), status.message()))
    }
}

impl From<v1::Goodbye> for SessionError {
    fn from(goodbye: v1::Goodbye) -> Self {
        Self::Goodbye {
            end: kelson_proto::session_end(goodbye.end),
            message: goodbye.message,
        }
    }
}

/// Keeps a session for ever.
///
/// *Guarantees*: after each Attach everything that is not acknowledged is sent again.
///
/// # Errors
/// Where the kernel says that this process must not speak for the agent any more, or the identity
/// cannot be kept.
pub(crate) async fn run_connection(mut attachment: Attachment) -> AgentError {
    let mut backoff = Backoff::default();
    loop {
        let error = attachment.session(&mut backoff).await;
        let _ = attachment.supervisor.send(Notice::SessionDown).await;
        match error {
            SessionError::Fatal(error) => return error,
            SessionError::Goodbye {
                end: Some(end),
                message,
            } if end.is_final() => return AgentError::Dismissed(message),
            error => {
                attachment.dialer.turn_away();
                let pause = backoff.pause();
                tracing::info!(%error, pause_ms = u64::try_from(pause.as_millis()).unwrap_or(0), "no session with the kernel");
                tokio::time::sleep(pause).await;
            }
        }
    }
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
        // A connection of its own: the next session begins with another member.
        let mut client = AgentsClient::new(channel(&self.dialer))
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
            description: Some(v1::AgentDescription::from(&self.description)),
            token: self.identity.token.clone(),
            cluster: self.identity.cluster.clone().unwrap_or_default(),
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
            Some(kernel_message::Message::Goodbye(goodbye)) => return Err(goodbye.into()),
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
        let mut orders = OrderReader::default();
        loop {
            tokio::select! {
                received = stream.message() => match received?.and_then(|one| one.message) {
                    Some(received) => self.received(received, &output, &mut readers, &mut orders).await?,
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
        orders: &mut OrderReader,
    ) -> Result<(), SessionError> {
        let notice = match received {
            kernel_message::Message::Attached(_) => return Err(SessionError::Protocol),
            kernel_message::Message::Goodbye(goodbye) => return Err(goodbye.into()),
            kernel_message::Message::Log(request) => {
                readers.request(&self.layout, request, output);
                return Ok(());
            }
            kernel_message::Message::Window(window) => {
                readers.widen(&window);
                return Ok(());
            }
            kernel_message::Message::ListBegin(_) => {
                orders.begin_list();
                return Ok(());
            }
            kernel_message::Message::Assignments(assignments) => {
                Notice::Orders(orders.read(assignments))
            }
            kernel_message::Message::ListEnd(_) => Notice::Orders(orders.end_list()),
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
    by_request: BTreeMap<u64, Reader>,
}

#[derive(Debug)]
struct Reader {
    work: AbortHandle,
    /// How many chunks it may still send.
    window: Arc<Semaphore>,
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
                reader.work.abort();
            }
            return;
        }
        self.tidy();
        if self.by_request.len() >= MAX_LOG_REQUESTS {
            let refused = v1::LogChunk {
                request: request.request,
                end: true,
                message: format!("{MAX_LOG_REQUESTS} outputs are read on this agent already"),
                fault: v1::LogFault::Unreadable.into(),
                ..v1::LogChunk::default()
            };
            let _ = out.try_send(message(agent_message::Message::Log(refused)));
            return;
        }
        let id = request.request;
        let chunks = usize::try_from(request.window).unwrap_or(0);
        let window = Arc::new(Semaphore::new(chunks.min(MAX_WINDOW)));
        let chunks = logs::Chunks::new(id, out.clone(), Arc::clone(&window));
        let work = self
            .work
            .spawn(logs::answer(layout.clone(), request, chunks));
        self.by_request.insert(id, Reader { work, window });
    }

    /// The client has taken some: as many more may be sent.
    fn widen(&self, window: &v1::LogWindow) {
        if let Some(reader) = self.by_request.get(&window.request) {
            let chunks = usize::try_from(window.chunks).unwrap_or(0);
            let room = MAX_WINDOW.saturating_sub(reader.window.available_permits());
            reader.window.add_permits(chunks.min(room));
        }
    }

    fn tidy(&mut self) {
        self.by_request
            .retain(|_, reader| !reader.work.is_finished());
    }
}
