//! Sessions of agents: why one has ended.

use serde::{Deserialize, Serialize};

/// Why a session has ended, or could not begin. Agents decide by this, never by the sentence beside
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SessionEnd {
    /// The kernel does not know the agent's id.
    UnknownAgent,
    /// The agent's id is bound to another data directory.
    OtherDirectory,
    /// The agent belongs to another cluster.
    OtherCluster,
    /// A newer process of the agent has attached.
    Superseded,
    /// The same process has attached once more.
    Replaced,
    /// No message came within the lease.
    Silent,
    /// The agent said something that does not belong into a session.
    Misspoken,
    /// The kernel cannot record what it is told at the moment, or shuts down.
    Unavailable,
}

impl SessionEnd {
    /// All of them.
    pub const ALL: [SessionEnd; 8] = [
        Self::UnknownAgent,
        Self::OtherDirectory,
        Self::OtherCluster,
        Self::Superseded,
        Self::Replaced,
        Self::Silent,
        Self::Misspoken,
        Self::Unavailable,
    ];

    /// Whether attaching again is of no use: this process must not speak for the agent any more.
    pub fn is_final(self) -> bool {
        match self {
            Self::UnknownAgent | Self::OtherDirectory | Self::OtherCluster | Self::Superseded => {
                true
            }
            Self::Replaced | Self::Silent | Self::Misspoken | Self::Unavailable => false,
        }
    }
}
