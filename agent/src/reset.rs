//! Ending everything that an agent's data directory stands for, without an agent.

use std::collections::BTreeSet;
use std::path::Path;

use kelson_model::id::TaskId;

use crate::config::AgentError;
use crate::identity::lock_directory;
use crate::isolation::Isolation;
use crate::kill::{Carriers, shims};
use crate::layout::Layout;

/// Ends the tasks of a data directory that nobody will use again: their programs and all that came
/// of them, their shims, their cgroups. The directory itself stays. Blocks, for seconds at the
/// worst.
///
/// # Errors
/// Where an agent has the directory, or something cannot be killed.
pub fn end_everything(data_dir: &Path) -> Result<(), AgentError> {
    if !data_dir.is_dir() {
        return Ok(());
    }
    let _lock = lock_directory(data_dir)?;
    let io = |source| AgentError::Io {
        path: data_dir.to_owned(),
        source,
    };
    let root = data_dir.canonicalize().map_err(io)?;
    let isolation = Isolation::none().remember(&root);
    let layout = Layout::new(root);
    let mut left = Vec::new();
    for task in tasks_of(&layout, &isolation) {
        let carriers = Carriers::of(&layout, &isolation, task);
        if !carriers.end() {
            left.push(task.to_string());
        }
        carriers.remove_groups();
    }
    isolation.sweep(|_| false);
    isolation.remove();
    if left.is_empty() {
        return Ok(());
    }
    let some = std::io::Error::other(format!("these cannot be killed: {}", left.join(", ")));
    Err(io(some))
}

/// All tasks of which there may be something: a directory, a cgroup, or a shim.
fn tasks_of(layout: &Layout, isolation: &Isolation) -> BTreeSet<TaskId> {
    let mut out: BTreeSet<TaskId> = isolation.tasks().into_iter().collect();
    let named = |path: &Path| path.file_name()?.to_str()?.parse::<TaskId>().ok();
    if let Ok(entries) = std::fs::read_dir(layout.tasks()) {
        out.extend(entries.flatten().filter_map(|entry| named(&entry.path())));
    }
    let held = shims().into_iter().map(|(_, directory)| directory);
    let held = held.filter(|directory| directory.parent() == Some(&layout.tasks()));
    out.extend(held.filter_map(|directory| named(&directory)));
    out
}
