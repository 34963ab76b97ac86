//! The cgroups of one task: placing a process, killing all, reading what happened.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::limits::Limit;

/// How long a group may take to die; after that it is left, and the caller is told.
const KILL_DEADLINE: Duration = Duration::from_secs(5);

/// Which cgroup interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Version {
    /// One hierarchy per controller.
    V1,
    /// One hierarchy.
    V2,
}

/// One directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Group {
    pub(crate) version: Version,
    /// v1: the controllers of its hierarchy; v2: those that are enabled in it.
    pub(crate) controllers: Vec<String>,
    pub(crate) path: PathBuf,
}

impl Group {
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }

    fn pids(&self) -> Vec<i32> {
        fs::read_to_string(self.path.join("cgroup.procs"))
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.parse().ok())
            .collect()
    }
}

/// All groups of one task, and the limits that are set in them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Groups {
    pub(crate) groups: Vec<Group>,
    pub(crate) limits: Vec<Limit>,
}

impl Groups {
    /// Puts this process, which must have one thread only, into every group.
    ///
    /// A process that moves itself, as a v1 task, waits for nobody; moving another one, or a whole
    /// v2 process, waits for every other processor to pass a quiet point, which is 10 ms and more
    /// on a machine that has not just done it.
    pub(crate) fn enter(&self) -> std::io::Result<()> {
        for group in &self.groups {
            let file = match group.version {
                Version::V1 => "tasks",
                Version::V2 => "cgroup.procs",
            };
            fs::write(group.path.join(file), "0").map_err(|error| {
                std::io::Error::new(error.kind(), format!("{}: {error}", group.path.display()))
            })?;
        }
        Ok(())
    }

    /// Puts a process into every group.
    pub(crate) fn place(&self, pid: u32) -> std::io::Result<()> {
        for group in &self.groups {
            fs::write(group.path.join("cgroup.procs"), pid.to_string()).map_err(|error| {
                std::io::Error::new(error.kind(), format!("{}: {error}", group.path.display()))
            })?;
        }
        Ok(())
    }

    /// Kills everything in the groups and waits until they are empty; says how many processes there
    /// were, and whether none is left.
    pub(crate) fn kill(&self) -> (u32, bool) {
        let begin = Instant::now();
        let mut killed = std::collections::BTreeSet::new();
        loop {
            let pids: Vec<i32> = self.groups.iter().flat_map(Group::pids).collect();
            if pids.is_empty() {
                return (u32::try_from(killed.len()).unwrap_or(u32::MAX), true);
            }
            killed.extend(pids.iter().copied());
            let is_killed_whole = self.groups.iter().any(|group| {
                group.version == Version::V2
                    && fs::write(group.path.join("cgroup.kill"), "1").is_ok()
            });
            if !is_killed_whole {
                self.kill_one_by_one(&pids);
            }
            if begin.elapsed() > KILL_DEADLINE {
                return (u32::try_from(killed.len()).unwrap_or(u32::MAX), false);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Freezes what can be frozen first, so that nothing forks away between the reading and the
    /// killing.
    fn kill_one_by_one(&self, pids: &[i32]) {
        let freezer = self
            .groups
            .iter()
            .find(|group| group.version == Version::V1 && group.has("freezer"));
        if let Some(freezer) = freezer {
            let _ = fs::write(freezer.path.join("freezer.state"), "FROZEN");
        }
        let now = self.groups.iter().flat_map(Group::pids);
        for pid in pids.iter().copied().chain(now) {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        if let Some(freezer) = freezer {
            let _ = fs::write(freezer.path.join("freezer.state"), "THAWED");
        }
    }

    /// Whether no process is in any of them.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.iter().all(|group| group.pids().is_empty())
    }

    /// Removes the directories; a group that still holds a process stays.
    pub(crate) fn remove(&self) {
        for group in &self.groups {
            let _ = fs::remove_dir(&group.path);
        }
    }

    /// How often the memory limit has killed a process of the task.
    pub(crate) fn oom_kills(&self) -> u64 {
        let memory = self.groups.iter().find(|group| group.has("memory"));
        memory.map_or(0, |group| {
            let file = match group.version {
                Version::V1 => "memory.oom_control",
                Version::V2 => "memory.events",
            };
            read_field(&group.path.join(file), "oom_kill")
        })
    }

    /// The highest memory use of the task, in bytes.
    pub(crate) fn max_memory(&self) -> Option<u64> {
        let group = self.groups.iter().find(|group| group.has("memory"))?;
        let file = match group.version {
            Version::V1 => "memory.max_usage_in_bytes",
            Version::V2 => "memory.peak",
        };
        fs::read_to_string(group.path.join(file))
            .ok()?
            .trim()
            .parse()
            .ok()
    }
}

fn read_field(path: &Path, name: &str) -> u64 {
    fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn out_of_memory_is_read_from_either_version() {
        let directory = tempfile::tempdir().unwrap();
        let groups = |version| Groups {
            groups: vec![Group {
                version,
                controllers: vec!["memory".to_owned()],
                path: directory.path().to_owned(),
            }],
            limits: Vec::new(),
        };
        fs::write(
            directory.path().join("memory.oom_control"),
            "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        )
        .unwrap();
        fs::write(
            directory.path().join("memory.events"),
            "low 0\noom 4\noom_kill 3\noom_group_kill 0\n",
        )
        .unwrap();
        assert_eq!(groups(Version::V1).oom_kills(), 2);
        assert_eq!(groups(Version::V2).oom_kills(), 3);
        assert_eq!(Groups::default().oom_kills(), 0);
    }
}
