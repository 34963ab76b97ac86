//! Drift: what is, where it differs from what git asks without a commit.

use std::sync::Arc;

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

/// What was changed by hand since git's word was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ByHand {
    /// The specification that was accepted from git; the one in force is another.
    pub accepted: Arc<Value>,
    /// What was set and still differs, in the order in which it was set; at most
    /// [`ByHand::KEPT_FIELDS`], the newest.
    pub fields: Vec<HandField>,
}

/// A field that somebody set by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HandField {
    /// A JSON pointer, `/spec/instances`.
    pub path: String,
    /// Who set it.
    pub by: Principal,
    /// When.
    pub at: WallTime,
}

impl ByHand {
    /// For how many fields it is known who set them.
    pub const KEPT_FIELDS: usize = 100;

    /// Who set the field at a pointer, something in it or what it is in; the last one who did.
    pub fn who(&self, pointer: &str) -> Option<&Principal> {
        let is_about =
            |field: &&HandField| is_within(&field.path, pointer) || is_within(pointer, &field.path);
        self.fields
            .iter()
            .rev()
            .find(is_about)
            .map(|field| &field.by)
    }
}

/// Whether a JSON pointer is `other` or leads to something in it.
pub fn is_within(pointer: &str, other: &str) -> bool {
    pointer
        .strip_prefix(other)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldDrift {
    /// A JSON pointer into the object (`/spec/instances`), or a name on the agent
    /// (`cgroup/memory.limit_in_bytes`).
    pub path: String,
    /// `changed`, `added`, `removed`, `killed`.
    pub op: String,
    /// What git asks.
    pub desired: Value,
    /// What is.
    pub live: Value,
    /// Who set it, where that is somebody else than the item names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<Principal>,
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
    /// Who did it, the last one of several; `unknown` where nobody can tell.
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
    /// How many open items the kernel keeps.
    pub const KEPT_OPEN: usize = 10_000;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_who_set_a_field_or_what_it_is_in_is_named() {
        let set = |path: &str, by: &str| HandField {
            path: path.to_owned(),
            by: Principal::new(by, "cli"),
            at: WallTime(1),
        };
        let by_hand = ByHand {
            accepted: Arc::default(),
            fields: vec![
                set("/spec/instances", "alice"),
                set("/spec/update", "bob"),
                set("/spec/update/maxSurge", "carol"),
            ],
        };
        let who = |path: &str| by_hand.who(path).map(|by| by.actor.as_str());
        assert_eq!(who("/spec/instances"), Some("alice"));
        assert_eq!(who("/spec/update/maxSurge"), Some("carol"));
        assert_eq!(who("/spec/update/maxUnavailable"), Some("bob"));
        assert_eq!(who("/spec/update"), Some("carol"));
        assert_eq!(who("/spec/inst"), None);
    }
}
