//! Views: objects, agents, frameworks and events, as the kernel shows them to people, scripts and
//! watchers; one shape each for whoever writes it and whoever reads it.
//!
//! Readers leave aside what they do not know: a newer kernel may say more.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::agent::{AgentState, PortRange};
use crate::drift::ByHand;
use crate::framework::{Description, FaultCause, KindDescription, Limits, LogLevel};
use crate::id::{Digest, Index, Revision};
use crate::object::{Health, Lifecycle, Namespace, ObjectKey, Origin, Sync};
use crate::principal::Principal;
use crate::quantity::Resources;
use crate::reason::HoldReason;
use crate::report::{API_VERSION, LoopReport, LoopState, ObjectStatus, Rollout, TaskCounts};
use crate::request::Refusal;
use crate::spec::Spec;
use crate::time::WallTime;

/// A list with its kind: `{"apiVersion":"kelson/v1","kind":"AgentList","items":[…]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct List<T> {
    /// Always [`API_VERSION`].
    pub api_version: String,
    /// `AgentList`, `EventList`, …
    pub kind: String,
    /// What it lists.
    pub items: Vec<T>,
}

impl<T> List<T> {
    /// Makes a list of this kind.
    pub fn new(kind: &str, items: Vec<T>) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: kind.to_owned(),
            items,
        }
    }
}

/// Why an object's newest version is not tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuarantineView {
    /// The version.
    pub generation: u64,
    /// A sentence.
    pub reason: String,
}

/// An object as watchers get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRow {
    /// What names it.
    pub key: ObjectKey,
    /// `metadata.labels`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `metadata.lifecycle`.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// Where it stands in git.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// The specification as it is now, changes by hand included.
    pub spec: Spec,
    /// Grows with each change of the wish.
    #[serde(default)]
    pub generation: u64,
    /// The revision that it was last accepted from.
    #[serde(default)]
    pub revision: Option<Revision>,
    /// The source that owns it.
    #[serde(default)]
    pub source: Option<String>,
    /// Why its newest version is not tried again.
    #[serde(default)]
    pub quarantine: Option<QuarantineView>,
    /// Whether what is accepted is what git asks for.
    #[serde(default)]
    pub sync: Sync,
    /// How well it does.
    #[serde(default)]
    pub health: Health,
    /// One word.
    #[serde(default)]
    pub reason: Option<String>,
    /// A sentence.
    #[serde(default)]
    pub message: Option<String>,
    /// Where its rollout stands.
    #[serde(default)]
    pub rollout: Option<Rollout>,
    /// How many tasks there should be and are.
    #[serde(default)]
    pub tasks: TaskCounts,
    /// Who changed it last.
    #[serde(default)]
    pub changed_by: Option<Principal>,
    /// When.
    #[serde(default)]
    pub changed_at: WallTime,
    /// Whether no manifest wants it any more, and only its tasks have to end.
    #[serde(default)]
    pub is_removed: bool,
    /// The newest version that was good.
    #[serde(default)]
    pub good_generation: u64,
    /// What was changed by hand, and what was accepted from git then.
    #[serde(default)]
    pub by_hand: Option<Arc<ByHand>>,
    /// Names the specification as git had it written, where that is known.
    #[serde(default)]
    pub written: Option<Digest>,
}

/// An object as `kelson get -o json` prints it, GET /v1/object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectView {
    /// Always [`API_VERSION`].
    pub api_version: String,
    /// `Service`.
    pub kind: String,
    /// As in a manifest.
    pub metadata: Metadata,
    /// The specification as it is now, with all defaults.
    pub spec: Spec,
    /// How it does.
    pub status: ObjectStatus,
    /// Who changed it last.
    pub changed_by: Principal,
    /// RFC 3339.
    pub changed_at: String,
    /// The versions that are kept.
    pub history: Vec<GenerationView>,
    /// The newest version that was good.
    pub good_generation: u64,
    /// Why its newest version is not tried again.
    pub quarantine: Option<QuarantineView>,
}

/// `metadata` of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The name.
    pub name: String,
    /// The namespace.
    pub namespace: Namespace,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What happens when it is removed, or changed by hand.
    pub lifecycle: Lifecycle,
}

/// One version that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerationView {
    /// Its number.
    pub generation: u64,
}

/// One agent, GET /v1/agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentView {
    /// `agt_1`.
    pub id: String,
    /// The machine's name.
    pub name: String,
    /// Whether it can be reached.
    pub state: AgentState,
    /// The address under which its tasks are reached.
    pub address: String,
    /// The process id of the agent.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// What it has to give.
    pub resources: Resources,
    /// What its tasks take.
    pub used: Resources,
    /// The ports it has to give.
    pub ports: PortRange,
    /// Its labels.
    pub attributes: BTreeMap<String, String>,
    /// How many tasks it runs.
    pub tasks: u64,
    /// Grows with each start of the agent.
    pub incarnation: u64,
}

/// A framework as watchers get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrameworkRow {
    /// The name of its object.
    pub name: String,
    /// The namespace of its object.
    pub namespace: Namespace,
    /// Whether it came in the box.
    #[serde(default)]
    pub built_in: bool,
    /// The component that is in force.
    #[serde(default)]
    pub component: Option<Digest>,
    /// Why the newest component could not be put in force.
    #[serde(default)]
    pub fault: Option<String>,
    /// The component that the fault is about.
    #[serde(default)]
    pub fault_of: Option<Digest>,
    /// What kind of fault it is.
    #[serde(default, skip_serializing_if = "FaultCause::is_default")]
    pub fault_cause: FaultCause,
    /// Where its kinds may be used.
    #[serde(default)]
    pub namespaces: Vec<Namespace>,
    /// What it says about itself, once it is in force.
    #[serde(default)]
    pub description: Option<Description>,
}

impl FrameworkRow {
    /// A framework of which nothing is known but its object.
    pub fn new(key: &ObjectKey) -> Self {
        Self {
            name: key.name.clone(),
            namespace: key.namespace.clone(),
            built_in: false,
            component: None,
            fault: None,
            fault_of: None,
            fault_cause: FaultCause::default(),
            namespaces: Vec::new(),
            description: None,
        }
    }
}

/// One framework with its seats, GET /v1/frameworks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrameworkView {
    /// The name of its object.
    pub name: String,
    /// The namespace of its object.
    pub namespace: Namespace,
    /// Whether it came in the box.
    pub built_in: bool,
    /// The component that is in force.
    pub component: Option<Digest>,
    /// Its version, as it says itself.
    pub version: Option<String>,
    /// The kinds that it brings.
    pub kinds: Vec<String>,
    /// Where its kinds may be used.
    pub namespaces: Vec<Namespace>,
    /// Why the newest component could not be put in force.
    pub fault: Option<String>,
    /// What it may take.
    pub limits: Limits,
    /// One for each namespace that has objects of its kinds.
    pub seats: Vec<SeatView>,
}

/// One seat of a framework.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeatView {
    /// The namespace.
    pub namespace: Namespace,
    /// How many turns have counted.
    pub turn_no: u64,
    /// What it does now.
    pub state: SeatState,
    /// How many tasks it wants offers for.
    pub demand: u64,
    /// What its tasks take.
    pub used: Resources,
    /// What was refused of its last turn.
    pub refusals: Vec<String>,
    /// Why it is paused.
    pub fault: Option<String>,
    /// How often in a row its turns were void.
    pub failures: u32,
    /// When it is tried again, in milliseconds from now.
    pub retry_in_ms: Option<u64>,
}

/// What a seat does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SeatState {
    /// It waits after void turns.
    Paused,
    /// It wants offers.
    Waiting,
    /// It has nothing to do.
    Idle,
}

impl SeatState {
    /// As scripts see it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Waiting => "waiting",
            Self::Idle => "idle",
        }
    }
}

/// One thing that has happened, GET /v1/events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// The log entry that made it so.
    pub index: u64,
    /// RFC 3339.
    pub at: String,
    /// A short, stable name: `TaskStarted`.
    pub reason: String,
    /// The object it is about.
    pub object: Option<ObjectKey>,
    /// A sentence.
    pub message: String,
    /// Who asked for it.
    pub by: Principal,
}

/// One kind and whose it is, GET /v1/kinds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KindView {
    /// The framework's name.
    pub framework: String,
    /// What it says about the kind.
    pub kind: KindDescription,
}

/// Why an object is as it is, GET /v1/why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhyReport {
    /// The object.
    pub object: ObjectKey,
    /// Never empty.
    pub lines: Vec<Explanation>,
}

/// One link of the chain from an object to what it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// One word: `NoRoom`, `Paused`, `RolledBack`.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// One line that a scheduler wrote for its author, GET /v1/frameworks/logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLineView {
    /// The namespace of the seat that wrote it.
    pub namespace: Namespace,
    /// In which turn; a void turn's number comes again.
    pub turn_no: u64,
    /// When that turn began; RFC 3339.
    pub at: String,
    /// How grave it is.
    pub level: LogLevel,
    /// The line.
    pub text: String,
    /// Whether that turn was void.
    pub is_void: bool,
}

/// Which seats are to be tried again at once, POST /v1/frameworks/reset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResetRequest {
    /// The framework's name.
    pub framework: String,
    /// The seat's namespace; absent: all.
    #[serde(default)]
    pub namespace: Option<Namespace>,
}

/// The seats that are tried again, its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResetReport {
    /// `service@shop`.
    pub seats: Vec<String>,
}

/// What a framework's scheduler is asked, POST /v1/frameworks/query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueryRequest {
    /// The framework's name.
    pub framework: String,
    /// The seat's namespace.
    pub namespace: Namespace,
    /// One of the framework's own verbs.
    pub verb: String,
    /// Any JSON.
    #[serde(default)]
    pub arguments: Value,
}

/// What it says, its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryReport {
    /// Any JSON.
    pub answer: Value,
}

/// A member of a cluster and its state, GET /v1/info.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberInfo {
    /// The cluster's id.
    pub cluster: String,
    /// The member's version.
    pub version: String,
    /// The last entry that it has applied.
    pub index: Index,
    /// The term that it is in.
    pub term: u64,
    /// Names what the state says; members that agree have the same one.
    pub state_hash: String,
    /// Its number.
    pub member: u64,
    /// Where it keeps what it knows.
    pub data_dir: PathBuf,
    /// The repository that is followed by the reconciler beside it; absent: none, or it does not
    /// say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<PathBuf>,
}

/// Whether every loop of a member goes on, GET /readyz.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// Always [`API_VERSION`].
    pub api_version: String,
    /// Always `Readiness`.
    pub kind: String,
    /// Whether all are alive.
    pub ready: bool,
    /// All of them.
    pub loops: Vec<LoopReport>,
}

impl Readiness {
    /// A member with these loops.
    pub fn of(loops: Vec<LoopReport>) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: "Readiness".to_owned(),
            ready: loops.iter().all(|one| one.state == LoopState::Alive),
            loops,
        }
    }
}

/// What was changed by hand, `kelson set -o json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetAnswer {
    /// The object.
    pub object: ObjectKey,
    /// Its version after the last change.
    pub generation: Option<u64>,
    /// Each change, in the order of the command line.
    pub changes: Vec<SetChange>,
}

/// One field that was changed by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetChange {
    /// A JSON pointer, `/spec/instances`.
    pub path: String,
    /// What was there; null: nothing.
    pub before: Value,
    /// What is there; null: nothing.
    pub after: Value,
}

/// What was waited for and came, `kelson wait -o json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitAnswer {
    /// `healthy`, `synced`, `gone`.
    #[serde(rename = "for")]
    pub wanted: String,
    /// The revision that was waited for.
    pub revision: Option<String>,
    /// The state in which it was so.
    pub index: u64,
}

/// What was released, `kelson confirm -o json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfirmAnswer {
    /// The revision, as many digits of it as were given.
    pub revision: String,
    /// The hold that was released, where it was known before.
    pub hold: Option<HoldReason>,
    /// What still holds the revision.
    pub left: Vec<HoldReason>,
}

/// What was asked to end, `kelson stop -o json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StopAnswer {
    /// `tsk_7`.
    pub task: String,
}

/// What was made, `kelson init -o json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitAnswer {
    /// Its top folder.
    pub repository: PathBuf,
    /// Whether there was none.
    pub created: bool,
    /// The files that were written.
    pub written: Vec<String>,
    /// The files that were there and are left as they are.
    pub left: Vec<String>,
    /// Whether they were committed.
    pub committed: bool,
}

/// `kelson version -o json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionAnswer {
    /// `0.1.0`.
    pub version: String,
}

/// An answer that is no: every one over HTTP but those of POST /v1/requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorReport {
    /// Why.
    pub error: Refusal,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_answers_of_a_member_and_of_frameworks_keep_their_form() {
        let info = MemberInfo {
            cluster: "cls".to_owned(),
            version: "0.1.0".to_owned(),
            index: Index(88),
            term: 2,
            state_hash: "ab".to_owned(),
            member: 1,
            data_dir: "/data".into(),
            repository: Some("/repository".into()),
        };
        assert_eq!(
            json!(info),
            json!({"cluster": "cls", "version": "0.1.0", "index": 88, "term": 2,
                "stateHash": "ab", "member": 1, "dataDir": "/data", "repository": "/repository"})
        );
        let late = LoopReport {
            name: "rounds".to_owned(),
            state: LoopState::Late,
            doing: "waits".to_owned(),
            silent_ms: 5,
            limit_ms: None,
        };
        assert_eq!(
            json!(Readiness::of(vec![late])),
            json!({"apiVersion": "kelson/v1", "kind": "Readiness", "ready": false, "loops": [
                {"name": "rounds", "state": "late", "doing": "waits", "silentMs": 5, "limitMs": null}]})
        );
        let line = LogLineView {
            namespace: Namespace::default_namespace(),
            turn_no: 3,
            at: "2026-01-01T00:00:00Z".to_owned(),
            level: LogLevel::of(2),
            text: "no birds".to_owned(),
            is_void: true,
        };
        assert_eq!(
            json!(line),
            json!({"namespace": "default", "turnNo": 3, "at": "2026-01-01T00:00:00Z",
                "level": "warn", "text": "no birds", "isVoid": true})
        );
    }

    #[test]
    fn the_answers_of_verbs_keep_their_form() {
        let wait = WaitAnswer {
            wanted: "healthy".to_owned(),
            revision: None,
            index: 88,
        };
        assert_eq!(
            json!(wait),
            json!({"for": "healthy", "revision": null, "index": 88})
        );
        let confirm = ConfirmAnswer {
            revision: "abcdef0".to_owned(),
            hold: None,
            left: vec![HoldReason::PruneGuard],
        };
        assert_eq!(
            json!(confirm),
            json!({"revision": "abcdef0", "hold": null, "left": ["PruneGuard"]})
        );
        let set = SetAnswer {
            object: ObjectKey::new("Service", Namespace::default_namespace(), "web"),
            generation: Some(2),
            changes: vec![SetChange {
                path: "/spec/instances".to_owned(),
                before: json!(1),
                after: Value::Null,
            }],
        };
        assert_eq!(
            json!(set),
            json!({"object": {"kind": "Service", "namespace": "default", "name": "web"},
                "generation": 2, "changes": [{"path": "/spec/instances", "before": 1, "after": null}]})
        );
    }

    #[test]
    fn a_newer_kernel_may_say_more_of_a_refusal() {
        let said = json!({"error": {"code": format!("K{}", 9901), "message": "no", "hint": "", "more": 1}});
        let read: Option<ErrorReport> = serde_json::from_value(said).ok();
        assert_eq!(
            read.map(|it| it.error.to_string()),
            Some("K9901: no".to_owned())
        );
    }
}
