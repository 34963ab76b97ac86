//! What a framework says about itself.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What [`crate::Scheduler::describe`] returns.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Description {
    /// The framework's name, `service`.
    pub name: String,
    /// The component's version, for people.
    pub version: String,
    /// The manifest kinds that it handles; a workload's `kind` is a place in this list.
    pub kinds: Vec<Kind>,
    /// A JSON Schema for `spec.config` of the framework; absent: it takes no configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<Value>,
}

/// One manifest kind of a framework.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kind {
    /// Upper camel case, `Service`.
    pub kind: String,
    /// A JSON Schema (draft 2020-12) of `spec` with `default`s; the formats `cpus`, `bytes`,
    /// `duration` and `port-name` are known.
    pub schema: Value,
    /// JSON pointers into the specification where task templates stand; a launch names one by its
    /// place in this list.
    pub templates: Vec<String>,
    /// A JSON pointer to the wished number of tasks; absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<String>,
}

/// Something wrong with a specification, beyond its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A JSON pointer into the specification: `/ports/0/name`.
    pub pointer: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Problem {
    /// Says what is wrong at a pointer.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            message: message.into(),
        }
    }
}
