//! What can be wrong with what trust rests on.

use std::io;
use std::path::{Path, PathBuf};

/// Why something that trust rests on cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(io::Error),
    /// Something cannot be read as what it should be.
    #[error("{what} cannot be used: {why}")]
    Unusable {
        /// `the certificate`, `/etc/kelson/credentials`.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A certificate or a signature could not be made.
    #[error("{what} could not be made: {why}")]
    Unmade {
        /// `the certificate of agt_3`.
        what: String,
        /// What the library says.
        why: String,
    },
}

impl TrustError {
    pub(crate) fn io(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn unusable(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Unusable {
            what: what.into(),
            why: why.to_string(),
        }
    }

    pub(crate) fn unmade(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Unmade {
            what: what.into(),
            why: why.to_string(),
        }
    }
}
