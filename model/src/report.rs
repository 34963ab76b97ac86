//! Reports: the JSON that scripts rely on. The shapes are a contract; see docs/reference/json.md.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::member::MemberRow;
use crate::object::{Health, ObjectKey, Origin, RolloutState, Sync};
use crate::source::{Fault, Held, Kept};

/// `apiVersion` of every manifest and every report.
pub const API_VERSION: &str = "kelson/v1";

/// `kelson status -o json`, GET /v1/status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// Always [`API_VERSION`].
    pub api_version: String,
    /// Always `Status`.
    pub kind: String,
    /// The state that this is about.
    pub index: u64,
    /// The source; absent before one has reported.
    pub source: Option<SourceStatus>,
    /// One row an object.
    pub objects: Vec<ObjectStatus>,
    /// Loops of the kernel that are late or have ended; none while all is well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late: Vec<LoopReport>,
    /// The members of the kernel, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberRow>,
}

/// How a loop of the kernel does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoopReport {
    /// `rounds`, `leases`, `reconciler`, …
    pub name: String,
    /// Whether it goes on.
    pub state: LoopState,
    /// What it does or waits for.
    pub doing: String,
    /// For how long it has not been heard of.
    pub silent_ms: u64,
    /// How long it may be silent; absent: as long as what it waits for takes.
    pub limit_ms: Option<u64>,
}

impl std::fmt::Display for LoopReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.state {
            LoopState::Alive => write!(f, "the loop {} {}", self.name, self.doing),
            LoopState::Late => write!(
                f,
                "the loop {} has been silent for {} s; it {}",
                self.name,
                self.silent_ms / 1000,
                self.doing
            ),
            LoopState::Blocked => write!(f, "the loop {} is blocked: {}", self.name, self.doing),
            LoopState::Ended => write!(f, "the loop {} has ended", self.name),
        }
    }
}

/// Whether a loop goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LoopState {
    /// It was heard of in time.
    Alive,
    /// It should have been heard of by now.
    Late,
    /// It goes on and cannot do its work; what it does says why.
    Blocked,
    /// It has ended, which it never should.
    Ended,
}

/// The source in a status report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// `dev`.
    pub name: String,
    /// The branch that is followed.
    pub branch: String,
    /// 40 hex digits.
    pub observed: Option<String>,
    /// Who made the commit, as git says.
    #[serde(default)]
    pub observed_by: Option<String>,
    /// 40 hex digits.
    pub applied: Option<String>,
    /// Who made the commit, as git says.
    #[serde(default)]
    pub applied_by: Option<String>,
    /// Whether the two agree.
    pub sync: Sync,
    /// The first reason why they do not.
    pub held: Option<Held>,
    /// All of them; each is released by itself.
    #[serde(default)]
    pub holds: Vec<Held>,
    /// What is wrong with `observed`.
    pub errors: Vec<Fault>,
    /// Objects that are left as they are although `observed` asks for something else, or that wait.
    #[serde(default)]
    pub kept: Vec<Kept>,
    /// How many objects wait for a framework beside those in `kept`.
    #[serde(default, skip_serializing_if = "crate::source::is_zero")]
    pub waiting_more: u32,
}

/// One object in a status report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStatus {
    /// `Service`.
    pub kind: String,
    /// `shop`.
    pub namespace: String,
    /// `web`.
    pub name: String,
    /// Grows with each change of the object's wish.
    pub generation: u64,
    /// The revision that it was last accepted from.
    pub revision: Option<String>,
    /// Whether what is accepted is what git asks for and what runs is what is accepted.
    pub sync: Sync,
    /// How well it does.
    pub health: Health,
    /// One word: `RolledBack`, `NoOffers`.
    pub reason: Option<String>,
    /// A sentence.
    pub message: Option<String>,
    /// Where it stands in git.
    pub origin: Option<Origin>,
    /// How many tasks there should be and are.
    pub tasks: TaskCounts,
    /// Where its rollout stands; absent for objects that have none.
    pub rollout: Option<Rollout>,
    /// What the kernel itself says of it, where it does not leave that to its scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
}

/// What the kernel itself says of an object. Whoever decides, decides by this: `reason` may be any
/// word that a scheduler has chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// No manifest wants it any more; its tasks have to end.
    Removed,
    /// No framework in force handles its kind.
    Unhandled,
    /// It is a framework whose newest specification does not come into force without somebody doing
    /// something.
    Refused,
}

/// How many tasks there should be and are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskCounts {
    /// Wished.
    pub desired: u64,
    /// Running.
    pub running: u64,
    /// Running and healthy.
    pub healthy: u64,
}

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// The state.
    pub state: RolloutState,
}

/// `kelson tasks -o json`, GET /v1/tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskList {
    /// Always [`API_VERSION`].
    pub api_version: String,
    /// Always `TaskList`.
    pub kind: String,
    /// The state that this is about.
    pub index: u64,
    /// One row a task.
    pub items: Vec<TaskRow>,
}

/// One task in a task list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskRow {
    /// `tsk_1`.
    pub id: String,
    /// `web.2`: the workload's name and the slot.
    pub name: String,
    /// Whose task it is.
    pub workload: ObjectKey,
    /// The generation that it runs.
    #[serde(default)]
    pub generation: u64,
    /// `agt_1`.
    #[serde(default)]
    pub agent: String,
    /// `running`.
    pub state: crate::task::TaskState,
    /// `healthy`.
    #[serde(default)]
    pub health: crate::task::CheckState,
    /// Whether it is ready for traffic.
    #[serde(default)]
    pub ready: bool,
    /// The process id of the program.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Where its ports are reached.
    #[serde(default)]
    pub address: Option<String>,
    /// Port numbers by name.
    #[serde(default)]
    pub ports: BTreeMap<String, u16>,
    /// RFC 3339.
    #[serde(default)]
    pub started_at: Option<String>,
    /// How it ended.
    #[serde(default)]
    pub exit: ExitRow,
    /// Whether its agent sent the signal that ended it.
    #[serde(default)]
    pub exit_by_agent: bool,
    /// Whether it has ended for good.
    #[serde(default)]
    pub is_ended: bool,
    /// Whether, why and by whom it is asked to end.
    #[serde(default)]
    pub stop: Option<StopRow>,
    /// What is not enforced for it.
    #[serde(default)]
    pub isolation: Option<String>,
    /// A sentence about what it does or waits for.
    #[serde(default)]
    pub message: Option<String>,
}

/// Why and by whom a task is asked to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StopRow {
    /// Why.
    pub reason: crate::task::StopReason,
    /// Who asked.
    pub by: crate::principal::Principal,
}

/// How a task ended; all null while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitRow {
    /// The exit status.
    pub code: Option<i32>,
    /// The signal's number.
    pub signal: Option<i32>,
    /// Whether the memory limit killed it.
    pub oom: bool,
    /// A sentence.
    pub reason: Option<String>,
}

/// `kelson drift -o json`, GET /v1/drift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftReport {
    /// Always [`API_VERSION`].
    pub api_version: String,
    /// Always `DriftReport`.
    pub kind: String,
    /// The revision that was compared with.
    pub revision: Option<String>,
    /// How many items there are.
    pub summary: DriftSummary,
    /// Open items first, then healed ones, newest first.
    pub items: Vec<DriftRow>,
}

/// How many items there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftSummary {
    /// Still there.
    pub open: u64,
    /// Not any more.
    pub healed: u64,
}

/// One item of a drift report: [`crate::drift::DriftItem`] with ids and times as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftRow {
    /// The object.
    pub object: ObjectKey,
    /// `tsk_1`.
    pub task: Option<String>,
    /// Where it was seen.
    pub plane: crate::drift::Plane,
    /// Whether it is still there.
    pub state: crate::drift::DriftState,
    /// What happens about it.
    pub policy: crate::object::DriftPolicy,
    /// Where git says otherwise.
    pub origin: Option<Origin>,
    /// What differs.
    pub fields: Vec<crate::drift::FieldDrift>,
    /// Who did it.
    pub changed_by: crate::principal::Principal,
    /// RFC 3339.
    pub first_seen: String,
    /// RFC 3339.
    pub healed_at: Option<String>,
    /// How often it was seen anew.
    pub count: u32,
}

/// `kelson validate -o json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Validation {
    /// Always [`API_VERSION`].
    pub api_version: String,
    /// Always `Validation`.
    pub kind: String,
    /// Whether there is no error.
    pub valid: bool,
    /// How many files were read.
    pub files: u64,
    /// How many objects they hold.
    pub objects: u64,
    /// All errors at once.
    pub errors: Vec<Fault>,
    /// What is allowed, and hardly ever meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Fault>,
}
