//! Sources: where manifests come from, and what the reconciler last said about them.

use serde::{Deserialize, Serialize};

use crate::id::Revision;
use crate::object::{ObjectKey, Sync};

/// One thing that is wrong with a manifest, a commit or a request; every one has a page under docs/errors.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// `K0102`.
    pub code: String,
    /// Relative to the repository's root; empty where no file is at fault.
    pub file: String,
    /// Begins at 1; 0 where no place is at fault.
    pub line: u32,
    /// Begins at 1, in characters; 0 where no place is at fault.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// The line of the file, cut at 200 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source_line: String,
}

/// Why a revision is not applied although it could be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Held {
    /// `PruneGuard`, `PruneConfirm`, `ForcePush`, `BranchMissing`, `RepositoryMissing`, `Unborn`, `EmptyTree`.
    pub reason: String,
    /// The command that releases it, where one does.
    pub confirm: Option<String>,
    /// A sentence for people.
    pub message: String,
    /// The objects that would go.
    #[serde(default)]
    pub objects: Vec<ObjectKey>,
}

/// What the kernel keeps of one source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceRecord {
    /// `dev`.
    pub name: String,
    /// The branch that is followed.
    pub branch: String,
    /// The newest revision that was seen.
    pub observed: Option<Revision>,
    /// The revision whose objects are accepted.
    pub applied: Option<Revision>,
    /// Whether the two agree and nothing is at fault.
    pub sync: Sync,
    /// Why `observed` is not applied.
    pub held: Option<Held>,
    /// What is wrong with `observed`; at most 1,000.
    #[serde(default)]
    pub errors: Vec<Fault>,
    /// A revision that a person has released from its hold.
    pub confirmed: Option<Revision>,
}
