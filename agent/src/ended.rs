//! The outputs of tasks that have ended: those of the last ones of each slot stay when everything
//! else of a task goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kelson_agent_core::TaskOrder;
use kelson_model::id::TaskId;
use serde::{Deserialize, Serialize};

use crate::record::{LOGS, LogLimit, RECORD_VERSION, RUNNING, read_record, write_record};

/// Beside the outputs: whose they are.
const SLOT: &str = "slot.json";
/// The slot of all tasks whose specification cannot be read; no other is a single word.
const UNREADABLE: &str = "unreadable";

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptOutputs {
    /// How many ended tasks of each slot.
    pub tasks: u32,
    /// How many bytes of all of them together.
    pub bytes: u64,
}

impl Default for KeptOutputs {
    fn default() -> Self {
        Self {
            tasks: 3,
            bytes: 256 << 20,
        }
    }
}

/// How much of outputs is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputLimits {
    /// Of each task while it is there.
    pub(crate) each: LogLimit,
    /// Of ended tasks.
    pub(crate) ended: KeptOutputs,
}

/// `slot.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SlotRecord {
    version: u32,
    slot: String,
}

#[derive(Debug, Default)]
struct Index {
    tasks: BTreeMap<TaskId, (String, u64)>,
    by_slot: BTreeMap<String, BTreeSet<TaskId>>,
    bytes: u64,
}

/// The outputs that are kept.
///
/// *Guarantees:* bounded in tasks of each slot and in bytes of all; of two tasks of a slot the
/// later one is kept longer. *Caveats:* what is read at the moment may be deleted, and ends
/// there.
#[derive(Debug)]
pub(crate) struct EndedOutputs {
    directory: PathBuf,
    limit: KeptOutputs,
    index: Mutex<Index>,
}

impl EndedOutputs {
    /// Takes up what an earlier run has kept. Blocks.
    pub(crate) fn open(directory: PathBuf, limit: KeptOutputs) -> Self {
        let ended = Self {
            directory,
            limit,
            index: Mutex::default(),
        };
        {
            let mut index = ended.lock();
            for entry in fs::read_dir(&ended.directory)
                .into_iter()
                .flatten()
                .flatten()
            {
                let name = entry.file_name();
                let task = name.to_str().and_then(|name| name.parse::<TaskId>().ok());
                let slot = read_record::<SlotRecord>(&entry.path(), SLOT)
                    .ok()
                    .flatten();
                match (task, slot) {
                    (Some(task), Some(record)) => {
                        index.add(task, record.slot, size_of(&entry.path()));
                    }
                    (_, _) => ended.delete(&entry.path()),
                }
            }
            ended.prune(&mut index);
        }
        ended
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the output of a task that ran, before its directory is deleted; without an order, or
    /// with that of another task, among those of which nobody knows the slot. Blocks.
    pub(crate) fn keep(&self, directory: &Path, task: TaskId, order: Option<&TaskOrder>) {
        if self.limit.tasks == 0 || !directory.join(RUNNING).exists() {
            return;
        }
        let (logs, to) = (directory.join(LOGS), self.directory.join(task.to_string()));
        let slot = match order.filter(|order| order.task == task) {
            Some(order) => format!("{} {} {}", order.namespace, order.kind, order.name),
            None => UNREADABLE.to_owned(),
        };
        let record = SlotRecord {
            version: RECORD_VERSION,
            slot: slot.clone(),
        };
        let kept = write_record(&logs, SLOT, &record)
            .map_err(|error| error.to_string())
            .and_then(|()| fs::create_dir_all(&self.directory).map_err(|error| error.to_string()))
            .and_then(|()| fs::rename(&logs, &to).map_err(|error| error.to_string()));
        if let Err(error) = kept {
            tracing::warn!(%task, error, "the output of an ended task is not kept");
            return;
        }
        let mut index = self.lock();
        index.add(task, slot, size_of(&to));
        self.prune(&mut index);
    }

    /// Deletes the oldest of each slot, then the oldest of all, until the rest is within the limit.
    fn prune(&self, index: &mut Index) {
        let most = usize::try_from(self.limit.tasks).unwrap_or(usize::MAX);
        let mut surplus: Vec<TaskId> = Vec::new();
        for tasks in index.by_slot.values() {
            let count = tasks.len().saturating_sub(most);
            surplus.extend(tasks.iter().take(count));
        }
        for task in surplus {
            self.drop(index, task);
        }
        while index.bytes > self.limit.bytes
            && let Some(oldest) = index.tasks.keys().next().copied()
        {
            self.drop(index, oldest);
        }
    }

    fn drop(&self, index: &mut Index, task: TaskId) {
        index.remove(task);
        self.delete(&self.directory.join(task.to_string()));
    }

    fn delete(&self, path: &Path) {
        if let Err(error) = fs::remove_dir_all(path) {
            tracing::warn!(path = %path.display(), %error, "a kept output could not be deleted");
        }
    }
}

impl Index {
    fn add(&mut self, task: TaskId, slot: String, size: u64) {
        self.bytes += size;
        self.by_slot.entry(slot.clone()).or_default().insert(task);
        self.tasks.insert(task, (slot, size));
    }

    fn remove(&mut self, task: TaskId) {
        let Some((slot, size)) = self.tasks.remove(&task) else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(size);
        if let Some(tasks) = self.by_slot.get_mut(&slot) {
            tasks.remove(&task);
            if tasks.is_empty() {
                self.by_slot.remove(&slot);
            }
        }
    }
}

/// The bytes of the files in a directory.
fn size_of(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some(entry.metadata().ok()?.len()))
        .sum()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use kelson_model::template::TaskTemplate;

    fn order(task: u64, name: &str) -> TaskOrder {
        let spec = serde_json::json!({"run": {"command": "true"}});
        TaskOrder {
            task: TaskId(task),
            generation: 1,
            name: name.to_owned(),
            namespace: "default".to_owned(),
            kind: "Service".to_owned(),
            workload: "web".to_owned(),
            template: TaskTemplate::from_spec(&spec, "").unwrap(),
            ports: BTreeMap::new(),
            enforce_drift: true,
        }
    }

    fn end(ended: &EndedOutputs, root: &Path, task: u64, name: &str, size: usize) {
        end_of(ended, root, task, Some(&order(task, name)), size);
    }

    fn end_of(
        ended: &EndedOutputs,
        root: &Path,
        task: u64,
        order: Option<&TaskOrder>,
        size: usize,
    ) {
        let directory = root.join("tasks").join(format!("tsk_{task}"));
        fs::create_dir_all(directory.join(LOGS)).unwrap();
        fs::write(directory.join(RUNNING), "{}").unwrap();
        fs::write(directory.join(LOGS).join("stdout.log"), vec![b'x'; size]).unwrap();
        ended.keep(&directory, TaskId(task), order);
    }

    fn kept(root: &Path) -> Vec<TaskId> {
        let entries = fs::read_dir(root.join("ended")).unwrap();
        let mut kept: Vec<TaskId> = entries
            .map(|entry| {
                entry
                    .unwrap()
                    .file_name()
                    .to_str()
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect();
        kept.sort();
        kept
    }

    #[test]
    fn the_last_tasks_of_each_slot_stay_also_for_the_next_agent() {
        let root = tempfile::tempdir().unwrap();
        let limit = KeptOutputs {
            tasks: 2,
            bytes: 1 << 20,
        };
        let ended = EndedOutputs::open(root.path().join("ended"), limit);
        for task in [1, 2, 4, 5] {
            end(&ended, root.path(), task, "web.0", 10);
        }
        end(&ended, root.path(), 3, "web.1", 10);
        assert_eq!(kept(root.path()), [3, 4, 5].map(TaskId));
        fs::create_dir(root.path().join("ended/tsk_9")).unwrap();
        let one = KeptOutputs { tasks: 1, ..limit };
        EndedOutputs::open(root.path().join("ended"), one);
        assert_eq!(kept(root.path()), [3, 5].map(TaskId));
    }

    #[test]
    fn what_nobody_knows_the_slot_of_is_kept_in_one_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        let limit = KeptOutputs {
            tasks: 2,
            bytes: 10_000,
        };
        let ended = EndedOutputs::open(root.path().join("ended"), limit);
        end(&ended, root.path(), 1, "web.0", 10);
        for task in [2, 3] {
            end_of(&ended, root.path(), task, None, 10);
        }
        // The specification of another task says nothing of this one.
        end_of(&ended, root.path(), 4, Some(&order(1, "web.0")), 10);
        assert_eq!(kept(root.path()), [1, 3, 4].map(TaskId));
        let slot = fs::read_to_string(root.path().join("ended/tsk_4").join(SLOT)).unwrap();
        assert!(slot.contains("unreadable"), "{slot}");
        EndedOutputs::open(root.path().join("ended"), limit);
        assert_eq!(kept(root.path()), [1, 3, 4].map(TaskId));
        end_of(&ended, root.path(), 5, None, 9900);
        assert_eq!(
            kept(root.path()),
            [4, 5].map(TaskId),
            "the bytes are those of all"
        );
    }

    #[test]
    fn the_oldest_go_where_there_are_too_many_bytes() {
        let root = tempfile::tempdir().unwrap();
        let limit = KeptOutputs {
            tasks: 10,
            bytes: 10_000,
        };
        let ended = EndedOutputs::open(root.path().join("ended"), limit);
        for task in 1..=4 {
            end(&ended, root.path(), task, &format!("web.{task}"), 4000);
        }
        assert_eq!(kept(root.path()), [3, 4].map(TaskId));
        end(&ended, root.path(), 5, "web.5", 20_000);
        assert!(kept(root.path()).is_empty(), "it alone is too much");
    }
}
