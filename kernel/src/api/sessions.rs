//! The service that agents attach to: one stream each, assignments down, status updates up.
//!
//! *Flow:* an agent attaches (one log entry), is told all its assignments, then each change; its
//! updates are recorded and acknowledged. *Guarantees:* an agent has one session, the newest; a
//! session that is over says so and why; an acknowledged update is in the log. *Assumes:* agents
//! send something at least once a lease, which `leader/leases.rs` counts.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use kelson_kernel_core::Reply;
use kelson_kernel_core::command::{
    Command, RecordAgentDrift, RecordStatuses, RegisterAgent, SetAgentState,
};
use kelson_model::access::Role;
use kelson_model::agent::AgentState;
use kelson_model::id::{AgentId, Index, TaskId};
use kelson_model::session::SessionEnd;
use kelson_model::task::{MAX_TAKEN_PORTS, TaskStatus};
use kelson_proto::v1;
use kelson_proto::v1::agent_message::Message as Up;
use kelson_proto::v1::kernel_message::Message as Down;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument, info, info_span};

use crate::api::access::Who;
use crate::kernel::Kernel;
use crate::sessions::{self, Ending, Session, run_writer, say};

/// Acknowledgements and questions that may wait for a slow agent.
const CONTROL: usize = 256;
/// Pages of assignments that may.
const BULK: usize = 4;
/// Bytes of the updates of one entry, about half of what an entry takes.
const BATCH_BYTES: usize = 120 << 10;
/// Most bytes that a port takes in an entry.
const PORT_BYTES: usize = 3;
/// Most characters of a sentence, and of a value that differs, of an agent.
const MOST_CHARACTERS: usize = 1000;

/// Says to the sessions what has changed for their agents, for ever; returns when the log has
/// stopped.
pub async fn run_dispatch(kernel: Kernel) {
    let heart = kernel.hearts().start("dispatch");
    sessions::run_dispatch(kernel.sessions(), kernel.watch(), &heart).await;
}

/// The gRPC service that agents attach to.
pub(crate) struct AgentService {
    kernel: Kernel,
}

impl AgentService {
    pub(crate) fn new(kernel: Kernel) -> Self {
        Self { kernel }
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<v1::KernelMessage, Status>> + Send>>;

#[tonic::async_trait]
impl v1::agents_server::Agents for AgentService {
    type SessionStream = Messages;

    async fn session(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Messages>, Status> {
        let who = request.extensions().get::<Who>().cloned();
        let own = own_agent(&who.unwrap_or(Who::Stranger))?;
        let mut inbound = request.into_inner();
        let kernel = self.kernel.clone();
        let first = tokio::time::timeout(kernel.config().lease, inbound.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("an agent attaches first"))??;
        let Some(Up::Attach(attach)) = first.and_then(|first| first.message) else {
            return Err(Status::invalid_argument(
                "the first message of a session is Attach",
            ));
        };
        if let Some(own) = own
            && attach.agent != own.0
        {
            let said = AgentId(attach.agent);
            return Err(Status::permission_denied(format!(
                "this is the connection of {own}, and it speaks for {said}"
            )));
        }
        let incarnation = attach.incarnation;
        let (agent, index) = match attach_agent(&kernel, attach).await {
            Ok(attached) => attached,
            Err(ending) => {
                info!(end = ?ending.end, message = ending.message, "an agent was not attached");
                let goodbye = stream::iter([Ok(say(ending.goodbye()))]);
                return Ok(Response::new(Box::pin(goodbye)));
            }
        };
        let (control, controls) = mpsc::channel(CONTROL);
        let (bulk, pages) = mpsc::channel(BULK);
        let session = Arc::new(Session::new(agent, incarnation, index, control.clone()));
        kernel.sessions().begin(&session);
        info!(%agent, incarnation, "agent attached");
        let lease_ms = u64::try_from(kernel.config().lease.as_millis()).unwrap_or(u64::MAX);
        let greeting = Down::Attached(v1::Attached {
            agent: agent.0,
            lease_ms,
            cluster: kernel.state().cluster.clone(),
        });
        // The stream must not keep the session: it ends when nobody has anything to send any more.
        let ending = session.endings();
        let (view, blobs) = (kernel.watch(), kernel.blobs().clone());
        let writer = run_writer(Arc::clone(&session), view, blobs, bulk);
        // Both end with the session, which ends with the connection at the latest.
        let work = async move {
            let reader = Reader {
                kernel,
                session,
                control,
            };
            tokio::join!(reader.run(inbound), writer);
        };
        tokio::spawn(work.instrument(info_span!("session", %agent)));
        let last = stream::once(async move { ending.borrow().clone() })
            .filter_map(|ending| async move { Some(Ok(say(ending?.goodbye()))) });
        let messages = stream::iter([Ok(say(greeting))])
            .chain(stream::select(
                ReceiverStream::new(controls),
                ReceiverStream::new(pages),
            ))
            .chain(last);
        Ok(Response::new(Box::pin(messages)))
    }
}

/// The agent that a connection may speak for; `None`: any, on this machine and between members.
fn own_agent(who: &Who) -> Result<Option<AgentId>, Status> {
    match who {
        Who::Local => Ok(None),
        Who::Known(known) if known.role == Role::Member => Ok(None),
        Who::Known(known) => known
            .name
            .parse()
            .map(Some)
            .map_err(|_| Status::permission_denied(format!("{} is no agent", known.name))),
        Who::Stranger => Err(Status::unauthenticated(
            "it is not known which agent this is",
        )),
    }
}

async fn attach_agent(kernel: &Kernel, attach: v1::Attach) -> Result<(AgentId, Index), Ending> {
    let misspoken = |message: String| Ending::new(SessionEnd::Misspoken, message);
    let description = attach
        .description
        .ok_or_else(|| misspoken("an agent describes itself".to_owned()))?;
    let description = description
        .try_into()
        .map_err(|error: kelson_proto::ConvertError| misspoken(error.to_string()))?;
    let agent = (attach.agent > 0).then_some(AgentId(attach.agent));
    if let Some(agent) = agent {
        // While its attach is on its way through the log, it is not silent.
        kernel.sessions().hear(agent);
    }
    let command = RegisterAgent {
        agent,
        token: attach.token,
        incarnation: attach.incarnation,
        description,
        cluster: attach.cluster,
    };
    match propose(kernel, Command::RegisterAgent(command)).await? {
        Reply::Attached { agent, session } => Ok((agent, session)),
        reply => Err(misspoken(format!("unexpected reply {reply:?}"))),
    }
}

/// Carries out a command of an agent, or says how its session ends.
async fn propose(kernel: &Kernel, command: Command) -> Result<Reply, Ending> {
    match kernel.propose(command).await {
        Ok(Reply::SessionOver { end, refusal }) => {
            let message = format!("{refusal}; {}", refusal.hint);
            Err(Ending::new(end, message))
        }
        Ok(Reply::Refused(refusal)) => Err(Ending::new(SessionEnd::Misspoken, refusal.to_string())),
        Ok(reply) => Ok(reply),
        Err(error) => Err(Ending::new(SessionEnd::Unavailable, error.to_string())),
    }
}

/// Takes what an agent says.
struct Reader {
    kernel: Kernel,
    session: Arc<Session>,
    control: mpsc::Sender<Result<v1::KernelMessage, Status>>,
}

impl Reader {
    async fn run(self, inbound: Streaming<v1::AgentMessage>) {
        let ending = tokio::select! {
            ending = self.read(inbound) => ending,
            () = self.session.ended() => self.session.ending(),
            () = self.control.closed() => Some(gone("nobody reads the session any more")),
        };
        // The first reason stays.
        self.session
            .cut(ending.unwrap_or_else(|| gone("it is over")));
        self.kernel.sessions().end(&self.session);
        let ending = self.session.ending();
        info!(
            end = ?ending.as_ref().map(|ending| ending.end),
            reason = ending.map(|ending| ending.message),
            "agent detached"
        );
    }

    async fn read(&self, mut inbound: Streaming<v1::AgentMessage>) -> Option<Ending> {
        loop {
            let up = match inbound.message().await {
                Ok(Some(up)) => up,
                Ok(None) => return Some(gone("the agent has closed the connection")),
                Err(error) => return Some(gone(&format!("the connection is gone: {error}"))),
            };
            self.kernel.sessions().hear(self.session.agent);
            if let Err(ending) = self.take(up).await {
                return Some(ending);
            }
        }
    }

    /// Takes one message.
    async fn take(&self, up: v1::AgentMessage) -> Result<(), Ending> {
        match up.message {
            None | Some(Up::Heartbeat(_)) => Ok(()),
            Some(Up::Attach(_)) => Err(Ending::new(
                SessionEnd::Misspoken,
                "a session attaches once",
            )),
            Some(Up::Statuses(updates)) => self.record(updates).await,
            Some(Up::Drift(drift)) => self.record_drift(drift).await,
            Some(Up::Leaving(_)) => {
                self.session.set_leaving();
                let leaving = SetAgentState {
                    agent: self.session.agent,
                    incarnation: self.session.incarnation,
                    session: Some(self.session.index),
                    state: AgentState::Unreachable,
                    is_leaving: true,
                };
                self.propose(Command::SetAgentState(leaving)).await
            }
            Some(Up::Log(chunk)) => {
                let outputs = &self.kernel.sessions().outputs;
                outputs.take(self.session.agent, chunk);
                Ok(())
            }
        }
    }

    async fn record(&self, updates: v1::StatusUpdates) -> Result<(), Ending> {
        let statuses: Result<Vec<TaskStatus>, _> = updates
            .statuses
            .into_iter()
            .map(TaskStatus::try_from)
            .collect();
        let statuses =
            statuses.map_err(|error| Ending::new(SessionEnd::Misspoken, error.to_string()))?;
        for batch in into_batches(statuses) {
            let acks = batch
                .iter()
                .map(|status| v1::StatusAck {
                    task: status.task.0,
                    sequence: status.sequence,
                })
                .collect();
            let command = RecordStatuses {
                agent: self.session.agent,
                incarnation: self.session.incarnation,
                statuses: batch,
            };
            self.propose(Command::RecordStatuses(command)).await?;
            let acks = say(Down::Acks(v1::StatusAcks { acks }));
            if self.control.send(Ok(acks)).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn record_drift(&self, drift: v1::AgentDrift) -> Result<(), Ending> {
        let value = |text: String| {
            let text = cut(text);
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        self.propose(Command::RecordAgentDrift(RecordAgentDrift {
            agent: self.session.agent,
            incarnation: self.session.incarnation,
            task: TaskId(drift.task),
            field: cut(drift.field),
            desired: value(drift.desired_json),
            live: value(drift.live_json),
            is_healed: drift.healed,
        }))
        .await
    }

    async fn propose(&self, command: Command) -> Result<(), Ending> {
        propose(&self.kernel, command).await.map(drop)
    }
}

fn gone(message: &str) -> Ending {
    Ending::new(SessionEnd::Silent, message)
}

/// Cuts a text of an agent that is longer than anybody reads.
fn cut(text: String) -> String {
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}

/// Cuts updates into batches that fit an entry.
fn into_batches(statuses: Vec<TaskStatus>) -> Vec<Vec<TaskStatus>> {
    let mut batches: Vec<Vec<TaskStatus>> = Vec::new();
    let mut bytes = 0;
    for mut status in statuses {
        status.message = cut(status.message);
        status.isolation = cut(status.isolation);
        if let Some(exit) = &mut status.exit {
            exit.reason = cut(std::mem::take(&mut exit.reason));
            exit.taken_ports.truncate(MAX_TAKEN_PORTS);
        }
        let exit = status.exit.as_ref().map_or(0, |exit| {
            exit.reason.len() + PORT_BYTES * exit.taken_ports.len()
        });
        // All numbers of an update beside the ports take less than this.
        let size = 100 + status.message.len() + status.isolation.len() + exit;
        bytes += size;
        match batches.last_mut() {
            Some(batch) if bytes <= BATCH_BYTES => batch.push(status),
            Some(_) | None => {
                bytes = size;
                batches.push(vec![status]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::codec::encode_entry;
    use kelson_kernel_core::Entry;
    use kelson_model::principal::Principal;
    use kelson_model::task::{CheckState, Exit, TaskState};
    use kelson_model::time::{ClusterTime, WallTime};

    #[test]
    fn updates_of_any_length_fit_their_entries() {
        let status = |task: u64| TaskStatus {
            task: TaskId(task),
            sequence: u64::MAX,
            state: TaskState::Failed,
            health: CheckState::Unhealthy,
            ready: false,
            pid: Some(u32::MAX),
            started_at: None,
            healthy_for: u64::MAX,
            exit: Some(Exit {
                reason: "ü".repeat(10_000),
                ..Exit::default()
            }),
            isolation: "x".repeat(10_000),
            message: "x".repeat(10_000),
        };
        let with_ports = |task: u64| TaskStatus {
            exit: Some(Exit {
                taken_ports: vec![u16::MAX; 2 * MAX_TAKEN_PORTS],
                ..Exit::default()
            }),
            isolation: String::new(),
            message: String::new(),
            ..status(task)
        };
        let long: Vec<TaskStatus> = (0..200).map(status).collect();
        let of_ports: Vec<TaskStatus> = (0..200).map(with_ports).collect();
        for statuses in [long, of_ports] {
            let mut next = 0;
            for batch in into_batches(statuses) {
                for status in &batch {
                    assert_eq!(status.task, TaskId(next));
                    let ports = status.exit.as_ref().unwrap().taken_ports.len();
                    assert!(ports <= MAX_TAKEN_PORTS);
                    next += 1;
                }
                let record = RecordStatuses {
                    agent: AgentId(u64::MAX),
                    incarnation: u64::MAX,
                    statuses: batch,
                };
                let entry = Entry {
                    principal: Principal::kernel(),
                    at: ClusterTime(u64::MAX),
                    wall: WallTime(u64::MAX),
                    term: u64::MAX,
                    client: None,
                    since: None,
                    command: Command::RecordStatuses(record),
                };
                let bytes = encode_entry(&entry, 0).unwrap().len();
                assert!(bytes <= BATCH_BYTES + 100, "{bytes}");
            }
            assert_eq!(next, 200);
        }
    }
}
