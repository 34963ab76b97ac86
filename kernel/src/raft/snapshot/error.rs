//! Why a snapshot cannot be read or written.

use std::io;
use std::path::{Path, PathBuf};

use crate::raft::ClusterId;

/// What is wrong with a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The operating system refused an operation.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes that were once written are not what they were.
    #[error("the snapshot {} is damaged: {detail}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// A snapshot belongs to another cluster.
    #[error("{} belongs to cluster {found}, this member to {expected}", path.display())]
    WrongCluster {
        /// The file.
        path: PathBuf,
        /// The cluster in its header.
        found: ClusterId,
        /// The cluster of the data directory.
        expected: ClusterId,
    },
    /// A newer Kelson wrote this snapshot.
    #[error("{} has format version {found}; this program reads up to version {supported}", path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// The version in its header.
        found: u32,
        /// The newest version known here.
        supported: u32,
    },
    /// A snapshot was asked for before anything was applied.
    #[error("there is nothing to make a snapshot of yet")]
    Nothing,
    /// The disk has no room for another snapshot, so none was begun.
    #[error("there is no room for a snapshot: {needed} bytes needed, {available} available")]
    NoRoom {
        /// About how many bytes it would take.
        needed: u64,
        /// How many there are.
        available: u64,
    },
    /// The member stopped meanwhile.
    #[error("the member stopped before the snapshot was made")]
    Stopped,
}

impl SnapshotError {
    /// Names the operation and the file of a system error.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// Gives the same error in the form that openraft carries, keeping kind and text.
    pub(crate) fn to_io(&self) -> io::Error {
        let kind = match self {
            Self::Io { source, .. } => source.kind(),
            Self::NoRoom { .. } => io::ErrorKind::StorageFull,
            Self::Nothing | Self::Stopped => io::ErrorKind::Other,
            Self::Damaged { .. } | Self::WrongCluster { .. } | Self::UnknownVersion { .. } => {
                io::ErrorKind::InvalidData
            }
        };
        io::Error::new(kind, self.to_string())
    }
}
