//! Objects: what git asks for, as the kernel keeps it.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{Digest, ParseIdError};
use crate::spec::Spec;

/// A namespace: a path of names, `shop/checkout`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Namespace(String);

/// Whether `name` is a valid name: `[a-z0-9-]`, 1 to 63 characters.
pub fn is_valid_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

impl Namespace {
    /// Deepest path.
    pub const MAX_DEPTH: usize = 8;

    /// The namespace of objects that name none.
    pub fn default_namespace() -> Self {
        Self("default".to_owned())
    }

    /// What comes before every namespace, and is none.
    pub fn first() -> Self {
        Self(String::new())
    }

    /// The namespaces that this one is within, itself included, the widest first.
    pub fn around(&self) -> impl Iterator<Item = &str> + '_ {
        let ends = self.0.match_indices('/').map(|(end, _)| end);
        let ends = ends.chain([self.0.len()]);
        ends.filter_map(|end| self.0.get(..end))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `self` is `other` or below it.
    pub fn is_within(&self, other: &Namespace) -> bool {
        self.0
            .strip_prefix(&other.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for Namespace {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() <= Self::MAX_DEPTH && parts.iter().all(|part| is_valid_name(part)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseIdError {
                text: text.chars().take(80).collect(),
                wanted: "a namespace: names of [a-z0-9-] with / between them, such as shop/checkout",
            })
        }
    }
}

impl TryFrom<String> for Namespace {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl Borrow<str> for Namespace {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<Namespace> for String {
    fn from(namespace: Namespace) -> Self {
        namespace.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What names an object: no two objects of a cluster share one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectKey {
    /// `Service`, `Framework`, or a kind that a framework brings; upper camel case.
    pub kind: String,
    /// The namespace.
    pub namespace: Namespace,
    /// `[a-z0-9-]`, 1 to 63 characters.
    pub name: String,
}

impl ObjectKey {
    /// Makes a key.
    pub fn new(kind: &str, namespace: Namespace, name: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            namespace,
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Where in the commit an object stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Origin {
    /// Relative to the repository's root.
    pub file: String,
    /// Begins at 1.
    pub line: u32,
    /// Begins at 1; absent in an object's origin, present in a field's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

/// What happens to an object that no manifest wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PrunePolicy {
    /// It goes.
    #[default]
    Auto,
    /// It goes once a person has confirmed.
    Confirm,
    /// It stays.
    Never,
}

/// What happens to a change that was made by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DriftPolicy {
    /// It is undone.
    #[default]
    Enforce,
    /// It is reported and left.
    Report,
}

/// `metadata.lifecycle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lifecycle {
    /// What happens when no manifest wants the object any more.
    #[serde(default)]
    pub prune: PrunePolicy,
    /// What happens when the object is changed by hand.
    #[serde(default)]
    pub drift: DriftPolicy,
}

/// One object as a revision asks for it: defaults applied, quantities canonical, files pinned by
/// digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DesiredObject {
    /// What names it.
    pub key: ObjectKey,
    /// `metadata.labels`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `metadata.lifecycle`.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// The normalised specification, a JSON object.
    pub spec: Spec,
    /// Where its document begins.
    pub origin: Origin,
    /// Names the specification as it was written, before defaults, with the contents of the files
    /// that it names; absent where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Digest>,
}

impl DesiredObject {
    /// The largest object, as JSON: what fits into one entry of the kernel's log with room to
    /// spare.
    pub const MAX_BYTES: usize = 160 << 10;
}

/// How well an object does what it is for: an axis of its own beside [`Sync`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Health {
    /// As it should be.
    Healthy,
    /// On its way.
    Progressing,
    /// Not as it should be, and not on its way.
    Degraded,
    /// Held by a person.
    Suspended,
    /// Desired, and not there.
    Missing,
    /// Nobody has said yet.
    #[default]
    Unknown,
}

/// Whether what is accepted is what git asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Sync {
    /// It is.
    Synced,
    /// It is not.
    OutOfSync,
    /// Nobody has looked yet.
    #[default]
    Unknown,
}

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RolloutState {
    /// Tasks are being replaced or started.
    #[default]
    Progressing,
    /// All tasks run the newest generation.
    Complete,
    /// The newest generation was given up; the one before runs.
    RolledBack,
    /// The newest generation failed and waits for a person.
    Paused,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Sync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
