//! What a reconciler follows, and what the wiring puts into it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kelson_model::quantity::Millis;
use kelson_reconciler_core::guard;

use crate::source::{GitSource, RefWatcher, SourceError};
use crate::validator::{SchemaOnly, Validator};

/// What a reconciler follows.
#[derive(Debug, Clone)]
pub struct Config {
    /// The repository, or a folder in it.
    pub repository: PathBuf,
    /// The branch; absent: the one that is checked out now.
    pub branch: Option<String>,
    /// The folder of the manifests, from the top of the repository.
    pub subpath: Option<String>,
    /// The name of the source.
    pub source: String,
    /// How often references are looked at beside notifications.
    pub poll: Duration,
    /// How often everything is looked at although nothing seems to have changed.
    pub interval: Duration,
    /// Over which time the prune guard counts deletions together.
    pub prune_window: Millis,
}

impl Config {
    /// The source of `kelson dev`: the branch that is checked out, under the name `dev`.
    pub fn dev(repository: PathBuf) -> Self {
        Self {
            repository,
            branch: None,
            subpath: None,
            source: "dev".to_owned(),
            poll: RefWatcher::INTERVAL,
            interval: Duration::from_secs(30),
            prune_window: guard::WINDOW,
        }
    }

    /// Opens the source, blocking. Whoever wants to tell a person at once what is wrong with a
    /// repository does it by this.
    ///
    /// # Errors
    /// Those of [`GitSource::open`].
    pub fn open(&self) -> Result<GitSource, SourceError> {
        GitSource::open(
            &self.repository,
            self.branch.as_deref(),
            self.subpath.as_deref(),
        )
    }
}

/// Hears what the loop does or waits for, and for how long it may be silent from then on.
pub type OnBeat = Arc<dyn Fn(&str, Duration) + Send + Sync>;

/// What the wiring puts in.
#[derive(Clone)]
pub struct Hooks {
    /// Asks frameworks about specifications.
    pub validator: Arc<dyn Validator>,
    /// Is told what a person at a terminal should hear.
    pub on_note: Arc<dyn Fn(String) + Send + Sync>,
    /// Is told what the loop does or waits for, and for how long it may be silent from then on.
    pub on_beat: OnBeat,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            validator: Arc::new(SchemaOnly),
            on_note: Arc::new(|_| {}),
            on_beat: Arc::new(|_, _| {}),
        }
    }
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Hooks").finish_non_exhaustive()
    }
}
