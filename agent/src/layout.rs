//! Where things stand in the data directory.

use std::path::{Path, PathBuf};

use kelson_model::id::TaskId;

use crate::record::{LOGS, WORK};

/// The data directory of one agent; absolute, since shims work elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub(crate) fn tasks(&self) -> PathBuf {
        self.root.join("tasks")
    }

    pub(crate) fn task(&self, task: TaskId) -> PathBuf {
        self.tasks().join(task.to_string())
    }

    pub(crate) fn work(&self, task: TaskId) -> PathBuf {
        self.task(task).join(WORK)
    }

    /// Where outputs of ended tasks are kept.
    pub(crate) fn ended(&self) -> PathBuf {
        self.root.join("ended")
    }

    /// The newest file of a stream, in the task's directory or, once that is gone, where it is
    /// kept; `None` where it is not.
    pub(crate) fn output(&self, task: TaskId, stream: &str) -> Option<PathBuf> {
        let places = [
            self.task(task).join(LOGS),
            self.ended().join(task.to_string()),
        ];
        let place = places.into_iter().find(|place| place.is_dir())?;
        Some(place.join(format!("{stream}.log")))
    }
}
