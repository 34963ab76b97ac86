//! The scheduler port: what the kernel hands to a scheduler for one call, and what it takes back.
//!
//! The rows are plain values; how they cross into a sandbox is the host's business
//! (`plugins/host`). The kernel never sees wasmtime.

use std::fmt;
use std::sync::Arc;

use imbl::OrdMap;
use kelson_model::framework::{Description, Limits, LogLevel};
use kelson_model::id::{AgentId, Digest, TaskId, WorkloadId};
use kelson_model::object::{Health, Namespace, ObjectKey, RolloutState};
use kelson_model::quantity::{Millis, Resources};
use kelson_model::task::{CheckState, StopReason, TaskState};
use kelson_model::time::ClusterTime;
use serde::{Deserialize, Serialize};

/// How long a host takes at most to compile a component; whoever waits for it is not late before.
pub const COMPILATION: Millis = Millis(900_000);

/// One framework in one namespace: the unit of turn, cursor, state, limits, back-off and fair
/// share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeatId {
    /// The framework's object.
    pub framework: ObjectKey,
    /// The namespace that it serves here.
    pub namespace: Namespace,
}

impl SeatId {
    /// What comes before every seat of a framework.
    pub(crate) fn first_of(framework: &ObjectKey) -> Self {
        Self {
            framework: framework.clone(),
            namespace: Namespace::first(),
        }
    }
}

impl fmt::Display for SeatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.framework.name, self.namespace)
    }
}

/// A workload as its scheduler sees it; see `workload-columns` of the treaty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadRow {
    /// Names it for ever.
    pub id: WorkloadId,
    /// The newest generation.
    pub generation: u64,
    /// The generation last declared good; 0: none.
    pub good_generation: u64,
    /// The generation that must not be tried; 0: none.
    pub quarantined_generation: u64,
    /// Content id of template 0 of `generation`.
    pub template_id: u64,
    /// Content id of template 0 of `good_generation`; 0: none.
    pub good_template_id: u64,
    /// When `generation` came to be.
    pub generation_since: ClusterTime,
    /// Place of the kind in the framework's description.
    pub kind: u32,
    /// It was removed; its tasks must end.
    pub is_gone: bool,
}

/// A task as its scheduler sees it; see `task-columns` of the treaty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRow {
    /// Names it for ever.
    pub id: TaskId,
    /// Whose it is.
    pub workload: WorkloadId,
    /// What it runs.
    pub generation: u64,
    /// Which template of the kind.
    pub template: u32,
    /// Content id of that template.
    pub template_id: u64,
    /// Which slot of the workload.
    pub slot: u32,
    /// Where.
    pub agent: AgentId,
    /// Where it stands.
    pub state: TaskState,
    /// What its health check says.
    pub health: CheckState,
    /// Whether it is ready for traffic.
    pub is_ready: bool,
    /// Whether it was asked to end.
    pub is_stop_asked: bool,
    /// Whether a person ended it.
    pub is_ended_by_hand: bool,
    /// Whether the memory limit killed it.
    pub is_out_of_memory: bool,
    /// Whether its agent or the machine died under it.
    pub is_agent_lost: bool,
    /// Whether it never ran because others had its ports.
    pub is_port_taken: bool,
    /// Whether the kernel has forgotten it.
    pub is_gone: bool,
    /// Since when it is in `state`.
    pub state_since: ClusterTime,
    /// Since when it is healthy without a break.
    pub healthy_since: Option<ClusterTime>,
    /// Its exit status.
    pub exit_code: Option<i32>,
    /// How often its slot was tried in a row, this task included; where its ports were taken: how
    /// often in a row they were.
    pub attempts: u32,
}

/// An agent as schedulers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRow {
    /// Names it; its number fits 32 bits.
    pub id: AgentId,
    /// Whether it can be reached.
    pub state: kelson_model::agent::AgentState,
    /// What is free on it.
    pub free: Resources,
    /// Its attributes, name and value.
    pub attributes: Arc<Vec<(String, String)>>,
}

/// Room for `count` tasks of one demand on one agent, for one turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The demand that it answers.
    pub key: u64,
    /// The workload of that demand.
    pub workload: WorkloadId,
    /// The generation of that demand.
    pub generation: u64,
    /// The template of that demand.
    pub template: u32,
    /// Where.
    pub agent: AgentId,
    /// For how many tasks.
    pub count: u32,
}

/// An operation of the last counted turn that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalRow {
    /// The group it was in.
    pub group: u32,
    /// The task, workload or slot that it named.
    pub subject: u64,
    /// Why, for people.
    pub reason: String,
}

/// Rows of one seat: all of them, or those that changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeatRows {
    /// By id.
    pub workloads: Vec<WorkloadRow>,
    /// By id.
    pub tasks: Vec<TaskRow>,
    /// By id.
    pub agents: Vec<AgentRow>,
}

/// Reads of one seat beyond the changed rows: made when they are asked for, from the state of the
/// turn.
pub trait SeatView: Send + Sync {
    /// All rows, for `restore`.
    fn all_rows(&self) -> SeatRows;
    /// The normalised specification of a generation of one of the seat's own workloads, as JSON
    /// text.
    fn spec(&self, workload: WorkloadId, generation: u64) -> Option<String>;
    /// The name of one of the seat's own workloads.
    fn name(&self, workload: WorkloadId) -> Option<String>;
    /// The attributes of an agent that may serve the seat or runs its tasks.
    fn attributes(&self, agent: AgentId) -> Option<Arc<Vec<(String, String)>>>;
    /// How one of the seat's own tasks ended, for people.
    fn end(&self, task: TaskId) -> Option<String>;
    /// Whether this operation would say of a workload what was said of it last.
    fn is_said(&self, status: &Op) -> bool;
    /// The demand that the seat holds.
    fn demand(&self) -> Arc<Vec<Demand>>;
}

/// Everything that one turn is a function of.
#[derive(Clone)]
pub struct TurnRequest {
    /// Which seat.
    pub seat: SeatId,
    /// The component; it must have been loaded.
    pub component: Digest,
    /// What it may use.
    pub limits: Limits,
    /// `spec.config` as JSON text.
    pub config: Arc<str>,
    /// The number of this turn; one more than the last that counted.
    pub turn_no: u64,
    /// Cluster time.
    pub now: ClusterTime,
    /// Below 2^53.
    pub seed: u64,
    /// The rows changed since the last counted turn.
    pub changed: SeatRows,
    /// The offers cut for this turn.
    pub offers: Vec<Offer>,
    /// What was refused of the last counted turn.
    pub refusals: Vec<RefusalRow>,
    /// The seat's key-value pairs.
    pub pairs: OrdMap<String, Arc<[u8]>>,
    /// Everything else that it may read.
    pub view: Arc<dyn SeatView>,
    /// Whether the instance is made anew for this turn and dropped after it.
    pub is_throw_away: bool,
}

/// One wish of a scheduler for a change, with its group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// 0: on its own; any other: accepted or refused with the rest of the group.
    pub group: u32,
    /// What is wished.
    pub op: Op,
}

/// What a scheduler may wish for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Op {
    /// Start a task from an offer of this turn.
    Launch {
        /// Whose.
        workload: WorkloadId,
        /// What it runs.
        generation: u64,
        /// Which template.
        template: u32,
        /// Which slot.
        slot: u32,
        /// Where; the host has looked it up from the offer.
        agent: AgentId,
    },
    /// End a task.
    Kill {
        /// Which.
        task: TaskId,
        /// Why.
        reason: StopReason,
    },
    /// Drop a terminal task.
    Forget {
        /// Which.
        task: TaskId,
    },
    /// Say how a workload does.
    SetStatus {
        /// Which.
        workload: WorkloadId,
        /// The generation it is about.
        generation: u64,
        /// How well.
        health: Health,
        /// Where its rollout stands.
        rollout: RolloutState,
        /// One word.
        reason: String,
        /// One sentence.
        message: String,
    },
    /// Declare a generation good.
    SetGoodGeneration {
        /// Which.
        workload: WorkloadId,
        /// The generation.
        generation: u64,
    },
    /// Give a generation up.
    Quarantine {
        /// Which.
        workload: WorkloadId,
        /// The generation.
        generation: u64,
        /// Why.
        reason: String,
    },
    /// An event for people.
    Note {
        /// About which workload.
        workload: WorkloadId,
        /// The text.
        text: String,
    },
}

/// How a demand wants its tasks placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Placement {
    /// Over as many agents as possible.
    #[default]
    Spread,
    /// On as few agents as possible.
    Pack,
}

/// What a scheduler says that it wants offers for; the shape is the template's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Demand {
    /// The scheduler's own name for it.
    pub key: u64,
    /// For which workload.
    pub workload: WorkloadId,
    /// Of which generation.
    pub generation: u64,
    /// From which template.
    pub template: u32,
    /// For how many tasks.
    pub count: u32,
    /// Spread or pack.
    pub placement: Placement,
    /// Higher first within the seat.
    pub priority: i32,
}

/// A write to the seat's own pairs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateWrite {
    /// As in [`Operation`].
    pub group: u32,
    /// 1 to 256 bytes.
    pub key: String,
    /// Absent: the pair goes.
    pub value: Option<Vec<u8>>,
}

/// What a turn that counts wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TurnOutcome {
    /// In the order in which they were asked for.
    pub operations: Vec<Operation>,
    /// In order.
    pub writes: Vec<StateWrite>,
    /// Absent: the demand stays as it was.
    pub demand: Option<Vec<Demand>>,
    /// Rows of demand that replace, end (`count` 0) or join the others, after `demand`.
    pub demand_changes: Vec<Demand>,
    /// The next turn at the latest.
    pub wake_at: Option<ClusterTime>,
    /// Lines for the author.
    pub log: Vec<(LogLevel, String)>,
    /// Fuel that was used; the same for the same input.
    pub fuel: u64,
    /// Whether it said more than a turn may, so that this is a part of it.
    pub is_full: bool,
}

/// Why a call was void. Nothing of it has happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TurnFault {
    /// It used up its fuel.
    #[error("out of fuel: the {call} call did not end within its limit")]
    OutOfFuel {
        /// `turn`, `restore`, …
        call: &'static str,
    },
    /// It used more time of a processor than the guard allows, which stands far above its fuel.
    #[error("the {call} call used more processor time than its guard allows")]
    TimedOut {
        /// `turn`, `restore`, …
        call: &'static str,
    },
    /// It asked for more memory than it may have and gave up.
    #[error("out of memory: the limit is {limit}")]
    OutOfMemory {
        /// The limit.
        limit: kelson_model::quantity::Bytes,
    },
    /// It trapped.
    #[error("trapped in {call}: {message}")]
    Trapped {
        /// `turn`, `restore`, …
        call: &'static str,
        /// What the sandbox said.
        message: String,
    },
    /// It returned an error.
    #[error("{call} returned an error: {message}")]
    Failed {
        /// `turn`, `restore`, …
        call: &'static str,
        /// What it said, cut at 1,000 bytes.
        message: String,
    },
    /// Its outcome broke the treaty: columns of unequal length, an offer that is not of this turn,
    /// one thing that is larger than a turn.
    #[error("broke the treaty: {message}")]
    Malformed {
        /// What exactly.
        message: String,
    },
}

/// Why a component cannot be used at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadFault {
    /// It is no WASM component.
    #[error("is not a WebAssembly component: {0}")]
    NotAComponent(String),
    /// Compiling it takes more than is allowed.
    #[error("takes too much to compile: {0}")]
    TooCostly(String),
    /// The machine did not compile it; another time it may.
    #[error("could not be compiled: {0}")]
    NotCompiled(String),
    /// It imports something that the sandbox does not give (clocks, randomness, files, …).
    #[error("imports {0}, which the sandbox does not give")]
    ForbiddenImport(String),
    /// It does not export `kelson:scheduler/scheduler@0.1.0`, or with other types.
    #[error("does not export the scheduler interface: {0}")]
    MissingExport(String),
    /// `describe` trapped, ended in an error or returned something unreadable.
    #[error("describe failed: {0}")]
    BadDescription(String),
}

/// One line that a scheduler wrote for its author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Who wrote it.
    pub seat: SeatId,
    /// In which turn; a void turn's number comes again.
    pub turn_no: u64,
    /// When that turn began.
    pub at: ClusterTime,
    /// How grave it is.
    pub level: LogLevel,
    /// The line.
    pub text: String,
    /// Whether that turn was void, so that nothing but its lines is left of it.
    pub is_void: bool,
}

/// Something that a component says is wrong with a specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A JSON pointer into the specification.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
}

/// A host of scheduler components. Calls block; different seats may be called at the same time from
/// different threads.
pub trait SchedulerHost: Send + Sync + 'static {
    /// Compiles a component (or takes it from the cache) and asks it to describe itself. Loading
    /// twice is cheap.
    ///
    /// # Errors
    /// Says why the component cannot be used.
    fn load(
        &self,
        digest: &Digest,
        component: &[u8],
        limits: &Limits,
    ) -> Result<Description, LoadFault>;

    /// Asks a loaded component about one specification (JSON text).
    ///
    /// # Errors
    /// The call was void, or the component is not loaded.
    fn validate(
        &self,
        component: &Digest,
        kind: &str,
        spec: &str,
    ) -> Result<Vec<Problem>, TurnFault>;

    /// Carries out one turn; restores an instance first where there is none.
    ///
    /// # Errors
    /// The turn was void; the instance is dropped.
    fn turn(&self, request: &TurnRequest) -> Result<TurnOutcome, TurnFault>;

    /// Asks a read-only verb on a throw-away instance; JSON text in and out.
    ///
    /// # Errors
    /// The call was void, or the component is not loaded.
    fn query(
        &self,
        request: &TurnRequest,
        verb: &str,
        arguments: &str,
    ) -> Result<String, TurnFault>;

    /// The newest lines that the schedulers of a framework wrote, in one namespace or in all,
    /// oldest first. They are kept in memory only.
    fn log_lines(&self, framework: &ObjectKey, namespace: Option<&Namespace>) -> Vec<LogLine> {
        let _nothing_is_kept = (framework, namespace);
        Vec::new()
    }

    /// Says that the last turn of this seat did not become true (void in apply, lost, a new
    /// leader): its instance is dropped.
    fn drop_instance(&self, seat: &SeatId);

    /// Begins turns on a fork of the state, for a preview.
    fn fork(&self) -> Box<dyn ForkTurns + '_>;
}

/// Turns on a fork of the state. Their instances are the fork's own: they stay from turn to turn as
/// those of the cluster do, and end
/// with it.
pub trait ForkTurns {
    /// Carries out one turn; restores an instance first where there is none.
    ///
    /// # Errors
    /// The turn was void; the instance is dropped.
    fn turn(&self, request: &TurnRequest) -> Result<TurnOutcome, TurnFault>;
}
