//! Sessions over the wire: everything is told however much it is, and who may not go on learns why.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use kelson_kernel::{Kernel, api, leader};
use kelson_kernel_core::Reply;
use kelson_kernel_core::command::{Command, CommitTurn, InstallFramework};
use kelson_kernel_core::port::{Op, Operation, SeatId};
use kelson_model::agent::AgentState;
use kelson_model::code::Code;
use kelson_model::framework::{Description, KindDescription, Limits};
use kelson_model::id::{AgentId, Digest, Revision};
use kelson_model::object::{DesiredObject, Lifecycle, Namespace, ObjectKey, Origin};
use kelson_model::request::{Accept, Stage};
use kelson_model::template::TaskTemplate;
use kelson_proto::v1::agent_message::Message as Up;
use kelson_proto::v1::agents_client::AgentsClient;
use kelson_proto::v1::kernel_client::KernelClient;
use kelson_proto::v1::kernel_message::Message as Down;
use kelson_proto::{MAX_MESSAGE, PAGE, v1};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

const DEADLINE: Duration = Duration::from_secs(60);

fn key(kind: &str, name: &str) -> ObjectKey {
    ObjectKey::new(kind, Namespace::default_namespace(), name)
}

async fn done(kernel: &Kernel, command: Command) {
    let reply = kernel.propose(command).await.unwrap();
    let is_done = matches!(&reply, Reply::Done { .. })
        || matches!(&reply, Reply::Counted { refusals, .. } if refusals.is_empty());
    assert!(is_done, "{reply:?}");
}

/// Makes a Service with a framework that handles it, and launches tasks of it on an agent.
async fn launch(kernel: &Kernel, spec: Value, agent: AgentId, count: u32) {
    let framework = key("Framework", "service");
    let component = Digest::of(b"component");
    let description = Description {
        name: "service".to_owned(),
        version: "1".to_owned(),
        kinds: vec![KindDescription {
            kind: "Service".to_owned(),
            schema: json!({}),
            templates: vec![String::new()],
            count: None,
        }],
        config_schema: None,
    };
    let install = InstallFramework {
        key: framework.clone(),
        component: component.clone(),
        description,
        namespaces: Vec::new(),
        limits: Limits::default(),
        config: "null".to_owned(),
        is_built_in: true,
        ceiling: None,
        generation: None,
    };
    done(kernel, Command::InstallFramework(Box::new(install))).await;
    let revision: Revision = format!("{:040x}", 1).parse().unwrap();
    let web = DesiredObject {
        key: key("Service", "web"),
        labels: Default::default(),
        lifecycle: Lifecycle::default(),
        spec: spec.into(),
        origin: Origin {
            file: "web.yaml".to_owned(),
            line: 1,
            column: None,
        },
        written: None,
    };
    let stage = Stage {
        source: "dev".to_owned(),
        revision: revision.clone(),
        part: 0,
        objects: vec![web],
        prune: Vec::new(),
    };
    done(kernel, Command::Stage(stage)).await;
    let accept = Accept {
        source: "dev".to_owned(),
        revision,
        previous: None,
        parts: 1,
        prune: Vec::new(),
        objects: 1,
        going: 0,
        released: Vec::new(),
        hands: None,
    };
    done(kernel, Command::Accept(accept)).await;
    let workload = kernel.state().last_workload;
    let slots: Vec<u32> = (0..count).collect();
    for (turn, slots) in slots.chunks(500).enumerate() {
        let operations = slots.iter().map(|slot| Operation {
            group: 0,
            op: Op::Launch {
                workload,
                generation: 1,
                template: 0,
                slot: *slot,
                agent,
            },
        });
        let turn = CommitTurn {
            seat: SeatId {
                framework: framework.clone(),
                namespace: Namespace::default_namespace(),
            },
            turn_no: u64::try_from(turn).unwrap() + 1,
            component: component.clone(),
            cursor: kernel.state().index,
            operations: operations.collect(),
            writes: Vec::new(),
            demand: None,
            demand_changes: Vec::new(),
            wake_at: None,
        };
        done(kernel, Command::CommitTurn(turn)).await;
    }
}

fn template(extra: Value) -> Value {
    let mut run = json!({"command": "true"});
    run.as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    json!({"run": run, "resources": {"cpus": "0.001", "memory": "1Ki", "disk": "0"}})
}

/// An agent that does nothing but listen.
struct Listener {
    up: mpsc::Sender<v1::AgentMessage>,
    down: Streaming<v1::KernelMessage>,
}

impl Listener {
    async fn attach(address: &str, agent: u64, incarnation: u64, cluster: &str) -> Self {
        let (up, messages) = mpsc::channel(16);
        let attach = v1::Attach {
            agent,
            incarnation,
            description: Some(v1::AgentDescription {
                name: "machine".to_owned(),
                milli_cpus: 64_000,
                memory_bytes: 1 << 40,
                first_port: 20_000,
                last_port: 20_999,
                ..v1::AgentDescription::default()
            }),
            token: "token".to_owned(),
            cluster: cluster.to_owned(),
        };
        let this = Up::Attach(attach);
        up.send(v1::AgentMessage {
            message: Some(this),
        })
        .await
        .unwrap();
        let mut client = AgentsClient::connect(address.to_owned()).await.unwrap();
        let down = client.session(ReceiverStream::new(messages)).await.unwrap();
        Self {
            up,
            down: down.into_inner(),
        }
    }

    /// The next message; it must fit the limit that every agent has.
    async fn next(&mut self) -> Down {
        let next = tokio::time::timeout(DEADLINE, self.down.message()).await;
        let message = next.unwrap().unwrap().unwrap();
        assert!(message.encoded_len() < MAX_MESSAGE);
        message.message.unwrap()
    }

    async fn attached(&mut self) -> v1::Attached {
        match self.next().await {
            Down::Attached(attached) => attached,
            other => panic!("not attached: {other:?}"),
        }
    }

    async fn goodbye(&mut self) -> v1::SessionEnd {
        loop {
            if let Down::Goodbye(goodbye) = self.next().await {
                return goodbye.end();
            }
        }
    }

    /// Reads a list from its begin to its end: its pages.
    async fn list(&mut self) -> Vec<v1::Assignments> {
        let mut pages = Vec::new();
        loop {
            match self.next().await {
                Down::ListBegin(_) => pages.clear(),
                Down::Assignments(page) => pages.push(page),
                Down::ListEnd(_) => return pages,
                other => panic!("not of a list: {other:?}"),
            }
        }
    }
}

async fn serve(kernel: &Kernel) -> String {
    let address = format!("http://{}", support::serve(kernel).await);
    // Ends with the test's runtime.
    tokio::spawn(api::run_dispatch(kernel.clone()));
    address
}

fn tasks(pages: &[v1::Assignments]) -> BTreeSet<u64> {
    let all = pages.iter().flat_map(|page| &page.tasks);
    all.map(|one| one.task).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_tasks_of_one_agent_are_told_in_pages_that_fit() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = support::start(folder.path()).await;
    let address = serve(&kernel).await;
    let mut first = Listener::attach(&address, 0, 1, "").await;
    let agent = AgentId(first.attached().await.agent);
    assert!(first.list().await.is_empty());
    drop(first);
    let spec = template(json!({"env": {"TEXT": "x".repeat(200)}}));
    launch(&kernel, spec, agent, 10_000).await;

    let mut again = Listener::attach(&address, agent.0, 2, "").await;
    again.attached().await;
    let pages = again.list().await;
    assert_eq!(tasks(&pages).len(), 10_000);
    let bytes: usize = pages.iter().map(v1::Assignments::encoded_len).sum();
    assert!(
        bytes > MAX_MESSAGE,
        "as one message it would not fit: {bytes}"
    );
    assert!(pages.iter().all(|page| page.encoded_len() <= PAGE + 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_contents_of_files_travel_as_blobs_and_short_ones_with_their_task() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = support::start(folder.path()).await;
    let address = serve(&kernel).await;
    let mut agent = Listener::attach(&address, 0, 1, "").await;
    let id = AgentId(agent.attached().await.agent);
    agent.list().await;
    let long = "x".repeat(131 << 10);
    let files = json!([{"path": "long", "content": long}, {"path": "short", "content": "hello"}]);
    launch(&kernel, template(json!({"files": files})), id, 80).await;

    let mut told = BTreeSet::new();
    let mut digest = None;
    while told.len() < 80 {
        let Down::Assignments(page) = agent.next().await else {
            panic!("only changes are told");
        };
        assert!(page.encoded_len() < 80 * 1000, "{}", page.encoded_len());
        for task in page.tasks {
            told.insert(task.task);
            let Some(v1::assignment::Order::Run(spec)) = task.order else {
                panic!("not to be run: {task:?}");
            };
            let template: TaskTemplate = serde_json::from_str(&spec.template_json).unwrap();
            let [long, short] = template.run.files.as_slice() else {
                panic!("not its files: {template:?}");
            };
            assert_eq!(
                (&long.content, short.content.as_deref()),
                (&None, Some("hello"))
            );
            digest.clone_from(&long.digest);
        }
    }
    let digest = digest.unwrap();
    assert_eq!(digest, Digest::of(long.as_bytes()));
    let mut client = KernelClient::connect(address).await.unwrap();
    let request = v1::BlobRequest {
        digest: digest.to_string(),
    };
    let mut chunks = client.get_blob(request).await.unwrap().into_inner();
    let mut content = Vec::new();
    while let Some(chunk) = chunks.message().await.unwrap() {
        content.extend_from_slice(&chunk.data);
    }
    assert_eq!(content, long.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_attach_or_go_on_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = support::start(folder.path()).await;
    let address = serve(&kernel).await;
    let mut first = Listener::attach(&address, 0, 3, "").await;
    let attached = first.attached().await;
    let agent = attached.agent;
    for (id, incarnation, cluster, end) in [
        (agent, 2, "", v1::SessionEnd::Superseded),
        (agent + 1, 4, "", v1::SessionEnd::UnknownAgent),
        (agent, 4, "another", v1::SessionEnd::OtherCluster),
    ] {
        let mut refused = Listener::attach(&address, id, incarnation, cluster).await;
        assert_eq!(refused.goodbye().await, end);
    }
    let mut same = Listener::attach(&address, agent, 3, &attached.cluster).await;
    same.attached().await;
    assert_eq!(first.goodbye().await, v1::SessionEnd::Replaced);
    let mut newer = Listener::attach(&address, agent, 4, &attached.cluster).await;
    newer.attached().await;
    assert_eq!(same.goodbye().await, v1::SessionEnd::Superseded);
    newer
        .up
        .send(v1::AgentMessage {
            message: Some(Up::Attach(v1::Attach::default())),
        })
        .await
        .unwrap();
    assert_eq!(newer.goodbye().await, v1::SessionEnd::Misspoken);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_agent_is_unreachable_after_one_lease_and_its_session_knows() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = support::start_with_lease(folder.path(), Duration::from_secs(1)).await;
    let address = serve(&kernel).await;
    tokio::spawn(leader::run_leader(kernel.clone(), leader::Duty::common()));
    tokio::spawn(kelson_kernel::run_attendance(kernel.clone()));
    let mut agent = Listener::attach(&address, 0, 1, "").await;
    let id = AgentId(agent.attached().await.agent);
    let heard = tokio::time::Instant::now();
    let mut view = kernel.watch();
    let is_marked = |state: &kelson_kernel_core::State| {
        state
            .agents
            .get(&id)
            .is_some_and(|agent| agent.state == AgentState::Unreachable)
    };
    let marked = tokio::time::timeout(DEADLINE, view.wait_for(is_marked)).await;
    drop(marked.unwrap().unwrap());
    assert!(heard.elapsed() >= Duration::from_millis(900), "too early");
    assert_eq!(agent.goodbye().await, v1::SessionEnd::Silent);
    let mut again = Listener::attach(&address, id.0, 1, "").await;
    again.attached().await;
    let state = kernel.state();
    assert_eq!(state.agents.get(&id).unwrap().state, AgentState::Ready);
}

impl Listener {
    async fn say(&self, message: Up) {
        let message = Some(message);
        self.up.send(v1::AgentMessage { message }).await.unwrap();
    }

    /// Waits for a question about an output; its number.
    async fn asked(&mut self) -> u64 {
        loop {
            if let Down::Log(request) = self.next().await {
                assert!(request.window > 0);
                return request.request;
            }
        }
    }
}

/// Asks for an output over HTTP, as a client that reads trailers.
async fn ask(address: &str, query: &str) -> TcpStream {
    let authority = address.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(authority).await.unwrap();
    let request = format!(
        "GET /v1/logs?{query} HTTP/1.1\r\nhost: {authority}\r\nte: trailers\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn read(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await;
    read.unwrap().unwrap();
    answer
}

/// Waits until everybody sees that the task has ended.
async fn wait_ended(kernel: &Kernel) {
    let has_ended = |state: &kelson_kernel_core::State| {
        state.tasks.iter().all(|task| task.state().is_terminal())
    };
    let mut view = kernel.watch();
    let ended = tokio::time::timeout(DEADLINE, view.wait_for(has_ended)).await;
    drop(ended.unwrap().unwrap());
}

async fn with_task(folder: &std::path::Path) -> (Kernel, String, Listener) {
    let kernel = support::start(folder).await;
    let address = serve(&kernel).await;
    let mut agent = Listener::attach(&address, 0, 1, "").await;
    let id = AgentId(agent.attached().await.agent);
    agent.list().await;
    launch(&kernel, template(json!({})), id, 1).await;
    (kernel, address, agent)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_ends_early_or_is_not_there_says_so_with_a_code() {
    let folder = tempfile::tempdir().unwrap();
    let (kernel, address, mut agent) = with_task(folder.path()).await;
    let unknown = read(ask(&address, "task=tsk_9").await).await;
    assert!(
        unknown.contains("404") && unknown.contains(Code::NoSuchTask.id()),
        "{unknown}"
    );

    let asking = ask(&address, "task=tsk_1").await;
    let request = agent.asked().await;
    let gone = v1::LogChunk {
        request,
        end: true,
        fault: v1::LogFault::NotKept.into(),
        ..v1::LogChunk::default()
    };
    agent.say(Up::Log(gone)).await;
    let answer = read(asking).await;
    assert!(
        answer.contains(Code::OutputAway.id()),
        "it has not been started: {answer}"
    );

    let end = v1::TaskStatus {
        task: 1,
        sequence: 1,
        state: v1::TaskState::Finished.into(),
        exit: Some(v1::Exit::default()),
        ..v1::TaskStatus::default()
    };
    let statuses = vec![end];
    agent
        .say(Up::Statuses(v1::StatusUpdates { statuses }))
        .await;
    wait_ended(&kernel).await;
    let asking = ask(&address, "task=tsk_1").await;
    let request = agent.asked().await;
    agent
        .say(Up::Log(v1::LogChunk {
            request,
            end: true,
            message: "the output of tsk_1 is not kept any more".to_owned(),
            fault: v1::LogFault::NotKept.into(),
            ..v1::LogChunk::default()
        }))
        .await;
    let answer = read(asking).await;
    assert!(
        answer.contains("410") && answer.contains(Code::OutputGone.id()),
        "{answer}"
    );

    let mut asking = ask(&address, "task=tsk_1&follow=true").await;
    let request = agent.asked().await;
    for data in ["", "first words"] {
        let chunk = v1::LogChunk {
            request,
            data: data.into(),
            ..v1::LogChunk::default()
        };
        agent.say(Up::Log(chunk)).await;
    }
    // The agent goes once its words have arrived: a connection that is dropped takes with it
    // what it has not carried yet.
    let mut begun = String::new();
    while !begun.contains("first words") {
        let mut piece = [0; 1024];
        let read = tokio::time::timeout(DEADLINE, asking.read(&mut piece)).await;
        let count = read.unwrap().unwrap();
        assert!(count > 0, "{begun}");
        begun.push_str(std::str::from_utf8(piece.get(..count).unwrap()).unwrap());
    }
    assert!(begun.contains("200 OK"), "{begun}");
    drop(agent);
    let answer = read(asking).await;
    let (_, trailer) = answer.split_once("kelson-error: {").unwrap();
    assert!(trailer.contains(Code::OutputAway.id()), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_of_an_output_holds_no_session() {
    let folder = tempfile::tempdir().unwrap();
    let (_kernel, address, mut agent) = with_task(folder.path()).await;
    let unread = ask(&address, "task=tsk_1&follow=true").await;
    let request = agent.asked().await;
    for number in 0..300 {
        let data = if number == 0 { 0 } else { 64 << 10 };
        let chunk = v1::LogChunk {
            request,
            data: vec![b'x'; data].into(),
            ..v1::LogChunk::default()
        };
        agent.say(Up::Log(chunk)).await;
    }
    let running = v1::TaskStatus {
        task: 1,
        sequence: 1,
        state: v1::TaskState::Running.into(),
        ..v1::TaskStatus::default()
    };
    let statuses = vec![running];
    agent
        .say(Up::Statuses(v1::StatusUpdates { statuses }))
        .await;
    while !matches!(agent.next().await, Down::Acks(_)) {}
    drop(unread);
}
