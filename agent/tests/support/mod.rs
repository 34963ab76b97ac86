//! A kernel that does as a test says, and agents in this process that talk to it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test binary uses a part of it"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kelson_agent::{Agent, AgentConfig};
use kelson_model::id::{Digest, TaskId};
use kelson_model::task::{TaskState, TaskStatus};
use kelson_proto::v1::agents_server::{Agents, AgentsServer};
use kelson_proto::v1::kernel_server::{Kernel, KernelServer};
use kelson_proto::v1::{
    self, AgentMessage, KernelMessage, agent_message, assignment, kernel_message,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

/// Nothing in these tests takes this long, but on a machine that is very busy.
const DEADLINE: Duration = Duration::from_secs(60);

/// The executable that knows the modes.
pub(crate) fn shim_exe() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_kelson-agent-shim-test"))
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) attaches: Vec<v1::Attach>,
    /// Every status, in order of arrival.
    pub(crate) statuses: Vec<TaskStatus>,
    pub(crate) drift: Vec<v1::AgentDrift>,
    pub(crate) logs: BTreeMap<u64, (Vec<u8>, bool, String)>,
    pub(crate) heartbeats: u32,
    pub(crate) farewells: u32,
    pub(crate) blob_requests: u32,
}

impl Seen {
    pub(crate) fn last(&self, task: u64) -> Option<&TaskStatus> {
        self.statuses
            .iter()
            .rev()
            .find(|status| status.task == TaskId(task))
    }
}

#[derive(Debug)]
struct Inner {
    seen: watch::Sender<Seen>,
    session: Mutex<Option<mpsc::Sender<Result<KernelMessage, Status>>>>,
    /// Sent in full to each new session.
    assignments: Mutex<Vec<v1::Assignment>>,
    blobs: Mutex<BTreeMap<String, Vec<u8>>>,
    /// How many more questions for blobs break.
    blob_breaks: Mutex<u32>,
    acks: Mutex<bool>,
    refuse: Mutex<Option<(v1::SessionEnd, String)>>,
    cluster: Mutex<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct FakeKernel {
    inner: Arc<Inner>,
    pub(crate) address: String,
}

impl FakeKernel {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            seen: watch::channel(Seen::default()).0,
            session: Mutex::default(),
            assignments: Mutex::default(),
            blobs: Mutex::default(),
            blob_breaks: Mutex::default(),
            acks: Mutex::new(true),
            refuse: Mutex::default(),
            cluster: Mutex::new("test".to_owned()),
        });
        let kernel = Self { inner, address };
        let serving = tonic::transport::Server::builder()
            .add_service(AgentsServer::new(kernel.clone()))
            .add_service(KernelServer::new(kernel.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
        kernel
    }

    /// Whether statuses are acknowledged.
    pub(crate) fn acknowledge(&self, yes: bool) {
        *self.inner.acks.lock().unwrap() = yes;
    }

    /// Is the kernel of another cluster from now on.
    pub(crate) fn become_cluster(&self, name: &str) {
        *self.inner.cluster.lock().unwrap() = name.to_owned();
    }

    /// Says goodbye to whoever attaches next.
    pub(crate) fn refuse(&self, end: v1::SessionEnd, message: &str) {
        *self.inner.refuse.lock().unwrap() = Some((end, message.to_owned()));
    }

    pub(crate) fn put_blob(&self, content: &[u8]) -> Digest {
        let digest = Digest::of(content);
        self.inner
            .blobs
            .lock()
            .unwrap()
            .insert(digest.to_string(), content.to_vec());
        digest
    }

    /// Lets the next questions for blobs break, as those to a kernel that is away do.
    pub(crate) fn break_blobs(&self, times: u32) {
        *self.inner.blob_breaks.lock().unwrap() = times;
    }

    pub(crate) fn put_wrong_blob(&self, digest: &Digest, content: &[u8]) {
        self.inner
            .blobs
            .lock()
            .unwrap()
            .insert(digest.to_string(), content.to_vec());
    }

    /// Breaks the session without a word.
    pub(crate) fn break_session(&self) {
        *self.inner.session.lock().unwrap() = None;
    }

    pub(crate) fn send(&self, message: kernel_message::Message) {
        let session = self.inner.session.lock().unwrap().clone();
        let session = session.unwrap_or_else(|| panic!("nobody is attached"));
        session
            .try_send(Ok(KernelMessage {
                message: Some(message),
            }))
            .unwrap();
    }

    /// Assigns now, and to each later session.
    pub(crate) fn assign(&self, task: u64, generation: u64, order: assignment::Order) {
        let assignment = v1::Assignment {
            task,
            generation,
            order: Some(order),
        };
        {
            let mut all = self.inner.assignments.lock().unwrap();
            all.retain(|one| one.task != task);
            all.push(assignment.clone());
        }
        if self.inner.session.lock().unwrap().is_some() {
            self.send(kernel_message::Message::Assignments(v1::Assignments {
                tasks: vec![assignment],
            }));
        }
    }

    /// Takes a task off the list that later sessions get.
    pub(crate) fn omit(&self, task: u64) {
        self.inner
            .assignments
            .lock()
            .unwrap()
            .retain(|one| one.task != task);
    }

    pub(crate) fn run(&self, task: u64, template: &serde_json::Value) {
        self.run_with(task, template, &[], true);
    }

    pub(crate) fn run_with(
        &self,
        task: u64,
        template: &serde_json::Value,
        ports: &[(&str, u16)],
        enforce_drift: bool,
    ) {
        let order = assignment::Order::Run(v1::TaskSpec {
            name: format!("test.{task}"),
            namespace: "default".to_owned(),
            kind: "Service".to_owned(),
            workload: "test".to_owned(),
            slot: 0,
            workload_generation: 1,
            template_json: template.to_string(),
            ports: ports
                .iter()
                .map(|(name, port)| ((*name).to_owned(), u32::from(*port)))
                .collect(),
            enforce_drift,
        });
        self.assign(task, 1, order);
    }

    pub(crate) fn stop(&self, task: u64) {
        let reason = "byHand".to_owned();
        self.assign(task, 2, assignment::Order::Stop(v1::StopOrder { reason }));
    }

    pub(crate) fn forget(&self, task: u64) {
        self.assign(task, 3, assignment::Order::Forget(v1::Forget {}));
    }

    pub(crate) fn seen(&self) -> Seen {
        self.inner.seen.borrow().clone()
    }

    /// Waits until the test is content with what the kernel has seen.
    pub(crate) async fn wait<T>(&self, what: &str, mut look: impl FnMut(&Seen) -> Option<T>) -> T {
        let mut seen = self.inner.seen.subscribe();
        let found = tokio::time::timeout(DEADLINE, async {
            loop {
                let found = look(&seen.borrow_and_update());
                if let Some(found) = found {
                    return found;
                }
                seen.changed().await.unwrap();
            }
        })
        .await;
        found.unwrap_or_else(|_| {
            panic!(
                "waited in vain for {what}; seen: {:#?}",
                self.seen().statuses
            )
        })
    }

    pub(crate) async fn wait_state(&self, task: u64, state: TaskState) -> TaskStatus {
        self.wait(&format!("tsk_{task} {state:?}"), |seen| {
            seen.last(task)
                .filter(|status| status.state == state)
                .cloned()
        })
        .await
    }

    pub(crate) async fn wait_over(&self, task: u64) -> TaskStatus {
        self.wait(&format!("the end of tsk_{task}"), |seen| {
            seen.last(task)
                .filter(|status| status.state.is_terminal())
                .cloned()
        })
        .await
    }

    pub(crate) async fn wait_attached(&self, times: usize) {
        self.wait("a session", |seen| {
            (seen.attaches.len() >= times).then_some(())
        })
        .await;
    }

    fn receive(&self, message: agent_message::Message) {
        self.inner.seen.send_modify(|seen| match message {
            agent_message::Message::Attach(attach) => seen.attaches.push(attach),
            agent_message::Message::Heartbeat(_) => seen.heartbeats += 1,
            agent_message::Message::Leaving(_) => seen.farewells += 1,
            agent_message::Message::Statuses(statuses) => {
                let statuses = statuses
                    .statuses
                    .into_iter()
                    .map(|status| TaskStatus::try_from(status).unwrap());
                seen.statuses.extend(statuses);
            }
            agent_message::Message::Log(chunk) => {
                let log = seen.logs.entry(chunk.request).or_default();
                log.0.extend_from_slice(&chunk.data);
                log.1 |= chunk.end;
                log.2.push_str(&chunk.message);
            }
            agent_message::Message::Drift(drift) => seen.drift.push(drift),
        });
    }
}

#[tonic::async_trait]
impl Agents for FakeKernel {
    type SessionStream = ReceiverStream<Result<KernelMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut incoming = request.into_inner();
        let (out, outgoing) = mpsc::channel(256);
        let kernel = self.clone();
        tokio::spawn(async move {
            let first = incoming
                .message()
                .await
                .ok()
                .flatten()
                .and_then(|first| first.message);
            let Some(agent_message::Message::Attach(attach)) = first else {
                return;
            };
            let refused = kernel.inner.refuse.lock().unwrap().take();
            let say = |message| KernelMessage {
                message: Some(message),
            };
            if let Some((end, message)) = refused {
                let _ = out
                    .send(Ok(say(kernel_message::Message::Goodbye(v1::Goodbye {
                        message,
                        end: end.into(),
                    }))))
                    .await;
                return;
            }
            let attached = v1::Attached {
                agent: 1,
                lease_ms: 3000,
                cluster: kernel.inner.cluster.lock().unwrap().clone(),
            };
            let assignments = v1::Assignments {
                tasks: kernel.inner.assignments.lock().unwrap().clone(),
            };
            for message in [
                kernel_message::Message::Attached(attached),
                kernel_message::Message::ListBegin(v1::ListBegin {}),
                kernel_message::Message::Assignments(assignments),
                kernel_message::Message::ListEnd(v1::ListEnd {}),
            ] {
                let _ = out.send(Ok(say(message))).await;
            }
            *kernel.inner.session.lock().unwrap() = Some(out.clone());
            kernel.receive(agent_message::Message::Attach(attach));
            let weak = out.downgrade();
            drop(out);
            while let Ok(Some(message)) = incoming.message().await {
                let Some(message) = message.message else {
                    continue;
                };
                if let (agent_message::Message::Statuses(statuses), true) =
                    (&message, *kernel.inner.acks.lock().unwrap())
                {
                    let acks = statuses.statuses.iter().map(|status| v1::StatusAck {
                        task: status.task,
                        sequence: status.sequence,
                    });
                    let acks = v1::StatusAcks {
                        acks: acks.collect(),
                    };
                    if let Some(out) = weak.upgrade() {
                        let _ = out.try_send(Ok(say(kernel_message::Message::Acks(acks))));
                    }
                }
                kernel.receive(message);
            }
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Kernel for FakeKernel {
    type SubmitStream = Boxed<v1::SubmitAnswer>;
    type WatchStream = Boxed<v1::WatchBatch>;
    type GetBlobStream = Boxed<v1::BlobChunk>;

    async fn begin(&self, _: Request<v1::BeginRequest>) -> Result<Response<v1::Beginning>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn submit(
        &self,
        _: Request<Streaming<v1::SubmitRequest>>,
    ) -> Result<Response<Self::SubmitStream>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn watch(
        &self,
        _: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn put_blob(
        &self,
        _: Request<Streaming<v1::BlobChunk>>,
    ) -> Result<Response<v1::BlobStored>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn get_blob(
        &self,
        request: Request<v1::BlobRequest>,
    ) -> Result<Response<Self::GetBlobStream>, Status> {
        self.inner.seen.send_modify(|seen| seen.blob_requests += 1);
        {
            let mut breaks = self.inner.blob_breaks.lock().unwrap();
            if *breaks > 0 {
                *breaks -= 1;
                return Err(Status::unavailable("broken on purpose"));
            }
        }
        let content = self
            .inner
            .blobs
            .lock()
            .unwrap()
            .get(&request.into_inner().digest)
            .cloned();
        let content = content.ok_or_else(|| Status::not_found("there is no such blob"))?;
        let chunks: Vec<_> = content
            .chunks(4)
            .map(|data| {
                Ok(v1::BlobChunk {
                    data: data.to_vec().into(),
                })
            })
            .collect();
        Ok(Response::new(Box::pin(
            tokio_stream::iter(chunks).map(|chunk| chunk),
        )))
    }

    async fn missing_blobs(
        &self,
        _: Request<v1::BlobDigests>,
    ) -> Result<Response<v1::BlobDigests>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
}

pub(crate) fn config(directory: &Path, kernel: &FakeKernel) -> AgentConfig {
    let mut config = AgentConfig::new(
        directory.to_owned(),
        kelson_trust::Dialer::plain(kernel.address.parse().unwrap()),
    );
    config.shim_exe = shim_exe();
    config
}

pub(crate) async fn start(directory: &Path, kernel: &FakeKernel) -> Agent {
    let agent = Agent::start(config(directory, kernel)).await.unwrap();
    let attached = tokio::time::timeout(DEADLINE, agent.registered()).await;
    attached
        .unwrap_or_else(|_| panic!("the agent did not attach"))
        .unwrap();
    agent
}

/// A template that runs a script.
pub(crate) fn script(text: &str) -> serde_json::Value {
    serde_json::json!({
        "run": {"command": "sh", "args": ["-c", text.replace('$', "$$")]},
        "resources": {"cpus": "0.1", "memory": "256Mi", "disk": "0"},
        "stop": {"signal": "SIGTERM", "grace": "20s"},
    })
}

/// Whether a process is there and not just waiting to be reaped.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Waits for something that no message tells.
pub(crate) async fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < DEADLINE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn wait_gone(pid: u32) {
    wait_for(&format!("the end of process {pid}"), || {
        (!is_alive(pid)).then_some(())
    })
    .await;
}

/// Waits for a number that a task writes into a file of its directory.
pub(crate) async fn wait_number(path: &Path) -> u32 {
    wait_for(&format!("{}", path.display()), || {
        let text = std::fs::read_to_string(path).ok()?;
        text.strip_suffix('\n')?.trim().parse().ok()
    })
    .await
}
