//! Requests: what a client may ask of the kernel, and what it answers.
//!
//! They travel as JSON, over gRPC and over HTTP alike; the kernel turns each into one command.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::code::ToldCode;
use crate::drift::DriftItem;
use crate::id::{Digest, Index, Revision, TaskId};
use crate::object::{DesiredObject, Namespace, ObjectKey, Sync};
use crate::principal::Principal;
use crate::quantity::Millis;
use crate::source::{Fault, Held, Kept};
use crate::time::ClusterTime;

/// A request with who asks, and the (client, sequence) by which a repeated one is carried out once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Submission {
    /// A random name of the client's own, at most 64 bytes.
    pub client: String,
    /// Counts up with each request of the client, from 1.
    pub sequence: u64,
    /// When the client began, as a member told it before its first request.
    pub since: ClusterTime,
    /// Who asks.
    pub principal: Principal,
    /// What is asked.
    pub request: Request,
}

impl Submission {
    /// How many requests of one client may be under way at once: answers of as many are kept, and
    /// they may come in any order.
    pub const WINDOW: u64 = 64;
}

/// What a client is told before its first request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Beginning {
    /// The cluster.
    pub cluster: String,
    /// Goes into each submission of the client; by it a client that was forgotten is told apart
    /// from one that never asked.
    pub since: ClusterTime,
}

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Request {
    /// Lays one part of a revision's objects beside the state; changes nothing that runs.
    Stage(Stage),
    /// Flips to the staged objects of a revision: objects, inventory and revision in one step.
    Accept(Accept),
    /// Says what the reconciler sees of its source.
    ReportSource(SourceReport),
    /// Replaces the open drift items of a source and adds healed ones.
    RecordDrift(DriftReportUpdate),
    /// Changes one field of an object by hand.
    SetField(SetField),
    /// Ends one task by hand.
    StopTask(StopTask),
    /// Releases one hold of a revision.
    Confirm(Confirm),
    /// Sets the weight of a namespace.
    SetNamespace(SetNamespace),
}

/// One part of a revision's objects; small enough for one log entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stage {
    /// The source's name.
    pub source: String,
    /// The revision.
    pub revision: Revision,
    /// Begins at 0. Part 0 drops whatever was staged for this source before.
    pub part: u32,
    /// The objects that are new or changed; unchanged ones need not be staged.
    pub objects: Vec<DesiredObject>,
    /// Objects that no manifest wants any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prune: Vec<ObjectKey>,
}

impl Stage {
    /// Most objects that one revision may set, and most that it may take away.
    pub const MAX_OBJECTS: usize = 200_000;
}

/// Flips to a staged revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Accept {
    /// The source's name.
    pub source: String,
    /// The revision.
    pub revision: Revision,
    /// The revision that the plan was made against; another one in the state refuses the flip.
    pub previous: Option<Revision>,
    /// How many parts were staged.
    pub parts: u32,
    /// Objects that no manifest wants any more, beside those that were staged.
    pub prune: Vec<ObjectKey>,
    /// How many staged objects there are in all, to detect a lost part.
    pub objects: u32,
    /// How many objects were staged to go.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub going: u32,
    /// The holds that a person has released and that the plan relies on, by their digests; one that
    /// has expired refuses the flip.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub released: Vec<Digest>,
    /// Names what the plan saw changed by hand of what it sets and takes away, see
    /// [`crate::drift::hands`];
    /// where the state has another, the flip is refused, so that nothing is overwritten that
    /// nobody has told of. Absent: nobody looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hands: Option<Digest>,
}

/// What the reconciler sees of its source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceReport {
    /// The source's name.
    pub source: String,
    /// The branch that is followed.
    pub branch: String,
    /// The newest revision.
    pub observed: Option<Revision>,
    /// The reconciler's verdict; the kernel adds what it knows (rolled back objects).
    pub sync: Sync,
    /// The only hold, from clients that know of one.
    #[serde(default)]
    pub held: Option<Held>,
    /// Why `observed`, or a part of it, is not applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Held>,
    /// What is wrong with `observed`.
    pub errors: Vec<Fault>,
    /// Over which time the prune guard counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune_window: Option<Millis>,
    /// What the plan for `observed` leaves as it is; of very many, the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
    /// How many objects wait for a framework beside those in `kept`.
    #[serde(default, skip_serializing_if = "crate::source::is_zero")]
    pub waiting_more: u32,
    /// Who made `observed`, as git says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_by: Option<String>,
    /// Who made the revision that is applied, as git says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_by: Option<String>,
}

/// The drift of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DriftReportUpdate {
    /// The source's name.
    pub source: String,
    /// All open items, and those that have just healed.
    pub items: Vec<DriftItem>,
    /// Whether these are only the items that are news: what is known of others stays.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_delta: bool,
}

/// Changes one field of an object by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetField {
    /// The object.
    pub object: ObjectKey,
    /// A JSON pointer, `/spec/instances`.
    pub path: String,
    /// The new value; null removes.
    pub value: Value,
}

/// Ends one task by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StopTask {
    /// The task.
    pub task: TaskId,
}

/// Releases one hold of a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Confirm {
    /// The source's name; empty: the source that holds this revision.
    #[serde(default)]
    pub source: String,
    /// The revision, or at least seven of its first digits.
    pub revision: String,
    /// Which hold: its reason, or its digest, which no longer fits once the hold is about something
    /// else. Empty: the only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hold: String,
}

/// Sets the weight of a namespace in fair share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetNamespace {
    /// The namespace.
    pub namespace: Namespace,
    /// 1 to 1,000,000; a namespace without one weighs 1.
    pub weight: u32,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Answer {
    /// It is done, as of this state.
    Done {
        /// The log entry that did it.
        index: Index,
        /// The generation that came of it, where an object changed.
        generation: Option<u64>,
    },
    /// It is not, and nothing has changed.
    Refused(Refusal),
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{code}: {message}")]
pub struct Refusal {
    /// What kind of thing is wrong; has a page under docs/errors.
    pub code: ToldCode,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}
