//! Agents' sessions: one stream each, assignments down, status updates up.
//!
//! *Flow:* an agent attaches (one log entry), gets all its assignments, then each change; its
//! updates are recorded and acknowledged. *Guarantees:* an agent has one session, the newest;
//! assignments of a session are in order; an acknowledged update is in the log. *Assumes:* agents
//! send something at least once a lease. *Caveats:* a session that does not keep up with its
//! assignments is ended; the agent attaches again.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::Stream;
use kelson_kernel_core::assignment::{Assignment, Order, assignment, full_assignment};
use kelson_kernel_core::command::{
    Command, RecordAgentDrift, RecordStatuses, RegisterAgent, SetAgentState,
};
use kelson_kernel_core::{Reply, RowKey, State};
use kelson_model::agent::AgentState;
use kelson_model::id::{AgentId, Index, TaskId};
use kelson_model::task::{StopReason, TaskStatus};
use kelson_proto::v1;
use kelson_proto::v1::agent_message::Message as Up;
use kelson_proto::v1::kernel_message::Message as Down;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument, info, info_span, warn};

use crate::api::logs::LogRelay;
use crate::kernel::Kernel;

/// Messages that may wait for a slow agent before its session is ended.
const OUTBOX: usize = 1024;
/// Assignments of one message.
const BATCH: usize = 256;

/// All sessions of this member, and the log requests that run over them.
#[derive(Default)]
pub(crate) struct Sessions {
    by_agent: Mutex<BTreeMap<AgentId, Session>>,
    last: AtomicU64,
    pub(crate) logs: LogRelay,
}

struct Session {
    number: u64,
    outbox: mpsc::Sender<Result<v1::KernelMessage, Status>>,
}

fn message(message: Down) -> Result<v1::KernelMessage, Status> {
    Ok(v1::KernelMessage {
        message: Some(message),
    })
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<AgentId, Session>> {
        self.by_agent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an agent has a session here.
    pub(crate) fn has(&self, agent: AgentId) -> bool {
        self.lock().contains_key(&agent)
    }

    /// Sends to an agent; false where it has no session or does not keep up (which ends the
    /// session).
    pub(crate) fn send(&self, agent: AgentId, down: Down) -> bool {
        let mut sessions = self.lock();
        let Some(session) = sessions.get(&agent) else {
            return false;
        };
        if session.outbox.try_send(message(down)).is_ok() {
            return true;
        }
        sessions.remove(&agent);
        false
    }

    /// Begins a session: ends the agent's older one, then queues the greeting and all assignments
    /// before anything else can be queued.
    fn begin(
        &self,
        kernel: &Kernel,
        agent: AgentId,
        outbox: mpsc::Sender<Result<v1::KernelMessage, Status>>,
    ) -> u64 {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let mut sessions = self.lock();
        let state = kernel.state();
        let lease_ms = u64::try_from(kernel.config().lease.as_millis()).unwrap_or(u64::MAX);
        let attached = v1::Attached {
            agent: agent.0,
            lease_ms,
            cluster: state.cluster.clone(),
        };
        let tasks = full_assignment(&state, agent)
            .into_iter()
            .map(to_wire)
            .collect();
        let full = v1::Assignments {
            index: state.index.0,
            full: true,
            tasks,
        };
        let _ = outbox.try_send(message(Down::Attached(attached)));
        let _ = outbox.try_send(message(Down::Assignments(full)));
        if let Some(older) = sessions.insert(agent, Session { number, outbox }) {
            let _ = older.outbox.try_send(message(Down::Goodbye(v1::Goodbye {
                reason: "another process of this agent has attached".to_owned(),
            })));
        }
        number
    }

    fn end(&self, agent: AgentId, number: u64) {
        let mut sessions = self.lock();
        if sessions
            .get(&agent)
            .is_some_and(|session| session.number == number)
        {
            sessions.remove(&agent);
        }
    }
}

fn to_wire(assignment: Assignment) -> v1::Assignment {
    use v1::assignment::Order as Wire;
    let order = match assignment.order {
        Order::Run(run) => Wire::Run(v1::TaskSpec {
            name: run.name,
            namespace: run.object.namespace.to_string(),
            kind: run.object.kind.clone(),
            workload: run.object.name.clone(),
            slot: run.slot,
            workload_generation: run.generation,
            template_json: serde_json::to_string(&*run.template).unwrap_or_default(),
            ports: run
                .ports
                .into_iter()
                .map(|(name, port)| (name, u32::from(port)))
                .collect(),
            enforce_drift: run.is_drift_enforced,
        }),
        Order::Stop(reason) => Wire::Stop(v1::StopOrder {
            reason: reason_name(reason).to_owned(),
        }),
        Order::Forget => Wire::Forget(v1::Forget {}),
    };
    v1::Assignment {
        task: assignment.task.0,
        generation: assignment.generation,
        order: Some(order),
    }
}

fn reason_name(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Replaced => "replaced",
        StopReason::ScaledDown => "scaledDown",
        StopReason::Removed => "removed",
        StopReason::Unhealthy => "unhealthy",
        StopReason::ByHand => "byHand",
        StopReason::Drifted => "drifted",
    }
}

/// Sends changed assignments to their agents, for ever; returns when the log has stopped.
///
/// *Flow:* on every new state, the tasks changed since the last one are grouped by agent.
/// *Guarantees:* a change is sent after the full list of a session that began before it. *Caveats:*
/// cost follows change, not the number of agents.
pub async fn run_dispatch(kernel: Kernel) {
    let mut view = kernel.watch();
    let mut seen = view.borrow_and_update().index;
    let heart = kernel.hearts().start("dispatch");
    loop {
        heart.waits("for a change", None);
        if view.changed().await.is_err() {
            return;
        }
        heart.works("sends assignments", std::time::Duration::from_secs(10));
        let state = view.borrow_and_update().clone();
        for (agent, tasks) in changed_assignments(&state, seen) {
            for batch in tasks.chunks(BATCH) {
                let down = v1::Assignments {
                    index: state.index.0,
                    full: false,
                    tasks: batch.to_vec(),
                };
                kernel.sessions().send(agent, Down::Assignments(down));
            }
        }
        seen = state.index;
    }
}

fn changed_assignments(state: &State, since: Index) -> BTreeMap<AgentId, Vec<v1::Assignment>> {
    let mut by_agent: BTreeMap<AgentId, Vec<v1::Assignment>> = BTreeMap::new();
    for key in state.changed_since(since).into_iter().flatten() {
        if let RowKey::Task(id) = key
            && let Some(task) = state.tasks.get(id)
        {
            by_agent
                .entry(task.agent)
                .or_default()
                .push(to_wire(assignment(state, task)));
        }
    }
    // The last tasks of a removed workload go together with it: nothing but their names is left.
    for (agent, task) in state.dropped_tasks_since(since).into_iter().flatten() {
        by_agent.entry(agent).or_default().push(to_wire(Assignment {
            task,
            generation: u64::MAX,
            order: Order::Forget,
        }));
    }
    by_agent
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

#[tonic::async_trait]
impl v1::agents_server::Agents for AgentService {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<v1::KernelMessage, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut inbound = request.into_inner();
        let kernel = self.kernel.clone();
        let lease = kernel.config().lease;
        let first = tokio::time::timeout(lease, inbound.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("an agent attaches first"))??;
        let Some(Up::Attach(attach)) = first.and_then(|first| first.message) else {
            return Err(Status::invalid_argument(
                "the first message of a session is Attach",
            ));
        };
        let incarnation = attach.incarnation;
        let agent = attach_agent(&kernel, attach).await?;
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let closed = outbox.clone();
        let number = kernel.sessions().begin(&kernel, agent, outbox);
        info!(%agent, incarnation, "agent attached");
        let serve = async move {
            let session = AgentSession {
                kernel: kernel.clone(),
                agent,
                incarnation,
            };
            loop {
                let next = tokio::select! {
                    next = tokio::time::timeout(lease, inbound.message()) => next,
                    () = closed.closed() => break,
                };
                match next {
                    Ok(Ok(Some(up))) => {
                        if let Err(error) = session.take(up, &closed).await {
                            warn!(%error, "the session ends");
                            let _ = closed.try_send(Err(error));
                            break;
                        }
                    }
                    Ok(Ok(None)) => break,
                    Ok(Err(error)) => {
                        info!(%error, "the connection is gone");
                        break;
                    }
                    Err(_) => {
                        warn!("the lease has ended: no message came in time");
                        break;
                    }
                }
            }
            kernel.sessions().end(agent, number);
            info!("agent detached");
        };
        // The task ends with the connection: the inbound stream closes, or the outbox does.
        tokio::spawn(serve.instrument(info_span!("session", %agent)));
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}

async fn attach_agent(kernel: &Kernel, attach: v1::Attach) -> Result<AgentId, Status> {
    let description = attach
        .description
        .ok_or_else(|| Status::invalid_argument("an agent describes itself"))?;
    let description = description
        .try_into()
        .map_err(|error: kelson_proto::ConvertError| Status::invalid_argument(error.to_string()))?;
    let command = RegisterAgent {
        agent: (attach.agent > 0).then_some(AgentId(attach.agent)),
        token: attach.token,
        incarnation: attach.incarnation,
        description,
        cluster: String::new(),
    };
    match kernel.propose(Command::RegisterAgent(command)).await {
        Ok(Reply::Attached { agent, .. }) => Ok(agent),
        Ok(Reply::Refused(refusal) | Reply::SessionOver { refusal, .. }) => Err(
            Status::failed_precondition(format!("{refusal}; {}", refusal.hint)),
        ),
        Ok(reply) => Err(Status::internal(format!("unexpected reply {reply:?}"))),
        Err(error) => Err(Status::unavailable(error.to_string())),
    }
}

struct AgentSession {
    kernel: Kernel,
    agent: AgentId,
    incarnation: u64,
}

impl AgentSession {
    /// Takes one message of the agent.
    async fn take(
        &self,
        up: v1::AgentMessage,
        outbox: &mpsc::Sender<Result<v1::KernelMessage, Status>>,
    ) -> Result<(), Status> {
        match up.message {
            None | Some(Up::Heartbeat(_)) => Ok(()),
            Some(Up::Attach(_)) => Err(Status::invalid_argument("a session attaches once")),
            Some(Up::Statuses(updates)) => self.record(updates, outbox).await,
            Some(Up::Drift(drift)) => self.record_drift(drift).await,
            Some(Up::Leaving(_)) => {
                let leaving = SetAgentState {
                    agent: self.agent,
                    incarnation: self.incarnation,
                    session: None,
                    state: AgentState::Unreachable,
                    is_leaving: true,
                };
                self.propose(Command::SetAgentState(leaving)).await
            }
            Some(Up::Log(chunk)) => {
                self.kernel.sessions().logs.take(chunk).await;
                Ok(())
            }
        }
    }

    async fn record(
        &self,
        updates: v1::StatusUpdates,
        outbox: &mpsc::Sender<Result<v1::KernelMessage, Status>>,
    ) -> Result<(), Status> {
        let statuses: Result<Vec<TaskStatus>, _> = updates
            .statuses
            .into_iter()
            .map(TaskStatus::try_from)
            .collect();
        let statuses = statuses.map_err(|error| Status::invalid_argument(error.to_string()))?;
        for batch in statuses.chunks(BATCH) {
            let command = RecordStatuses {
                agent: self.agent,
                incarnation: self.incarnation,
                statuses: batch.to_vec(),
            };
            self.propose(Command::RecordStatuses(command)).await?;
            let acks = batch
                .iter()
                .map(|status| v1::StatusAck {
                    task: status.task.0,
                    sequence: status.sequence,
                })
                .collect();
            if outbox
                .send(message(Down::Acks(v1::StatusAcks { acks })))
                .await
                .is_err()
            {
                break;
            }
        }
        Ok(())
    }

    async fn record_drift(&self, drift: v1::AgentDrift) -> Result<(), Status> {
        let value = |text: &str| {
            serde_json::from_str(text)
                .unwrap_or_else(|_| serde_json::Value::String(text.to_owned()))
        };
        self.propose(Command::RecordAgentDrift(RecordAgentDrift {
            agent: self.agent,
            incarnation: self.incarnation,
            task: TaskId(drift.task),
            field: drift.field.chars().take(200).collect(),
            desired: value(&drift.desired_json),
            live: value(&drift.live_json),
            is_healed: drift.healed,
        }))
        .await
    }

    async fn propose(&self, command: Command) -> Result<(), Status> {
        match self.kernel.propose(command).await {
            Ok(Reply::Refused(refusal) | Reply::SessionOver { refusal, .. }) => {
                Err(Status::failed_precondition(refusal.to_string()))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(Status::unavailable(error.to_string())),
        }
    }
}
