//! Drift on the plane of the agent: limits that somebody has changed by hand.

use std::collections::BTreeMap;

use kelson_model::id::TaskId;
use kelson_proto::v1::AgentDrift;

use crate::isolation::{Difference, Limit};
use crate::proc;

/// Most reports that wait for a session.
const MAX_WAITING: usize = 1000;

/// What is compared, for one task.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) task: TaskId,
    /// Its program.
    pub(crate) pid: Option<u32>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) is_enforced: bool,
}

/// What was found for one task: differences, and whether each was put back.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    task: TaskId,
    /// Whether its program has ended and its shim has not reaped it yet.
    pub(crate) is_unreaped: bool,
    differences: Vec<(Difference, bool)>,
}

impl Seen {
    /// Which task.
    pub(crate) fn task(&self) -> TaskId {
        self.task
    }
}

/// Compares, and puts back what is enforced. Reads one small file per limit, and one per program.
pub(crate) fn compare(watched: &[Watched]) -> Vec<Seen> {
    watched
        .iter()
        .map(|one| {
            let differences = one.limits.iter().filter_map(|limit| {
                let difference = limit.difference()?;
                let is_healed =
                    one.is_enforced && limit.set().is_ok() && limit.difference().is_none();
                Some((difference, is_healed))
            });
            Seen {
                task: one.task,
                is_unreaped: one
                    .pid
                    .and_then(proc::stat)
                    .is_some_and(proc::Stat::is_over),
                differences: differences.collect(),
            }
        })
        .collect()
}

/// The differences that are open, and the reports that the kernel has not been sent.
#[derive(Debug, Default)]
pub(crate) struct DriftBook {
    open: BTreeMap<(TaskId, String), Difference>,
    waiting: Vec<AgentDrift>,
}

impl DriftBook {
    /// Takes what was found; reports what is new, what has changed, and what is healed.
    pub(crate) fn record(&mut self, seen: Vec<Seen>) {
        for one in seen {
            let mut still_open = std::collections::BTreeSet::new();
            for (difference, is_healed) in one.differences {
                let key = (one.task, difference.field.clone());
                if self.open.get(&key) != Some(&difference) {
                    self.report(one.task, &difference, false);
                }
                if is_healed {
                    self.open.remove(&key);
                    self.report(one.task, &difference, true);
                } else {
                    still_open.insert(difference.field.clone());
                    self.open.insert(key, difference);
                }
            }
            let gone: Vec<(TaskId, String)> = self
                .open
                .keys()
                .filter(|(task, field)| *task == one.task && !still_open.contains(field))
                .cloned()
                .collect();
            for key in gone {
                if let Some(difference) = self.open.remove(&key) {
                    self.report(one.task, &difference, true);
                }
            }
        }
    }

    /// Drops a task that has ended.
    pub(crate) fn forget(&mut self, task: TaskId) {
        self.open.retain(|(open, _), _| *open != task);
    }

    /// Says everything that is open again, to a new session.
    pub(crate) fn repeat_open(&mut self) {
        let open: Vec<(TaskId, Difference)> = self
            .open
            .iter()
            .map(|((task, _), difference)| (*task, difference.clone()))
            .collect();
        for (task, difference) in open {
            self.report(task, &difference, false);
        }
    }

    /// Gives the oldest report that waits.
    pub(crate) fn take(&mut self) -> Option<AgentDrift> {
        (!self.waiting.is_empty()).then(|| self.waiting.remove(0))
    }

    fn report(&mut self, task: TaskId, difference: &Difference, healed: bool) {
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.remove(0);
        }
        tracing::info!(%task, field = difference.field, live = %difference.live, healed, "a limit was changed by hand");
        self.waiting.push(AgentDrift {
            task: task.0,
            field: difference.field.clone(),
            desired_json: difference.desired.to_string(),
            live_json: difference.live.to_string(),
            healed,
        });
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn watch(directory: &std::path::Path, is_enforced: bool) -> Vec<Watched> {
        let limit = Limit {
            path: directory.to_owned(),
            file: "memory.max".to_owned(),
            value: 8192,
        };
        limit.set().unwrap();
        vec![Watched {
            task: TaskId(1),
            pid: None,
            limits: vec![limit],
            is_enforced,
        }]
    }

    fn reports(book: &mut DriftBook) -> Vec<(String, bool)> {
        std::iter::from_fn(|| book.take())
            .map(|drift| (drift.live_json, drift.healed))
            .collect()
    }

    #[test]
    fn a_change_is_reported_once_and_then_that_it_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let watched = watch(directory.path(), false);
        let mut book = DriftBook::default();
        book.record(compare(&watched));
        assert!(reports(&mut book).is_empty());
        std::fs::write(directory.path().join("memory.max"), "4096").unwrap();
        book.record(compare(&watched));
        book.record(compare(&watched));
        assert_eq!(reports(&mut book), [("4096".to_owned(), false)]);
        book.repeat_open();
        assert_eq!(reports(&mut book).len(), 1, "a new session hears it");
        std::fs::write(directory.path().join("memory.max"), "8192").unwrap();
        book.record(compare(&watched));
        assert_eq!(reports(&mut book), [("4096".to_owned(), true)]);
    }

    #[test]
    fn an_enforced_limit_is_put_back_and_both_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let watched = watch(directory.path(), true);
        let mut book = DriftBook::default();
        std::fs::write(directory.path().join("memory.max"), "max").unwrap();
        book.record(compare(&watched));
        assert_eq!(
            reports(&mut book),
            [("\"max\"".to_owned(), false), ("\"max\"".to_owned(), true)]
        );
        assert_eq!(
            std::fs::read_to_string(directory.path().join("memory.max")).unwrap(),
            "8192"
        );
    }
}
