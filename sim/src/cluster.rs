//! The simulated cluster.
//!
//! *Flow:* objects are accepted, rounds run real schedulers, simulated agents do as they are told,
//! time moves when told. *Guarantees:* the same calls give the same state. *Assumes:* one caller.
//! *Caveats:* there is no log: an entry is applied at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Result, bail};
use kelson_kernel::leader::preview::preview;
use kelson_kernel::raft::MAX_PAYLOAD_BYTES;
use kelson_kernel_core::command::{
    Command, FoundCluster, InstallFramework, RecordStatuses, RegisterAgent,
};
use kelson_kernel_core::form::CLUSTER_VERSION;
use kelson_kernel_core::port::{SchedulerHost, SeatId, TurnFault, TurnOutcome};
use kelson_kernel_core::round::{
    PlannedTurn, RoundMemory, overlooked_seats, plan_round, says_nothing,
};
use kelson_kernel_core::{Entry, Reply, State, apply, broken_invariants};
use kelson_model::agent::{AgentDescription, PortRange};
use kelson_model::framework::Limits;
use kelson_model::id::{AgentId, Digest, Index, Revision, TaskId};
use kelson_model::object::{DesiredObject, Lifecycle, Namespace, ObjectKey, Origin};
use kelson_model::preview::{PlanRequest, Preview};
use kelson_model::principal::Principal;
use kelson_model::quantity::{Bytes, MilliCpus, Millis, Resources};
use kelson_model::request::{Accept, Request, Stage};
use kelson_model::task::{CheckState, Exit, TaskState, TaskStatus};
use kelson_model::time::{ClusterTime, WallTime};
use serde_json::{Value, json};

/// What goes wrong with the turns of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The scheduler traps after it has written and asked.
    Trap,
    /// The turn ran; its entry never reached the log (the leader died).
    LostProposal,
    /// The entry was applied; nobody heard of it (the kernel died between commit and reply).
    LostReply,
    /// The entry is proposed twice.
    Twice,
}

/// A cluster on virtual time.
pub struct Cluster {
    /// What the kernel owns.
    pub state: State,
    /// Cluster time.
    pub now: ClusterTime,
    host: Arc<dyn SchedulerHost>,
    memory: RoundMemory,
    revision: u64,
    overlooked: BTreeSet<String>,
}

/// The key of a framework in the namespace `default`.
pub fn framework_key(name: &str) -> ObjectKey {
    ObjectKey::new("Framework", Namespace::default_namespace(), name)
}

/// An object of any kind.
///
/// # Errors
/// The namespace is none.
pub fn object(kind: &str, namespace: &str, name: &str, spec: Value) -> Result<DesiredObject> {
    Ok(DesiredObject {
        key: ObjectKey::new(kind, namespace.parse()?, name),
        labels: BTreeMap::new(),
        lifecycle: Lifecycle::default(),
        spec: spec.into(),
        origin: Origin {
            file: format!("{name}.yaml"),
            line: 1,
            column: None,
        },
        written: None,
    })
}

/// A Service with every default filled in, as the reconciler would hand it over.
///
/// # Errors
/// The namespace is none.
pub fn service(
    namespace: &str,
    name: &str,
    instances: u32,
    command: &str,
) -> Result<DesiredObject> {
    let spec = json!({
        "instances": instances,
        "run": {"command": command, "args": [], "env": {}, "workdir": ".", "files": []},
        "resources": {"cpus": "1", "memory": "128Mi", "disk": "0"},
        "ports": [],
        "stop": {"signal": "SIGTERM", "grace": "10s"},
        "restart": {"backoff": {"initial": "1s", "factor": 1.15, "max": "5m"}},
        "update": {"maxUnavailable": 0, "maxSurge": 1, "minHealthyTime": "5s", "progressDeadline": "10m", "onFailure": "rollback"},
    });
    object("Service", namespace, name, spec)
}

impl Cluster {
    /// Makes an empty cluster.
    pub fn new(host: Arc<dyn SchedulerHost>) -> Self {
        let mut cluster = Self {
            state: State::default(),
            now: ClusterTime(1000),
            host,
            memory: RoundMemory::default(),
            revision: 0,
            overlooked: BTreeSet::new(),
        };
        cluster.apply(Command::FoundCluster(FoundCluster {
            cluster: "sim".to_owned(),
        }));
        cluster
    }

    /// Applies one command, as the kernel itself.
    pub fn apply(&mut self, command: Command) -> Reply {
        let entry = Entry {
            principal: Principal::kernel(),
            at: self.now,
            wall: WallTime(self.now.0),
            term: 1,
            client: None,
            since: None,
            command,
        };
        let index = Index(self.state.index.0 + 1);
        apply(&mut self.state, index, &entry)
    }

    /// Applies a request, as the reconciler.
    ///
    /// # Errors
    /// It is refused.
    pub fn request(&mut self, request: Request) -> Result<Reply> {
        match self.apply(request.into()) {
            Reply::Refused(refusal) => bail!("{refusal}"),
            reply => Ok(reply),
        }
    }

    /// Loads and installs a framework for all namespaces.
    ///
    /// # Errors
    /// The component cannot be used.
    pub fn install(&mut self, name: &str, component: &[u8]) -> Result<()> {
        let (digest, limits) = (Digest::of(component), Limits::default());
        let description = self.host.load(&digest, component, &limits)?;
        self.apply(Command::InstallFramework(Box::new(InstallFramework {
            key: framework_key(name),
            component: digest,
            description,
            namespaces: Vec::new(),
            limits,
            config: "null".to_owned(),
            is_built_in: true,
            ceiling: None,
            generation: None,
        })));
        Ok(())
    }

    /// Attaches an agent with this many cpus, and 1 GiB of memory for each.
    ///
    /// # Errors
    /// It is refused.
    pub fn attach(&mut self, name: &str, cpus: u64) -> Result<AgentId> {
        let description = AgentDescription {
            name: name.to_owned(),
            address: "127.0.0.1".to_owned(),
            resources: Resources {
                cpus: MilliCpus(cpus * 1000),
                memory: Bytes(cpus << 30),
                disk: Bytes(cpus << 30),
            },
            ports: PortRange {
                first: 20000,
                last: 20999,
            },
            attributes: BTreeMap::new(),
            pid: 1,
            version: "0.1.0".to_owned(),
        };
        let register = RegisterAgent {
            agent: None,
            token: name.to_owned(),
            incarnation: 1,
            description,
            cluster: String::new(),
        };
        match self.apply(Command::RegisterAgent(register)) {
            Reply::Attached { agent, .. } => Ok(agent),
            reply => bail!("the agent was not attached: {reply:?}"),
        }
    }

    /// Accepts objects as the next revision of source `sim`.
    ///
    /// # Errors
    /// They are refused.
    pub fn accept(&mut self, objects: Vec<DesiredObject>, prune: Vec<ObjectKey>) -> Result<()> {
        self.revision += 1;
        let revision: Revision = format!("{:040x}", self.revision).parse()?;
        let previous = self
            .state
            .sources
            .get("sim")
            .and_then(|record| record.applied.clone());
        let count = u32::try_from(objects.len())?;
        self.request(Request::Stage(Stage {
            source: "sim".to_owned(),
            revision: revision.clone(),
            part: 0,
            objects,
            prune: Vec::new(),
        }))?;
        let accept = Accept {
            source: "sim".to_owned(),
            revision,
            previous,
            parts: 1,
            prune,
            objects: count,
            going: 0,
            released: Vec::new(),
            hands: None,
        };
        self.request(Request::Accept(accept)).map(drop)
    }

    /// Runs one round; every turn meets the fault, if there is one. Returns how many turns there
    /// were.
    pub fn round(&mut self, fault: Option<Fault>) -> usize {
        let round = plan_round(&self.state, &mut self.memory, self.now);
        for seat in &round.unsure {
            self.host.drop_instance(seat);
        }
        let count = round.turns.len();
        if count == 0 {
            let overlooked = overlooked_seats(&self.state, &self.memory, &round, self.now);
            self.overlooked.extend(overlooked);
        }
        for turn in round.turns {
            match self.host.turn(&turn.request) {
                Ok(outcome) => self.settle_turn(turn, outcome, fault),
                Err(void) => self.void(&turn, &void),
            }
        }
        count
    }

    fn void(&mut self, turn: &PlannedTurn, fault: &TurnFault) {
        self.host.drop_instance(&turn.request.seat);
        self.memory.turn_was_void(turn, fault, self.now);
    }

    fn settle_turn(&mut self, turn: PlannedTurn, outcome: TurnOutcome, fault: Option<Fault>) {
        let seat = turn.request.seat.clone();
        self.memory.turn_wishes(&turn, &outcome);
        if says_nothing(&self.state, &seat, &outcome, self.now) {
            self.memory.turn_counted(&turn, &self.state);
            return;
        }
        let is_full = outcome.is_full;
        let command = turn.commit(outcome);
        if !fits(&command) {
            let message = "its outcome is larger than an entry of the log".to_owned();
            return self.void(&turn, &TurnFault::Malformed { message });
        }
        match fault {
            None => {
                let reply = self.apply(command);
                let (memory, now) = (&mut self.memory, self.now);
                memory.turn_committed(&turn, &self.state, is_full, &reply, now);
            }
            Some(Fault::Trap) => {
                let trap = TurnFault::Trapped {
                    call: "turn",
                    message: "injected".to_owned(),
                };
                self.void(&turn, &trap);
                self.memory.reset(&seat);
            }
            Some(Fault::LostProposal) => {
                self.host.drop_instance(&seat);
                self.memory.turn_was_lost(&turn);
            }
            Some(Fault::LostReply) => {
                self.apply(command);
                self.restart();
            }
            Some(Fault::Twice) => {
                self.apply(command.clone());
                let again = self.apply(command);
                debug_assert!(matches!(again, Reply::Void { .. }));
                self.memory.turn_counted(&turn, &self.state);
            }
        }
    }

    /// What is remembered from round to round.
    pub fn memory(&self) -> &RoundMemory {
        &self.memory
    }

    /// Forgets everything that is not replicated, as a new leader has never known it.
    pub fn restart(&mut self) {
        let seats: Vec<SeatId> = self.state.seats.keys().cloned().collect();
        for seat in seats {
            self.host.drop_instance(&seat);
        }
        self.memory = RoundMemory::default();
    }

    /// Lets every simulated agent do what it was told: tasks run and are healthy, those asked to
    /// end have ended. Returns how many moved.
    pub fn agents_obey(&mut self) -> usize {
        let mut by_agent: BTreeMap<AgentId, Vec<TaskStatus>> = BTreeMap::new();
        for task in self
            .state
            .tasks
            .iter()
            .filter(|task| !task.state().is_terminal())
        {
            let is_ending = task.stop().is_some();
            if is_ending || task.state() != TaskState::Running {
                let end = is_ending.then(|| Exit {
                    by_agent: true,
                    reason: "stopped".to_owned(),
                    ..Exit::default()
                });
                by_agent.entry(task.agent()).or_default().push(status(
                    task.id(),
                    task.sequence() + 1,
                    end.map(|exit| (TaskState::Killed, exit)),
                ));
            }
        }
        let moved = by_agent.values().map(Vec::len).sum();
        for (agent, statuses) in by_agent {
            self.apply(Command::RecordStatuses(RecordStatuses {
                agent,
                incarnation: 1,
                statuses,
            }));
        }
        moved
    }

    /// Ends a task as if its program had exited with this status.
    pub fn exit(&mut self, task: TaskId, code: i32) {
        let Some(known) = self.state.tasks.get(task) else {
            return;
        };
        let (agent, sequence) = (known.agent(), known.sequence() + 1);
        let exit = Exit {
            code: Some(code),
            reason: format!("exited with status {code}"),
            ..Exit::default()
        };
        let state = if code == 0 {
            TaskState::Finished
        } else {
            TaskState::Failed
        };
        let statuses = vec![status(task, sequence, Some((state, exit)))];
        self.apply(Command::RecordStatuses(RecordStatuses {
            agent,
            incarnation: 1,
            statuses,
        }));
    }

    /// Moves time.
    pub fn pass(&mut self, time: Millis) {
        self.now = self.now.after(time);
    }

    /// Runs rounds and lets agents obey, moving time by a second each time, until nothing has
    /// happened for a minute; at most an hour passes.
    ///
    /// # Errors
    /// It never comes to rest, or an invariant breaks.
    pub fn settle(&mut self) -> Result<()> {
        let mut quiet = 0;
        for _ in 0..3600 {
            let before = self.state.index;
            while self.round(None) > 0 {}
            self.agents_obey();
            while self.round(None) > 0 {}
            quiet = if self.state.index == before {
                quiet + 1
            } else {
                0
            };
            self.check()?;
            if quiet >= 60 {
                return Ok(());
            }
            self.pass(Millis(1000));
        }
        bail!("the cluster did not come to rest within an hour")
    }

    /// Checks what must hold at any time: the state's invariants, and that no round has overlooked
    /// a seat.
    ///
    /// # Errors
    /// Says what does not hold.
    pub fn check(&self) -> Result<()> {
        let broken = broken_invariants(&self.state);
        if !broken.is_empty() {
            bail!("invariants are broken: {}", broken.join("; "));
        }
        if !self.overlooked.is_empty() {
            let overlooked: Vec<&str> = self.overlooked.iter().map(String::as_str).collect();
            bail!("seats were overlooked: {}", overlooked.join("; "));
        }
        Ok(())
    }

    /// Shows what would happen to these objects.
    ///
    /// # Errors
    /// They are refused.
    pub fn preview(&self, objects: Vec<DesiredObject>, prune: Vec<ObjectKey>) -> Result<Preview> {
        let request = PlanRequest {
            source: "sim".to_owned(),
            objects,
            prune,
        };
        Ok(preview(
            &self.state,
            self.now,
            WallTime(self.now.0),
            self.host.as_ref(),
            &request,
        )?)
    }

    /// Names the content of the state.
    pub fn hash(&self) -> String {
        self.state.hash().to_string()
    }

    /// The tasks of an object that have not ended: name, agent and generation, in order.
    pub fn running(&self, key: &ObjectKey) -> Vec<(String, String, u64)> {
        let of_object = self
            .state
            .tasks
            .iter()
            .filter(|task| task.object() == key && !task.state().is_terminal());
        let mut tasks: Vec<_> = of_object
            .map(|task| (task.name(), task.agent().to_string(), task.generation()))
            .collect();
        tasks.sort();
        tasks
    }
}

/// Whether the log would take it.
fn fits(command: &Command) -> bool {
    let entry = Entry {
        principal: Principal::kernel(),
        at: ClusterTime(u64::MAX),
        wall: WallTime(u64::MAX),
        term: 1,
        client: None,
        since: None,
        command: command.clone(),
    };
    let bytes = kelson_kernel::codec::encode_entry(&entry, CLUSTER_VERSION);
    bytes.is_ok_and(|bytes| bytes.len() <= MAX_PAYLOAD_BYTES)
}

fn status(task: TaskId, sequence: u64, end: Option<(TaskState, Exit)>) -> TaskStatus {
    let is_running = end.is_none();
    TaskStatus {
        task,
        sequence,
        state: end.as_ref().map_or(TaskState::Running, |(state, _)| *state),
        health: if is_running {
            CheckState::Healthy
        } else {
            CheckState::Unknown
        },
        ready: is_running,
        pid: is_running.then_some(1),
        started_at: None,
        healthy_for: 0,
        exit: end.map(|(_, exit)| exit),
        isolation: String::new(),
        message: String::new(),
    }
}
