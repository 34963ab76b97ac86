//! A cluster in memory: makes entries, applies them, and checks after each that the invariants
//! hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use kelson_kernel_core::command::{
    Command, CommitTurn, FoundCluster, InstallFramework, RecordStatuses, RegisterAgent,
    SetAgentState,
};
use kelson_kernel_core::form::{Rebuild, chunks};
use kelson_kernel_core::object::Object;
use kelson_kernel_core::port::{Demand, Op, Operation, Placement, RefusalRow, SeatId};
use kelson_kernel_core::record::{Agent, Task};
use kelson_kernel_core::{Entry, Records, Reply, State, TaskRef, apply, broken_invariants};
use kelson_model::agent::{AgentDescription, AgentState, PortRange};
use kelson_model::code::Code;
use kelson_model::framework::{Description, KindDescription, Limits};
use kelson_model::id::{AgentId, Digest, Index, Revision, TaskId, WorkloadId};
use kelson_model::object::{DesiredObject, Lifecycle, Namespace, ObjectKey, Origin};
use kelson_model::principal::Principal;
use kelson_model::quantity::{Bytes, MilliCpus, Resources};
use kelson_model::request::{Accept, Refusal, SetField, Stage};
use kelson_model::session::SessionEnd;
use kelson_model::task::{CheckState, Exit, StopReason, TaskState, TaskStatus};
use kelson_model::time::{ClusterTime, WallTime};
use serde_json::{Value, json};

/// The source of every revision, unless a test names another.
pub(crate) const SOURCE: &str = "dev";

pub(crate) fn ns(path: &str) -> Namespace {
    path.parse().unwrap()
}

pub(crate) fn service(name: &str) -> ObjectKey {
    service_in("default", name)
}

pub(crate) fn service_in(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey::new("Service", ns(namespace), name)
}

/// A revision by number.
pub(crate) fn revision(number: u32) -> Revision {
    format!("{number:040x}").parse().unwrap()
}

/// The key of the framework that handles `Service` and `Duo`.
pub(crate) fn framework() -> ObjectKey {
    ObjectKey::new("Framework", Namespace::default_namespace(), "service")
}

/// The seat of a namespace.
pub(crate) fn seat(namespace: &str) -> SeatId {
    SeatId {
        framework: framework(),
        namespace: ns(namespace),
    }
}

pub(crate) fn component(version: &str) -> Digest {
    Digest::of(version.as_bytes())
}

pub(crate) fn kind(name: &str, templates: &[&str]) -> KindDescription {
    KindDescription {
        kind: name.to_owned(),
        schema: json!({}),
        templates: templates.iter().map(|t| (*t).to_owned()).collect(),
        count: Some("/instances".to_owned()),
    }
}

pub(crate) fn install(version: &str) -> InstallFramework {
    InstallFramework {
        key: framework(),
        component: component(version),
        description: Description {
            name: "service".to_owned(),
            version: version.to_owned(),
            kinds: vec![kind("Service", &[""]), kind("Duo", &["/lead", "/worker"])],
            config_schema: None,
        },
        namespaces: Vec::new(),
        limits: Limits {
            state: Bytes(1000),
            ..Limits::default()
        },
        config: "null".to_owned(),
        is_built_in: true,
        ceiling: None,
        generation: None,
    }
}

/// A task of this many thousandths of a cpu and this many MiB, with what it runs.
pub(crate) fn template(command: &str, milli: u64, mebibytes: u64) -> Value {
    json!({
        "run": {"command": command},
        "resources": {"cpus": MilliCpus(milli).to_string(), "memory": Bytes(mebibytes << 20).to_string(), "disk": "0"},
        "ports": [],
    })
}

/// A Service of one-cpu tasks.
pub(crate) fn spec(command: &str, instances: u64) -> Value {
    let mut spec = template(command, 1000, 64);
    spec["instances"] = json!(instances);
    spec
}

pub(crate) fn with_ports(mut spec: Value, ports: Value) -> Value {
    spec["ports"] = ports;
    spec
}

pub(crate) fn desired(key: &ObjectKey, spec: Value) -> DesiredObject {
    DesiredObject {
        key: key.clone(),
        labels: BTreeMap::new(),
        lifecycle: Lifecycle::default(),
        spec: spec.into(),
        origin: Origin {
            file: format!("{}.yaml", key.name),
            line: 1,
            column: None,
        },
        written: None,
    }
}

pub(crate) fn machine(cpus: u64, mebibytes: u64) -> AgentDescription {
    AgentDescription {
        name: "machine".to_owned(),
        address: "127.0.0.1".to_owned(),
        resources: Resources {
            cpus: MilliCpus(cpus * 1000),
            memory: Bytes(mebibytes << 20),
            disk: Bytes(1 << 30),
        },
        ports: PortRange {
            first: 20_000,
            last: 20_003,
        },
        attributes: BTreeMap::new(),
        pid: 1,
        version: "0".to_owned(),
    }
}

pub(crate) fn status(task: TaskId, sequence: u64, state: TaskState) -> TaskStatus {
    TaskStatus {
        task,
        sequence,
        state,
        health: match state {
            TaskState::Running => CheckState::Healthy,
            _ => CheckState::Unknown,
        },
        ready: state == TaskState::Running,
        pid: Some(100),
        started_at: None,
        healthy_for: 0,
        exit: state.is_terminal().then(Exit::default),
        isolation: String::new(),
        message: String::new(),
    }
}

/// The state as a member has it that read it from a snapshot.
pub(crate) fn through_snapshot(state: &State) -> State {
    let mut read = Rebuild::default();
    for chunk in chunks(state) {
        read.add(&chunk.unwrap()).unwrap();
    }
    read.finish().unwrap()
}

/// Whether nothing but index and time differs, neither in what is stored nor in what watchers are
/// told.
pub(crate) fn is_unchanged(before: &State, after: &State) -> bool {
    let mut levelled = Records::clone(after);
    levelled.index = before.index;
    levelled.time = before.time;
    let is_quiet = after
        .changed_since(before.index)
        .is_some_and(|changed| changed.is_empty());
    levelled == **before && is_quiet
}

pub(crate) fn launch(workload: WorkloadId, generation: u64, slot: u32, agent: AgentId) -> Op {
    Op::Launch {
        workload,
        generation,
        template: 0,
        slot,
        agent,
    }
}

pub(crate) fn alone(op: Op) -> Operation {
    Operation { group: 0, op }
}

pub(crate) fn demand(key: u64, workload: WorkloadId, generation: u64, count: u32) -> Demand {
    Demand {
        key,
        workload,
        generation,
        template: 0,
        count,
        placement: Placement::Spread,
        priority: 0,
    }
}

/// The refusal of a reply that must be one.
pub(crate) fn refused(reply: Reply) -> Refusal {
    match reply {
        Reply::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// Why a session is over that must be.
pub(crate) fn session_over(reply: Reply) -> SessionEnd {
    match reply {
        Reply::SessionOver { end, refusal } => {
            assert_eq!(refusal.code, Code::AgentRefused);
            end
        }
        other => panic!("not over: {other:?}"),
    }
}

/// What was refused of a turn that must count.
pub(crate) fn counted(reply: Reply) -> Vec<RefusalRow> {
    match reply {
        Reply::Counted { refusals, .. } => refusals,
        other => panic!("does not count: {other:?}"),
    }
}

pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) now: ClusterTime,
    pub(crate) term: u64,
    revisions: u32,
    machines: u32,
}

impl World {
    /// A cluster with a framework for `Service` and `Duo`, and no agent.
    pub(crate) fn new() -> Self {
        let mut world = Self::empty();
        world.done(Command::FoundCluster(FoundCluster {
            cluster: "test".to_owned(),
        }));
        world.done(Command::InstallFramework(Box::new(install("1"))));
        world
    }

    /// A cluster before its first entry.
    pub(crate) fn empty() -> Self {
        Self {
            state: State::default(),
            now: ClusterTime(1000),
            term: 1,
            revisions: 0,
            machines: 0,
        }
    }

    pub(crate) fn entry(&self, principal: Principal, command: Command) -> Entry {
        Entry {
            principal,
            at: self.now,
            wall: WallTime(1_700_000_000_000 + self.now.0),
            term: self.term,
            client: None,
            since: None,
            command,
        }
    }

    pub(crate) fn apply_entry(&mut self, entry: &Entry) -> Reply {
        let index = Index(self.state.index.0 + 1);
        let reply = apply(&mut self.state, index, entry);
        let broken = broken_invariants(&self.state);
        assert!(broken.is_empty(), "after {entry:?}: {broken:?}");
        reply
    }

    pub(crate) fn apply(&mut self, command: Command) -> Reply {
        let entry = self.entry(Principal::kernel(), command);
        self.apply_entry(&entry)
    }

    /// Applies what must be done.
    pub(crate) fn done(&mut self, command: Command) {
        let reply = self.apply(command);
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    }

    /// Applies what must be refused; checks that it changes nothing.
    pub(crate) fn refused(&mut self, command: Command) -> Refusal {
        let before = self.state.clone();
        let refusal = refused(self.apply(command));
        assert!(
            is_unchanged(&before, &self.state),
            "a refusal changed something"
        );
        refusal
    }

    pub(crate) fn wait(&mut self, millis: u64) {
        self.now = ClusterTime(self.now.0 + millis);
    }

    /// Attaches a new agent of this many cpus and MiB.
    pub(crate) fn agent(&mut self, cpus: u64, mebibytes: u64) -> AgentId {
        self.attach(machine(cpus, mebibytes))
    }

    pub(crate) fn attach(&mut self, description: AgentDescription) -> AgentId {
        self.machines += 1;
        let reply = self.apply(Command::RegisterAgent(RegisterAgent {
            agent: None,
            token: format!("token-{}", self.machines),
            incarnation: 1,
            description,
            cluster: String::new(),
        }));
        match reply {
            Reply::Attached { agent, .. } => agent,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn set_agent(&mut self, agent: AgentId, state: AgentState) {
        let incarnation = self.the_agent(agent).incarnation;
        self.done(Command::SetAgentState(SetAgentState {
            agent,
            incarnation,
            session: None,
            state,
            is_leaving: false,
        }));
    }

    pub(crate) fn the_agent(&self, id: AgentId) -> Arc<Agent> {
        self.state.agents[&id].clone()
    }

    pub(crate) fn object(&self, key: &ObjectKey) -> Arc<Object> {
        self.state.objects[key].clone()
    }

    pub(crate) fn workload(&self, key: &ObjectKey) -> WorkloadId {
        self.object(key).workload.unwrap()
    }

    /// A task as the state shows it.
    pub(crate) fn seen(&self, id: TaskId) -> TaskRef<'_> {
        self.state.tasks.get(id).unwrap()
    }

    pub(crate) fn task(&self, id: TaskId) -> Task {
        self.seen(id).to_task()
    }

    pub(crate) fn next_revision(&mut self) -> Revision {
        self.revisions += 1;
        revision(self.revisions)
    }

    pub(crate) fn applied(&self, source: &str) -> Option<Revision> {
        self.state
            .sources
            .get(source)
            .and_then(|record| record.applied.clone())
    }

    /// Stages and accepts a commit of the usual source.
    pub(crate) fn commit(&mut self, objects: Vec<DesiredObject>, prune: Vec<ObjectKey>) {
        let command = self.stage(SOURCE, objects, prune);
        let entry = self.entry(Principal::reconciler(), command);
        let reply = self.apply_entry(&entry);
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    }

    /// Stages a commit; returns the command that accepts it.
    pub(crate) fn stage(
        &mut self,
        source: &str,
        objects: Vec<DesiredObject>,
        prune: Vec<ObjectKey>,
    ) -> Command {
        let revision = self.next_revision();
        let count = u32::try_from(objects.len()).unwrap();
        self.done(Command::Stage(Stage {
            source: source.to_owned(),
            revision: revision.clone(),
            part: 0,
            objects,
            prune: Vec::new(),
        }));
        Command::Accept(Accept {
            source: source.to_owned(),
            revision,
            previous: self.applied(source),
            parts: 1,
            prune,
            objects: count,
            going: 0,
            released: Vec::new(),
            hands: None,
        })
    }

    /// Commits one Service; returns its workload.
    pub(crate) fn serve(&mut self, key: &ObjectKey, spec: Value) -> WorkloadId {
        self.commit(vec![desired(key, spec)], Vec::new());
        self.workload(key)
    }

    pub(crate) fn set_by_hand(&mut self, key: &ObjectKey, path: &str, value: Value) -> Reply {
        let command = Command::SetField(SetField {
            object: key.clone(),
            path: path.to_owned(),
            value,
        });
        self.as_person("alice", command)
    }

    /// Applies what a person asks for.
    pub(crate) fn as_person(&mut self, name: &str, command: Command) -> Reply {
        let entry = self.entry(Principal::new(name, "cli"), command);
        self.apply_entry(&entry)
    }

    /// The next turn of a seat; it wants nothing yet.
    pub(crate) fn turn(&self, seat: &SeatId) -> CommitTurn {
        CommitTurn {
            seat: seat.clone(),
            turn_no: self
                .state
                .seats
                .get(seat)
                .map_or(1, |seat| seat.turn_no + 1),
            component: self.state.frameworks[&seat.framework]
                .component
                .clone()
                .unwrap(),
            cursor: self.state.index,
            operations: Vec::new(),
            writes: Vec::new(),
            demand: None,
            demand_changes: Vec::new(),
            wake_at: None,
        }
    }

    /// A turn with these operations, each on its own.
    pub(crate) fn operate(&mut self, namespace: &str, ops: Vec<Op>) -> Vec<RefusalRow> {
        let turn = CommitTurn {
            operations: ops.into_iter().map(alone).collect(),
            ..self.turn(&seat(namespace))
        };
        counted(self.apply(Command::CommitTurn(turn)))
    }

    /// Launches one task of the newest generation.
    pub(crate) fn launch(&mut self, key: &ObjectKey, slot: u32, agent: AgentId) -> TaskId {
        let object = self.object(key);
        let op = launch(object.workload.unwrap(), object.generation, slot, agent);
        let refusals = self.operate(key.namespace.as_str(), vec![op]);
        assert!(refusals.is_empty(), "{refusals:?}");
        self.state.last_task
    }

    pub(crate) fn kill(&mut self, task: TaskId, reason: StopReason) {
        let namespace = self.task(task).object.namespace.as_str().to_owned();
        let refusals = self.operate(&namespace, vec![Op::Kill { task, reason }]);
        assert!(refusals.is_empty(), "{refusals:?}");
    }

    /// What an agent says next of a task.
    pub(crate) fn say(&mut self, task: TaskId, state: TaskState) {
        let sequence = self.task(task).sequence + 1;
        self.report(status(task, sequence, state));
    }

    pub(crate) fn report(&mut self, status: TaskStatus) {
        let agent = self.task(status.task).agent;
        let incarnation = self.the_agent(agent).incarnation;
        self.done(Command::RecordStatuses(RecordStatuses {
            agent,
            incarnation,
            statuses: vec![status],
        }));
    }

    /// How many tasks of a namespace have not ended.
    pub(crate) fn live_in(&self, namespace: &str) -> usize {
        self.state
            .tasks
            .iter()
            .filter(|task| task.object().namespace == ns(namespace) && !task.state().is_terminal())
            .count()
    }
}
