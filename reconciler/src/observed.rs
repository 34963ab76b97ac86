//! A mirror of the kernel's rows, as much of them as plan and drift look at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kelson_model::drift::{self, DriftItem, DriftState, Plane};
use kelson_model::id::{Digest, Index, TaskId};
use kelson_model::object::ObjectKey;
use kelson_model::source::SourceRecord;
use kelson_model::task::{CheckState, TaskState, is_ended_by_hand};
use kelson_model::time::WallTime;
use kelson_model::view::FrameworkRow;
use kelson_reconciler_core::observed::{ObservedObject, ObservedTask};

use crate::client::{Batch, Row, RowKind};
use crate::rows::{self, RowError};

/// The rows that the mirror needs.
pub const MIRRORED: [RowKind; 5] = [
    RowKind::Object,
    RowKind::Task,
    RowKind::Source,
    RowKind::Drift,
    RowKind::Framework,
];

/// What a batch has changed, as far as anybody here cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// What a plan looks at: specifications, owners, sources.
    pub objects: bool,
    /// What says which kinds there are.
    pub frameworks: bool,
    /// Tasks that somebody ended, and what came after them; the ledger.
    pub drift: bool,
}

impl Changes {
    /// Whether nothing has.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    fn add(&mut self, other: Self) {
        self.objects |= other.objects;
        self.frameworks |= other.frameworks;
        self.drift |= other.drift;
    }
}

/// What is kept of every task; there may be a million.
#[derive(Debug, Clone)]
struct Place {
    workload: Arc<ObjectKey>,
    slot: u32,
    state: TaskState,
}

/// A task that somebody may have ended.
#[derive(Debug, Clone)]
struct Ended {
    task: ObservedTask,
    /// Absent for a task that had ended before this mirror began.
    at: Option<WallTime>,
}

/// The kernel's rows as of [`index`](Self::index).
///
/// *Guarantees*: holds nothing of before a restart of the watch. While
/// [`is_current`](Self::is_current) is false it is not the whole, and nothing may be decided by it.
#[derive(Debug, Default)]
pub struct Mirror {
    index: Index,
    is_current: bool,
    /// Whether it was the whole once, so that what comes now comes as it happens.
    has_begun: bool,
    /// Grows with every change that plan or drift may look at.
    version: u64,
    objects: BTreeMap<ObjectKey, ObservedObject>,
    /// The row's key of each object.
    object_keys: BTreeMap<String, ObjectKey>,
    tasks: BTreeMap<TaskId, Place>,
    by_workload: BTreeMap<Arc<ObjectKey>, BTreeSet<TaskId>>,
    ended_by_hand: BTreeMap<TaskId, Ended>,
    /// When tasks ended whose rows a restart has taken; they come again.
    seen_to_end: BTreeMap<TaskId, Option<WallTime>>,
    sources: BTreeMap<String, SourceRecord>,
    frameworks: BTreeMap<String, FrameworkRow>,
    ledger: Vec<DriftItem>,
}

impl Mirror {
    /// Takes in a batch; `now` is for tasks that end with it.
    pub fn take_in(&mut self, batch: Batch, now: WallTime) -> Changes {
        let mut changes = Changes::default();
        if batch.is_restart {
            let mut seen_to_end = std::mem::take(&mut self.seen_to_end);
            let ended = std::mem::take(&mut self.ended_by_hand).into_iter();
            seen_to_end.extend(ended.map(|(id, ended)| (id, ended.at)));
            *self = Self {
                seen_to_end,
                version: self.version,
                ..Self::default()
            };
            changes = Changes {
                objects: true,
                frameworks: true,
                drift: true,
            };
        }
        // What has ended before anybody looked has ended at a time that nobody knows.
        let seen = self.has_begun.then_some(now);
        for row in &batch.rows {
            match self.put(row, seen) {
                Ok(change) => changes.add(change),
                Err(error) => {
                    tracing::warn!(kind = row.kind.name(), key = row.key, %error, "a row of the kernel cannot be read");
                }
            }
        }
        if !changes.is_none() {
            self.version += 1;
        }
        self.index = batch.index;
        self.is_current = batch.is_current;
        self.has_begun |= batch.is_current;
        if batch.is_current {
            self.seen_to_end.clear();
        }
        changes
    }

    fn put(&mut self, row: &Row, now: Option<WallTime>) -> Result<Changes, RowError> {
        let json = row.json.as_deref();
        match row.kind {
            RowKind::Object => self.put_object(&row.key, json),
            RowKind::Task => self.put_task(&row.key, json, now),
            RowKind::Source => {
                let record = json.map(serde_json::from_str::<SourceRecord>).transpose()?;
                let is_changed = self.sources.get(&row.key) != record.as_ref();
                replace(&mut self.sources, row.key.clone(), record);
                Ok(Changes {
                    objects: is_changed,
                    ..Changes::default()
                })
            }
            RowKind::Framework => {
                let framework = json.map(serde_json::from_str::<FrameworkRow>).transpose()?;
                let is_changed = self.frameworks.get(&row.key) != framework.as_ref();
                replace(&mut self.frameworks, row.key.clone(), framework);
                Ok(Changes {
                    frameworks: is_changed,
                    ..Changes::default()
                })
            }
            RowKind::Drift => {
                let ledger: Vec<DriftItem> = json
                    .map(serde_json::from_str)
                    .transpose()?
                    .unwrap_or_default();
                let is_changed = self.ledger != ledger;
                self.ledger = ledger;
                Ok(Changes {
                    drift: is_changed,
                    ..Changes::default()
                })
            }
            RowKind::Agent | RowKind::Event => Ok(Changes::default()),
        }
    }

    fn put_object(&mut self, row: &str, json: Option<&str>) -> Result<Changes, RowError> {
        let object = json.map(rows::object).transpose()?.flatten();
        let is_changed = match object {
            Some(object) => {
                self.object_keys.insert(row.to_owned(), object.key.clone());
                let before = self.objects.insert(object.key.clone(), object.clone());
                before.is_none_or(|mut before| {
                    before.health = object.health;
                    before != object
                })
            }
            None => self
                .object_keys
                .remove(row)
                .and_then(|key| self.objects.remove(&key))
                .is_some(),
        };
        Ok(Changes {
            objects: is_changed,
            ..Changes::default()
        })
    }

    fn put_task(
        &mut self,
        row: &str,
        json: Option<&str>,
        now: Option<WallTime>,
    ) -> Result<Changes, RowError> {
        let Some(json) = json else {
            let id: TaskId = row.parse()?;
            if let Some(gone) = self.tasks.remove(&id)
                && let Some(ids) = self.by_workload.get_mut(&gone.workload)
            {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_workload.remove(&gone.workload);
                }
            }
            return Ok(Changes {
                drift: self.ended_by_hand.remove(&id).is_some(),
                ..Changes::default()
            });
        };
        let task = rows::task(json)?;
        let (id, state) = (task.id, task.state);
        let workload = match self.by_workload.get_key_value(&task.workload) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::new(task.workload.clone()),
        };
        let place = Place {
            workload: Arc::clone(&workload),
            slot: task.slot,
            state,
        };
        let before = self.tasks.insert(id, place);
        let is_changed = before.is_none_or(|before| before.state != state);
        if has_ended_by_hand(&task) {
            let known = self.ended_by_hand.get(&id).map(|known| known.at);
            let at = known
                .or_else(|| self.seen_to_end.remove(&id))
                .unwrap_or(now);
            self.ended_by_hand.insert(id, Ended { task, at });
        }
        let of_workload = self.by_workload.entry(workload).or_default();
        of_workload.insert(id);
        let is_drift = is_changed
            && !self.ended_by_hand.is_empty()
            && of_workload
                .iter()
                .any(|task| self.ended_by_hand.contains_key(task));
        Ok(Changes {
            drift: is_drift,
            ..Changes::default()
        })
    }

    /// The state that the rows are of.
    pub fn index(&self) -> Index {
        self.index
    }

    /// Grows with every change that plan or drift may look at; what was found for a version holds
    /// for as long as it stays.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether the rows are the whole.
    pub fn is_current(&self) -> bool {
        self.is_current
    }

    /// The objects, without those on their way out.
    pub fn objects(&self) -> &BTreeMap<ObjectKey, ObservedObject> {
        &self.objects
    }

    /// Names what of these objects is changed by hand, as far as these rows know.
    pub fn hands<'a>(&self, keys: impl IntoIterator<Item = &'a ObjectKey>) -> Digest {
        let known = keys.into_iter().filter_map(|key| self.objects.get(key));
        let changed = known.filter(|object| object.by_hand.is_some());
        drift::hands(changed.map(|object| (&object.key, object.generation)))
    }

    /// What the kernel keeps of a source.
    pub fn source(&self, name: &str) -> Option<&SourceRecord> {
        self.sources.get(name)
    }

    /// What the kernel keeps of all sources.
    pub fn sources(&self) -> impl Iterator<Item = &SourceRecord> {
        self.sources.values()
    }

    /// The frameworks, by their row's key.
    pub fn frameworks(&self) -> impl Iterator<Item = &FrameworkRow> {
        self.frameworks.values()
    }

    /// The ledger without what agents found, which is the kernel's to keep.
    pub fn ledger(&self) -> Vec<DriftItem> {
        let ours = self.ledger.iter().filter(|item| item.plane != Plane::Agent);
        ours.cloned().collect()
    }

    /// The tasks that somebody ended, with the other tasks of their workloads that run; `now`
    /// stands for an end that nobody saw.
    pub fn tasks_of_interest(&self, now: WallTime) -> Vec<ObservedTask> {
        let healed = self
            .ledger
            .iter()
            .filter(|item| item.state == DriftState::Healed)
            .count();
        // A full ledger has forgotten some, and an end that nobody saw may be one of those.
        let unseen = if healed >= DriftItem::KEPT_HEALED {
            WallTime(0)
        } else {
            now
        };
        let ended = || self.ended_by_hand.values();
        let workloads: BTreeSet<&ObjectKey> = ended().map(|ended| &ended.task.workload).collect();
        let ids = workloads
            .into_iter()
            .filter_map(|workload| self.by_workload.get(workload))
            .flatten();
        let running = ids.filter_map(|id| {
            let place = self.tasks.get(id)?;
            (place.state == TaskState::Running).then(|| running(*id, place))
        });
        let ended = ended().map(|ended| ObservedTask {
            ended_at: Some(ended.at.unwrap_or(unseen)),
            ..ended.task.clone()
        });
        let mut tasks: Vec<ObservedTask> = running.chain(ended).collect();
        tasks.sort_by_key(|task| task.id);
        tasks
    }
}

/// A task that runs, as much of it as drift looks at.
fn running(id: TaskId, place: &Place) -> ObservedTask {
    ObservedTask {
        id,
        workload: ObjectKey::clone(&place.workload),
        slot: place.slot,
        state: place.state,
        health: CheckState::default(),
        agent: None,
        exit: None,
        stop_reason: None,
        stopped_by: None,
        ended_at: None,
    }
}

/// Whether somebody ended a task.
fn has_ended_by_hand(task: &ObservedTask) -> bool {
    task.state.is_terminal() && is_ended_by_hand(task.stop_reason, task.exit.as_ref())
}

fn replace<V>(map: &mut BTreeMap<String, V>, key: String, value: Option<V>) {
    match value {
        Some(value) => {
            map.insert(key, value);
        }
        None => {
            map.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn object_row(name: &str, health: &str, instances: u32) -> Row {
        Row {
            kind: RowKind::Object,
            key: format!("Service shop/{name}"),
            json: Some(format!(
                r#"{{"key":{{"kind":"Service","namespace":"shop","name":"{name}"}},"spec":{{"instances":{instances}}},"health":"{health}"}}"#
            )),
        }
    }

    fn task_row(id: u64, state: &str, rest: &str) -> Row {
        Row {
            kind: RowKind::Task,
            key: format!("tsk_{id}"),
            json: Some(format!(
                r#"{{"id":"tsk_{id}","name":"web.0","workload":{{"kind":"Service","namespace":"shop","name":"web"}},"state":"{state}"{rest}}}"#
            )),
        }
    }

    fn batch(index: u64, is_restart: bool, rows: Vec<Row>) -> Batch {
        Batch {
            index: Index(index),
            is_restart,
            is_current: true,
            rows,
        }
    }

    #[test]
    fn a_restart_replaces_everything() {
        let mut mirror = Mirror::default();
        mirror.take_in(
            batch(1, true, vec![object_row("web", "Healthy", 1)]),
            WallTime(1),
        );
        mirror.take_in(
            batch(9, true, vec![object_row("api", "Healthy", 1)]),
            WallTime(2),
        );
        let names: Vec<&str> = mirror.objects().keys().map(|key| &*key.name).collect();
        assert_eq!(names, ["api"]);
        assert_eq!(mirror.index(), Index(9));
    }

    #[test]
    fn health_alone_is_no_reason_to_plan() {
        let mut mirror = Mirror::default();
        let first = vec![object_row("web", "Healthy", 1)];
        assert!(mirror.take_in(batch(1, true, first), WallTime(1)).objects);
        let sicker = vec![object_row("web", "Degraded", 1)];
        let changes = mirror.take_in(batch(2, false, sicker), WallTime(2));
        assert!(changes.is_none());
        let scaled = vec![object_row("web", "Degraded", 2)];
        assert!(mirror.take_in(batch(3, false, scaled), WallTime(3)).objects);
    }

    #[test]
    fn only_tasks_that_somebody_ended_and_their_replacements_matter() {
        let mut mirror = Mirror::default();
        mirror.take_in(
            batch(1, true, vec![task_row(1, "running", "")]),
            WallTime(1),
        );
        assert!(mirror.tasks_of_interest(WallTime(5)).is_empty());
        let killed =
            r#","exit":{"code":null,"signal":9,"oom":false,"reason":null},"exitByAgent":false"#;
        let changes = mirror.take_in(
            batch(2, false, vec![task_row(1, "failed", killed)]),
            WallTime(7),
        );
        assert!(changes.drift);
        let after = mirror.take_in(
            batch(3, false, vec![task_row(2, "running", "")]),
            WallTime(8),
        );
        assert!(after.drift);
        let tasks = mirror.tasks_of_interest(WallTime(9));
        let ids: Vec<u64> = tasks.iter().map(|task| task.id.0).collect();
        assert_eq!(ids, [1, 2]);
        assert_eq!(tasks.first().unwrap().ended_at, Some(WallTime(7)));
        // The watch begins again: that end is as old as it was.
        let again = vec![task_row(1, "failed", killed), task_row(2, "running", "")];
        mirror.take_in(batch(3, true, again), WallTime(9));
        let tasks = mirror.tasks_of_interest(WallTime(10));
        assert_eq!(tasks.first().unwrap().ended_at, Some(WallTime(7)));
        let gone = Row {
            json: None,
            ..task_row(1, "failed", "")
        };
        mirror.take_in(batch(4, false, vec![gone]), WallTime(9));
        assert!(mirror.tasks_of_interest(WallTime(9)).is_empty());
    }
}
