//! What a task runs: the part of a workload's specification that a task is made from.
//!
//! A template stands in its specification as it was normalised: every default filled in, every
//! quantity canonical.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::Digest;
use crate::quantity::{Bytes, MilliCpus, Millis, Resources};

/// Everything that an agent needs to run one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskTemplate {
    /// The program, its arguments, environment and files.
    pub run: Run,
    /// What the task takes from its agent.
    #[serde(default = "default_resources")]
    pub resources: Resources,
    /// The ports that the task listens on.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// Whether the task works; absent: a running task is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Check>,
    /// Whether the task may take traffic; absent: as health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Check>,
    /// How the task is asked to end.
    #[serde(default)]
    pub stop: Stop,
}

/// The resources of a task whose manifest names none.
pub fn default_resources() -> Resources {
    Resources {
        cpus: MilliCpus(100),
        memory: Bytes(128 << 20),
        disk: Bytes(0),
    }
}

/// A program, never a shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Run {
    /// A program, found on PATH or relative to `workdir`.
    pub command: String,
    /// Arguments; `${NAME}` is taken from the task's environment, `$$` is a dollar.
    #[serde(default)]
    pub args: Vec<String>,
    /// Added to the task's environment, last.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Inside the task's directory.
    #[serde(default = "default_workdir")]
    pub workdir: String,
    /// Files laid into the task's directory before the program starts.
    #[serde(default)]
    pub files: Vec<File>,
}

fn default_workdir() -> String {
    ".".to_owned()
}

/// One file of a task: `content` in place, or a blob of the commit named by `source` and pinned by
/// `digest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct File {
    /// Where it goes, relative to the task's directory; never outside it.
    pub path: String,
    /// The file of the same commit that it came from, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The content, where the manifest gives it in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The blob that holds the content of `source`; filled in by the reconciler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Whether `${NAME}` is replaced from the task's environment.
    #[serde(default)]
    pub template: bool,
}

/// A port that a task listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Port {
    /// `[a-z0-9-]`; the task finds the number in `PORT_<NAME>`.
    pub name: String,
    /// A number that was asked for; absent: the kernel picks one from the agent's range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A health or readiness check: exactly one of `http`, `tcp` and `command`, and its pace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Check {
    /// GET; 200 to 399 is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// A connection that is accepted is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpCheck>,
    /// Exit status 0 is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandCheck>,
    /// Between two probes; until the first success it is 100 ms.
    #[serde(default = "ten_seconds")]
    pub interval: Millis,
    /// After which a probe has failed.
    #[serde(default = "two_seconds")]
    pub timeout: Millis,
    /// From the start of the task: failures do not count until the first success or the end of it.
    #[serde(default = "thirty_seconds")]
    pub grace: Millis,
    /// After this many failures in a row, the task is unhealthy.
    #[serde(default = "three")]
    pub failures: u32,
}

fn ten_seconds() -> Millis {
    Millis(10_000)
}
fn two_seconds() -> Millis {
    Millis(2000)
}
fn thirty_seconds() -> Millis {
    Millis(30_000)
}
fn three() -> u32 {
    3
}

/// An HTTP probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpCheck {
    /// The name of one of the task's ports.
    pub port: String,
    /// Begins with a slash.
    #[serde(default = "root_path")]
    pub path: String,
}

fn root_path() -> String {
    "/".to_owned()
}

/// A TCP probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpCheck {
    /// The name of one of the task's ports.
    pub port: String,
}

/// A program as a probe, run in the task's directory with the task's environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommandCheck {
    /// A program, never a shell.
    pub command: String,
    /// As in `run.args`.
    #[serde(default)]
    pub args: Vec<String>,
}

/// How a task is asked to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stop {
    /// The signal's name, `SIGTERM`.
    #[serde(default = "sigterm")]
    pub signal: String,
    /// After which everything in the task is killed.
    #[serde(default = "ten_seconds")]
    pub grace: Millis,
}

fn sigterm() -> String {
    "SIGTERM".to_owned()
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            signal: sigterm(),
            grace: ten_seconds(),
        }
    }
}

impl TaskTemplate {
    /// Reads the template that stands at a JSON pointer of a normalised specification.
    ///
    /// # Errors
    /// Says which field is wrong; the other fields of the specification are not looked at.
    pub fn from_spec(spec: &serde_json::Value, pointer: &str) -> Result<Self, String> {
        let part = spec
            .pointer(pointer)
            .ok_or_else(|| format!("the specification has nothing at '{pointer}'"))?;
        Self::deserialize(part).map_err(|error| error.to_string())
    }

    /// Names the content of this template: equal templates have equal ids, below 2^53 so that every
    /// guest language can hold it.
    pub fn content_id(&self) -> u64 {
        let text = serde_json::to_vec(self).unwrap_or_default();
        let digest = Digest::of(&text);
        digest
            .hex()
            .get(..13)
            .and_then(|hex| u64::from_str_radix(hex, 16).ok())
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_template_is_read_from_a_specification_with_other_fields() {
        let spec = serde_json::json!({"instances": 3, "run": {"command": "true"}});
        let template = TaskTemplate::from_spec(&spec, "").unwrap();
        assert_eq!(template.resources, default_resources());
        assert_eq!(template.stop.signal, "SIGTERM");
        let changed = serde_json::json!({"instances": 4, "run": {"command": "true"}});
        assert_eq!(
            template.content_id(),
            TaskTemplate::from_spec(&changed, "").unwrap().content_id()
        );
        assert!(template.content_id() < 1 << 53);
    }

    #[test]
    fn an_unknown_field_of_run_is_refused() {
        let spec = serde_json::json!({"run": {"command": "true", "shell": true}});
        assert!(
            TaskTemplate::from_spec(&spec, "")
                .unwrap_err()
                .contains("shell")
        );
    }
}
