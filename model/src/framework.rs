//! Frameworks: what a scheduler component says about itself and what it may use.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::Digest;
use crate::object::Namespace;
use crate::quantity::Bytes;

/// What `describe` of a scheduler component returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Description {
    /// The framework's name, `service`.
    pub name: String,
    /// The component's version, for people.
    pub version: String,
    /// The manifest kinds that it handles.
    #[serde(default)]
    pub kinds: Vec<KindDescription>,
    /// A JSON Schema for `spec.config`; absent: no configuration is taken.
    #[serde(default)]
    pub config_schema: Option<Value>,
}

/// One kind of a framework.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KindDescription {
    /// Upper camel case, `Service`.
    pub kind: String,
    /// A JSON Schema (draft 2020-12) of `spec`, with `default`s, and the formats `cpus`, `bytes`,
    /// `duration`, `port-name`.
    pub schema: Value,
    /// JSON pointers into the specification where task templates stand; a launch names one by its
    /// place in this list.
    pub templates: Vec<String>,
    /// A JSON pointer to the wished number of tasks, for `status`; absent: unknown.
    #[serde(default)]
    pub count: Option<String>,
}

/// What a component may use; each a limit per turn or per seat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Linear memory of one instance.
    #[serde(default = "memory")]
    pub memory: Bytes,
    /// Operations of one turn.
    #[serde(default = "operations")]
    pub operations: u32,
    /// Bytes of state written in one turn.
    #[serde(default = "state_writes")]
    pub state_writes: Bytes,
    /// Bytes of state of one seat.
    #[serde(default = "state")]
    pub state: Bytes,
}

fn memory() -> Bytes {
    Bytes(64 << 20)
}
fn operations() -> u32 {
    10_000
}
fn state_writes() -> Bytes {
    Bytes(1 << 20)
}
fn state() -> Bytes {
    Bytes(64 << 20)
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: memory(),
            operations: operations(),
            state_writes: state_writes(),
            state: state(),
        }
    }
}

/// The specification of `kind: Framework`, normalised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FrameworkSpec {
    /// The component's file in the same commit.
    pub component: ComponentRef,
    /// The sha256 of the component; filled in by the reconciler.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// The namespaces that it serves, and those below them; empty: its own.
    #[serde(default)]
    pub namespaces: Vec<Namespace>,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// Handed to the component as JSON.
    #[serde(default)]
    pub config: Value,
}

/// Where a component comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComponentRef {
    /// A file of the same commit, relative to the repository's root.
    pub path: String,
}
