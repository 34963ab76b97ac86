//! Drift: what is, where it differs from what git asks without a commit.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::TaskId;
use crate::object::{DriftPolicy, ObjectKey, Origin};
use crate::principal::Principal;
use crate::time::WallTime;

/// Where the difference was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Plane {
    /// A kernel object differs from git.
    Specification,
    /// Tasks differ from the specification by someone's hand.
    Placement,
    /// What really runs differs: limits, processes, attributes.
    Agent,
}

/// Whether the difference is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DriftState {
    /// It is.
    Open,
    /// It is not any more; kept for a while.
    Healed,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldDrift {
    /// A JSON pointer into the object (`/spec/instances`), or a name on the agent (`cgroup/memory.limit_in_bytes`).
    pub path: String,
    /// `changed`, `added`, `removed`, `killed`, `missing`.
    pub op: String,
    /// What git asks.
    pub desired: Value,
    /// What is.
    pub live: Value,
}

/// One item of the drift report; (object, task, plane, paths) names it while it is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DriftItem {
    /// The object that differs.
    pub object: ObjectKey,
    /// The task that differs, on the planes placement and agent.
    pub task: Option<TaskId>,
    /// Where it was seen.
    pub plane: Plane,
    /// Whether it is still there.
    pub state: DriftState,
    /// What happens about it.
    pub policy: DriftPolicy,
    /// Where git says otherwise.
    pub origin: Option<Origin>,
    /// What differs.
    pub fields: Vec<FieldDrift>,
    /// Who did it; `unknown` where nobody can tell.
    pub changed_by: Principal,
    /// When it was first seen.
    pub first_seen: WallTime,
    /// When it was gone.
    pub healed_at: Option<WallTime>,
    /// How often it was seen anew.
    pub count: u32,
}

impl DriftItem {
    /// How many healed items the kernel keeps.
    pub const KEPT_HEALED: usize = 100;

    /// Whether `other` is about the same difference.
    pub fn is_same_as(&self, other: &DriftItem) -> bool {
        let paths = |item: &DriftItem| {
            item.fields
                .iter()
                .map(|field| field.path.clone())
                .collect::<Vec<_>>()
        };
        self.object == other.object
            && self.task == other.task
            && self.plane == other.plane
            && paths(self) == paths(other)
    }
}
