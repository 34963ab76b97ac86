//! The tip of the branch: what it shows now, and whether that is still so.

use std::sync::Arc;

use kelson_model::id::Revision;
use tokio::sync::watch;

use crate::source::{Beat, GitSource, SourceError, Tip};
use crate::trouble::{Trouble, blocking};

/// What the source shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// This commit.
    Commit(Revision),
    /// A branch without a commit.
    Unborn,
    /// No such branch.
    Missing,
    /// No such repository.
    Gone,
    /// Something that cannot be read.
    Broken(String),
}

/// Looks at the tip, and hears when it may have moved.
pub(crate) struct Lookout {
    git: Arc<GitSource>,
    beats: watch::Receiver<Beat>,
}

impl Lookout {
    pub(crate) fn new(git: Arc<GitSource>, beats: watch::Receiver<Beat>) -> Self {
        Self { git, beats }
    }

    /// What the source shows now.
    pub(crate) async fn look(&mut self) -> Result<Look, Trouble> {
        self.beats.mark_unchanged();
        let git = Arc::clone(&self.git);
        let tip = blocking(move || git.tip()).await?;
        Ok(match tip {
            Ok(Tip::Commit(revision)) => Look::Commit(revision),
            Ok(Tip::Unborn) => Look::Unborn,
            Ok(Tip::Missing) => Look::Missing,
            Err(SourceError::Gone { .. } | SourceError::NotFound { .. }) => Look::Gone,
            Err(error) => Look::Broken(error.to_string()),
        })
    }

    /// Fails where the branch has moved on from `revision`.
    pub(crate) async fn ensure_newest(&mut self, revision: &Revision) -> Result<(), Trouble> {
        // A watcher that is gone says nothing, so that one looks.
        if !self.beats.has_changed().unwrap_or(true) {
            return Ok(());
        }
        match self.look().await? {
            Look::Commit(newest) if newest == *revision => Ok(()),
            Look::Commit(_) | Look::Unborn | Look::Missing | Look::Gone | Look::Broken(_) => {
                Err(Trouble::Preempted)
            }
        }
    }
}
