//! What `kelson doctor` finds in a data directory.

use serde::{Deserialize, Serialize};

use crate::id::Index;

/// What the data directory of a member holds, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DoctorReport {
    /// Always `kelson/v1`.
    pub api_version: String,
    /// Always `DoctorReport`.
    pub kind: String,
    /// Whether a member can start on it with all that it ever acknowledged.
    pub healthy: bool,
    /// The cluster that it belongs to.
    pub cluster: String,
    /// The member's number.
    pub member: u64,
    /// The term of its last ballot.
    pub term: u64,
    /// The log.
    pub log: LogFinding,
    /// Snapshots that can be used, the oldest first.
    pub snapshots: Vec<SnapshotFinding>,
    /// The state, as far as the log is known to be agreed upon.
    pub state: StateFinding,
    /// Blobs that are stored.
    pub blobs: u64,
    /// What is as it may be after a crash, a sentence each.
    pub notes: Vec<String>,
    /// What is damaged, missing or contradicts itself, a sentence each.
    pub faults: Vec<String>,
}

/// What was found of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogFinding {
    /// Files.
    pub segments: u64,
    /// Its first entry.
    pub first: Option<Index>,
    /// The last entry, in log or snapshot.
    pub last: Option<Index>,
    /// Up to which entry it is known to be agreed upon.
    pub committed: Option<Index>,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotFinding {
    /// Its last entry.
    pub index: Index,
    /// The size of its file.
    pub bytes: u64,
}

/// What was found of the state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateFinding {
    /// The entry that it is after.
    pub index: Index,
    /// Names its content; equal on every member at the same entry.
    pub hash: String,
    /// Objects.
    pub objects: u64,
    /// Tasks, ended ones included.
    pub tasks: u64,
    /// Agents.
    pub agents: u64,
    /// Sources.
    pub sources: u64,
}
