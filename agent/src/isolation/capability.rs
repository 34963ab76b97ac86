//! What this machine lets us enforce, found out by doing it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kelson_model::id::TaskId;
use kelson_model::quantity::{Bytes, MilliCpus};

use super::group::{Group, Groups, Version};
use super::hierarchy::{Hierarchy, parse_hierarchies};
use super::known::{keep_known, read_known};
use super::limits::{Limit, plan_limits};

/// What we limit, in the order in which it is told.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

/// What can be enforced here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Isolation {
    /// The parents of all groups of this agent's tasks.
    parents: Vec<Group>,
    /// Parents that an earlier agent on the same data has used, in other places.
    earlier: Vec<Group>,
}

impl Isolation {
    /// No cgroups are used.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Tries out every hierarchy: makes a group, sets a limit, moves a process in, kills it,
    /// removes the group.
    ///
    /// `token` names the agent, so that two agents on a machine do not meet; `shim` is the
    /// executable that waits in its gate meanwhile.
    pub(crate) fn find_out(token: &str, shim: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let hierarchies =
            parse_hierarchies(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
        let mut parents: Vec<Group> = Vec::new();
        let v1 = hierarchies.iter().filter(|one| one.version == Version::V1);
        let v2 = hierarchies.iter().filter(|one| one.version == Version::V2);
        for hierarchy in v1.chain(v2) {
            let is_wanted = match hierarchy.version {
                Version::V1 => hierarchy
                    .controllers
                    .iter()
                    .any(|name| CONTROLLERS.contains(&name.as_str()) || name == "freezer"),
                // A v2 hierarchy without controllers could only kill, which the freezer does too,
                // and entering it takes long.
                Version::V2 => {
                    !parents.iter().any(|parent| parent.has("freezer"))
                        || hierarchy.offers(&CONTROLLERS)
                }
            };
            if !is_wanted {
                continue;
            }
            match try_hierarchy(hierarchy, token, shim) {
                Ok(parent) => parents.push(parent),
                Err(error) => {
                    tracing::debug!(group = %hierarchy.own.display(), %error, "a cgroup hierarchy cannot be used");
                }
            }
        }
        Self {
            parents,
            earlier: Vec::new(),
        }
    }

    /// Takes up where earlier agents on this data directory have placed their tasks, and writes
    /// down where this one does.
    pub(crate) fn remember(mut self, root: &Path) -> Self {
        let mut earlier = read_known(root);
        earlier.retain(|known| !self.parents.iter().any(|one| one.path == known.path));
        self.earlier = earlier;
        let all: Vec<Group> = self.all_parents().cloned().collect();
        if !all.is_empty() {
            keep_known(root, all);
        }
        self
    }

    fn all_parents(&self) -> impl Iterator<Item = &Group> {
        self.parents.iter().chain(&self.earlier)
    }

    /// The groups that a task of this agent has, or had: their names follow from its id.
    pub(crate) fn groups_of(&self, task: TaskId) -> Groups {
        let groups = self.all_parents().map(|parent| Group {
            path: parent.path.join(task.to_string()),
            ..parent.clone()
        });
        Groups {
            groups: groups.filter(|group| group.path.is_dir()).collect(),
            limits: Vec::new(),
        }
    }

    /// Makes the groups of one task and sets its limits; leaves none behind where that fails.
    pub(crate) fn create(
        &self,
        task: TaskId,
        cpus: MilliCpus,
        memory: Bytes,
    ) -> std::io::Result<Groups> {
        let mut groups = Groups::default();
        let made = self.try_create(&mut groups, task, cpus, memory);
        if made.is_err() {
            groups.remove();
        }
        made.map(|()| groups)
    }

    fn try_create(
        &self,
        groups: &mut Groups,
        task: TaskId,
        cpus: MilliCpus,
        memory: Bytes,
    ) -> std::io::Result<()> {
        for parent in &self.parents {
            let path = parent.path.join(task.to_string());
            match fs::create_dir(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            groups.groups.push(Group {
                path,
                ..parent.clone()
            });
        }
        groups.limits = plan_limits(&groups.groups, cpus, memory);
        groups.limits.retain(Limit::can_be_set);
        for limit in &groups.limits {
            limit.set()?;
        }
        Ok(())
    }

    /// The tasks that have groups.
    pub(crate) fn tasks(&self) -> Vec<TaskId> {
        self.all_parents()
            .filter_map(|parent| fs::read_dir(&parent.path).ok())
            .flat_map(|entries| entries.flatten())
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect()
    }

    /// Kills and removes the groups of tasks that this agent does not know.
    pub(crate) fn sweep(&self, is_known: impl Fn(TaskId) -> bool) -> usize {
        let mut swept = 0;
        for parent in self.all_parents() {
            let Ok(entries) = fs::read_dir(&parent.path) else {
                continue;
            };
            for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
                let task = entry
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse().ok());
                if task.is_some_and(&is_known) {
                    continue;
                }
                let orphan = Groups {
                    groups: vec![Group {
                        path: entry.path(),
                        ..parent.clone()
                    }],
                    limits: Vec::new(),
                };
                orphan.kill();
                orphan.remove();
                swept += 1;
            }
        }
        swept
    }

    /// Removes the agent's own groups, as far as they are empty.
    pub(crate) fn remove(&self) {
        for parent in self.all_parents() {
            let _ = fs::remove_dir(&parent.path);
            if let Some(ours) = parent.path.parent() {
                let _ = fs::remove_dir(ours);
            }
        }
    }

    fn enforces(&self, controller: &str) -> Option<Version> {
        self.parents
            .iter()
            .find(|parent| parent.has(controller))
            .map(|parent| parent.version)
    }

    fn kills_whole(&self) -> bool {
        !self.parents.is_empty()
    }

    /// What the agent publishes about itself.
    pub(crate) fn attributes(&self) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        for controller in CONTROLLERS {
            let level = match self.enforces(controller) {
                Some(Version::V1) => "enforced(cgroup-v1)",
                Some(Version::V2) => "enforced(cgroup-v2)",
                None => "none",
            };
            out.insert(format!("isolation.{controller}"), level.to_owned());
        }
        out.insert("isolation.disk".to_owned(), "none".to_owned());
        let kill_all = if self.kills_whole() {
            "cgroup"
        } else {
            "process-group"
        };
        out.insert("kill_all".to_owned(), kill_all.to_owned());
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        let limit = limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
        out.insert("rlimit.max_nofile".to_owned(), limit);
        out
    }

    /// What is not enforced, for each task's status; empty where all is.
    pub(crate) fn line(&self) -> String {
        let missing: Vec<String> = CONTROLLERS
            .iter()
            .filter(|controller| self.enforces(controller).is_none())
            .map(|controller| format!("{controller}: none"))
            .collect();
        missing.join(", ")
    }
}

fn try_hierarchy(hierarchy: &Hierarchy, token: &str, shim: &Path) -> std::io::Result<Group> {
    let ours = hierarchy.own.join("kelson");
    let path = ours.join(token);
    let mut controllers = hierarchy.controllers.clone();
    if hierarchy.version == Version::V2 {
        fs::create_dir_all(&ours)?;
        controllers = enable(&hierarchy.own)?;
    }
    fs::create_dir_all(&path)?;
    if hierarchy.version == Version::V2 {
        for directory in [&ours, &path] {
            for controller in &controllers {
                fs::write(
                    directory.join("cgroup.subtree_control"),
                    format!("+{controller}"),
                )?;
            }
        }
    }
    let parent = Group {
        version: hierarchy.version,
        controllers,
        path,
    };
    let tried = try_out(&parent, shim);
    if tried.is_err() {
        let _ = fs::remove_dir(&parent.path);
        let _ = fs::remove_dir(&ours);
    }
    tried.map(|()| parent)
}

/// Enables what we limit for the children of our own v2 group; says what is enabled.
///
/// A v2 group with controllers for its children must hold no process itself (but for the root):
/// where the agent is alone in its group, it moves into a leaf of its own. Where it is not alone,
/// nothing is enforced, and that is said.
fn enable(own: &Path) -> std::io::Result<Vec<String>> {
    let available = fs::read_to_string(own.join("cgroup.controllers"))?;
    let wanted: Vec<String> = CONTROLLERS
        .iter()
        .filter(|controller| {
            available
                .split_whitespace()
                .any(|name| name == **controller)
        })
        .map(|controller| (*controller).to_owned())
        .collect();
    let enable_all = || -> std::io::Result<()> {
        for controller in &wanted {
            fs::write(own.join("cgroup.subtree_control"), format!("+{controller}"))?;
        }
        Ok(())
    };
    if enable_all().is_ok() {
        return Ok(wanted);
    }
    let alone =
        fs::read_to_string(own.join("cgroup.procs"))?.trim() == std::process::id().to_string();
    if alone {
        let leaf: PathBuf = own.join("kelson-agent");
        fs::create_dir_all(&leaf)?;
        fs::write(leaf.join("cgroup.procs"), std::process::id().to_string())?;
        if enable_all().is_ok() {
            return Ok(wanted);
        }
    }
    // Without controllers a v2 group still tracks, freezes and kills.
    Ok(Vec::new())
}

fn try_out(parent: &Group, shim: &Path) -> std::io::Result<()> {
    let group = Group {
        path: parent.path.join("probe"),
        ..parent.clone()
    };
    if !group.path.exists() {
        fs::create_dir(&group.path)?;
    }
    let mut limits = plan_limits(
        std::slice::from_ref(&group),
        MilliCpus(100),
        Bytes(64 << 20),
    );
    limits.retain(Limit::can_be_set);
    let groups = Groups {
        groups: vec![group],
        limits,
    };
    let try_it = || -> std::io::Result<()> {
        for limit in &groups.limits {
            limit.set()?;
            if let Some(difference) = limit.difference() {
                return Err(std::io::Error::other(format!(
                    "{} did not take",
                    difference.field
                )));
            }
        }
        if parent.version == Version::V2 && !parent.path.join("cgroup.kill").exists() {
            return Err(std::io::Error::other("there is no cgroup.kill"));
        }
        let mut child = Command::new(shim)
            .arg("gate")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let placed = groups.place(child.id());
        let _ = child.kill();
        let _ = child.wait();
        placed
    };
    let tried = try_it();
    groups.kill();
    groups.remove();
    tried
}
