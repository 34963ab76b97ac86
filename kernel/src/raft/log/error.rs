//! Why a log cannot be opened, read or written.

use std::io;
use std::path::{Path, PathBuf};

use crate::raft::ClusterId;

/// What is wrong with the log of a member; none of these is ever repaired silently.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
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
    /// The disk has no room for the log.
    #[error("no space left for the log: {action} {}; free some space and start the member again", path.display())]
    DiskFull {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
    },
    /// Bytes that were once written are not what they were.
    #[error("the log is damaged: {} at byte {offset}: {detail}; restore the data directory from a copy, or remove the member and add a new one", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where in it, in bytes from its start.
        offset: u64,
        /// What is wrong there.
        detail: String,
    },
    /// A segment between the first and the last is not there.
    #[error("the log is damaged: segment {} is missing, but later segments are there", path.display())]
    MissingSegment {
        /// Where it should be.
        path: PathBuf,
    },
    /// Entries between the purge mark and the last entry are not there.
    #[error("the log in {} is damaged: entry {expected} is missing, the next one there is {found}", path.display())]
    MissingEntries {
        /// The log's directory.
        path: PathBuf,
        /// The entry that should come next.
        expected: u64,
        /// The entry that does.
        found: u64,
    },
    /// A segment belongs to another cluster.
    #[error("{} belongs to cluster {found}, this member to {expected}", path.display())]
    WrongCluster {
        /// The segment.
        path: PathBuf,
        /// The cluster in its header.
        found: ClusterId,
        /// The cluster of the data directory.
        expected: ClusterId,
    },
    /// A newer Kelson wrote this segment.
    #[error("{} has format version {found}; this program reads up to version {supported}", path.display())]
    UnknownVersion {
        /// The segment.
        path: PathBuf,
        /// The version in its header.
        found: u32,
        /// The newest version known here.
        supported: u32,
    },
    /// The log was closed, or has failed before.
    #[error("the log is closed")]
    Closed,
}

impl LogError {
    /// Names the operation and the file of a system error; a full disk becomes a cause of its own.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull {
                action,
                path: path.to_owned(),
            },
            _ => Self::Io {
                action,
                path: path.to_owned(),
                source,
            },
        }
    }

    /// Gives the same error in the form that openraft carries, keeping kind and text.
    pub(crate) fn to_io(&self) -> io::Error {
        let kind = match self {
            Self::Io { source, .. } => source.kind(),
            Self::DiskFull { .. } => io::ErrorKind::StorageFull,
            Self::Closed => io::ErrorKind::BrokenPipe,
            Self::Damaged { .. }
            | Self::MissingSegment { .. }
            | Self::MissingEntries { .. }
            | Self::WrongCluster { .. }
            | Self::UnknownVersion { .. } => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, self.to_string())
    }
}
