//! Drift: what is, where it differs from what git asks without a commit.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{Digest, Digester, TaskId};
use crate::object::{DriftPolicy, ObjectKey, Origin};
use crate::principal::Principal;
use crate::spec::Spec;
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
    pub accepted: Spec,
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

/// Names the objects that were changed by hand among those that are given, each at the generation
/// that the last change came to.
pub fn hands<'a>(changed: impl IntoIterator<Item = (&'a ObjectKey, u64)>) -> Digest {
    let mut digest = Digester::default();
    for (key, generation) in changed.into_iter().collect::<BTreeSet<_>>() {
        digest.update(format!("{key}@{generation}\n").as_bytes());
    }
    digest.finish()
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

/// One item of the drift report. Object, task, plane and paths name it while it is open; on the
/// specification plane the paths may change as long as one stays: see [`DriftItem::is_same_as`].
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
    /// How many bytes those together may have that are not of the agent plane, as JSON: the ledger
    /// travels as one row.
    pub const KEPT_OPEN_BYTES: usize = 2 << 20;

    /// Whether `other` is about the same difference. On the specification plane it is while the two
    /// have a field in common: an object that somebody goes on changing by hand is one difference.
    pub fn is_same_as(&self, other: &DriftItem) -> bool {
        let is_about_the_same =
            self.object == other.object && self.task == other.task && self.plane == other.plane;
        let goes_on =
            || self.plane == Plane::Specification && self.paths().any(|path| other.names(path));
        is_about_the_same && (self.paths().eq(other.paths()) || goes_on())
    }

    /// Whether each field that differs here does so in `other`.
    pub fn is_covered_by(&self, other: &DriftItem) -> bool {
        self.paths().all(|path| other.names(path))
    }

    fn names(&self, path: &str) -> bool {
        self.paths().any(|known| known == path)
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.path.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Namespace;

    #[test]
    fn the_last_one_who_set_a_field_or_what_it_is_in_is_named() {
        let set = |path: &str, by: &str| HandField {
            path: path.to_owned(),
            by: Principal::new(by, "cli"),
            at: WallTime(1),
        };
        let by_hand = ByHand {
            accepted: Spec::default(),
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

    #[test]
    fn a_difference_goes_on_while_a_field_of_it_does_on_the_specification_plane_only() {
        let item = |plane, paths: &[&str]| DriftItem {
            object: ObjectKey::new("Service", Namespace::default_namespace(), "web"),
            task: None,
            plane,
            state: DriftState::Open,
            policy: DriftPolicy::Report,
            origin: None,
            fields: paths
                .iter()
                .map(|path| FieldDrift {
                    path: (*path).to_owned(),
                    op: "changed".to_owned(),
                    desired: Value::Null,
                    live: Value::Null,
                    changed_by: None,
                })
                .collect(),
            changed_by: Principal::new("alice", "cli"),
            first_seen: WallTime(1),
            healed_at: None,
            count: 1,
        };
        let two = item(Plane::Specification, &["/spec/a", "/spec/b"]);
        assert!(two.is_same_as(&item(Plane::Specification, &["/spec/b", "/spec/c"])));
        assert!(!two.is_same_as(&item(Plane::Specification, &["/spec/c"])));
        assert!(!two.is_same_as(&item(Plane::Agent, &["/spec/a", "/spec/b"])));
        let agent = item(Plane::Agent, &["a", "b"]);
        assert!(agent.is_same_as(&agent));
        assert!(!agent.is_same_as(&item(Plane::Agent, &["a"])));
        assert!(item(Plane::Agent, &["a"]).is_covered_by(&agent));
        assert!(!agent.is_covered_by(&item(Plane::Agent, &["a"])));
    }
}
