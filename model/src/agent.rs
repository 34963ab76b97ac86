//! Agents: machines that run tasks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::quantity::Resources;

/// The ports that an agent may give to tasks, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl PortRange {
    /// How many ports there are.
    pub fn count(&self) -> u32 {
        u32::from(self.last.saturating_sub(self.first)) + 1
    }
}

/// Whether an agent can be reached and takes tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AgentState {
    /// Its session is alive.
    #[default]
    Ready,
    /// Its session has ended; its tasks are left alone for now, and it is offered no more.
    Unreachable,
    /// It will not come back; its tasks are lost.
    Gone,
}

/// What an agent says about itself when it attaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentDescription {
    /// The machine's name.
    pub name: String,
    /// The address under which its tasks are reached.
    pub address: String,
    /// What it has to give.
    pub resources: Resources,
    /// The ports it has to give.
    pub ports: PortRange,
    /// Labels, among them what isolation is enforced: `isolation.memory: enforced(cgroup-v1)`.
    pub attributes: BTreeMap<String, String>,
    /// The process id of the agent, for people.
    pub pid: u32,
    /// Its version, for people.
    pub version: String,
}
