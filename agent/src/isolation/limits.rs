//! The limits of one task as they stand in cgroup files, and whether they still do.

use std::fs;
use std::path::PathBuf;

use kelson_model::quantity::{Bytes, MilliCpus};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::group::{Group, Version};

/// Most processes and threads of one task.
const MAX_PIDS: u64 = 16_384;
/// Memory limits are kept in whole pages.
const PAGE: u64 = 4096;

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Limit {
    pub(crate) path: PathBuf,
    /// `memory.limit_in_bytes`.
    pub(crate) file: String,
    pub(crate) value: u64,
}

/// A limit that was changed by hand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Difference {
    /// `cgroup/memory.limit_in_bytes`.
    pub(crate) field: String,
    pub(crate) desired: Value,
    pub(crate) live: Value,
}

/// The limits that a task's resources mean in its groups.
pub(super) fn plan_limits(groups: &[Group], cpus: MilliCpus, memory: Bytes) -> Vec<Limit> {
    let mut out = Vec::new();
    for group in groups {
        let mut add = |file: &str, value: u64| {
            out.push(Limit {
                path: group.path.clone(),
                file: file.to_owned(),
                value,
            });
        };
        let shares = (cpus.0.saturating_mul(1024) / 1000).clamp(2, 262_144);
        match group.version {
            Version::V1 => {
                if group.has("memory") {
                    add("memory.limit_in_bytes", memory.0 / PAGE * PAGE);
                }
                if group.has("cpu") {
                    add("cpu.shares", shares);
                }
            }
            Version::V2 => {
                if group.has("memory") {
                    add("memory.max", memory.0 / PAGE * PAGE);
                    // What is over the limit is killed, not moved to a disk, and not in part: half
                    // a task is no task.
                    add("memory.swap.max", 0);
                    add("memory.oom.group", 1);
                }
                if group.has("cpu") {
                    add("cpu.weight", 1 + (shares - 2) * 9999 / 262_142);
                }
            }
        }
        if group.has("pids") {
            add("pids.max", MAX_PIDS);
        }
    }
    out
}

impl Limit {
    /// Whether this machine has it: a Linux kernel without swap has no limit for it, and an old one
    /// kills by process only.
    pub(crate) fn can_be_set(&self) -> bool {
        let is_optional = matches!(self.file.as_str(), "memory.swap.max" | "memory.oom.group");
        !is_optional || self.path.join(&self.file).exists()
    }

    /// Writes it.
    pub(crate) fn set(&self) -> std::io::Result<()> {
        fs::write(self.path.join(&self.file), self.value.to_string())
    }

    /// Reads it back; absent where it is as it should be, or where the group is gone.
    pub(crate) fn difference(&self) -> Option<Difference> {
        let text = fs::read_to_string(self.path.join(&self.file)).ok()?;
        let live = text.trim();
        if live.parse() == Ok(self.value) {
            return None;
        }
        Some(Difference {
            field: format!("cgroup/{}", self.file),
            desired: Value::from(self.value),
            live: live
                .parse::<u64>()
                .map_or_else(|_| Value::from(live), Value::from),
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn group(version: Version, controllers: &[&str]) -> Group {
        Group {
            version,
            controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
            path: PathBuf::from("/g"),
        }
    }

    #[test]
    fn resources_become_the_files_of_either_version() {
        let limits = |group: Group| {
            plan_limits(&[group], MilliCpus(500), Bytes(64 << 20))
                .into_iter()
                .map(|limit| (limit.file, limit.value))
                .collect::<Vec<_>>()
        };
        let all = ["memory", "cpu", "pids"];
        assert_eq!(
            limits(group(Version::V1, &all)),
            [
                ("memory.limit_in_bytes".to_owned(), 64 << 20),
                ("cpu.shares".to_owned(), 512),
                ("pids.max".to_owned(), MAX_PIDS)
            ]
        );
        assert_eq!(
            limits(group(Version::V2, &all)),
            [
                ("memory.max".to_owned(), 64 << 20),
                ("memory.swap.max".to_owned(), 0),
                ("memory.oom.group".to_owned(), 1),
                ("cpu.weight".to_owned(), 20),
                ("pids.max".to_owned(), MAX_PIDS)
            ]
        );
        assert!(limits(group(Version::V2, &[])).is_empty());
    }

    #[test]
    fn a_limit_that_this_machine_does_not_have_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let limit = |file: &str| Limit {
            path: directory.path().to_owned(),
            file: file.to_owned(),
            value: 1,
        };
        assert!(limit("memory.max").can_be_set());
        assert!(!limit("memory.oom.group").can_be_set());
        fs::write(directory.path().join("memory.oom.group"), "0").unwrap();
        assert!(limit("memory.oom.group").can_be_set());
    }

    #[test]
    fn a_limit_changed_by_hand_is_seen_and_put_back() {
        let directory = tempfile::tempdir().unwrap();
        let limit = Limit {
            path: directory.path().to_owned(),
            file: "memory.max".to_owned(),
            value: 4096,
        };
        limit.set().unwrap();
        assert_eq!(limit.difference(), None);
        fs::write(directory.path().join("memory.max"), "max\n").unwrap();
        assert_eq!(limit.difference().unwrap().live, Value::from("max"));
        limit.set().unwrap();
        assert_eq!(limit.difference(), None);
    }
}
