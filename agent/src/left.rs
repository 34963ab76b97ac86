//! What an agent has left running.

use std::path::Path;

use crate::layout::Layout;
use crate::proc;
use crate::record::{EXITED, RUNNING, RunningRecord, SPEC, SpecRecord, read_record};

/// The tasks of an agent's data directory that run although there is no agent, for people:
/// `web.0 (tsk_7)`.
pub fn still_running(data_dir: &Path) -> Vec<String> {
    let Ok(root) = data_dir.canonicalize() else {
        return Vec::new();
    };
    let entries = std::fs::read_dir(Layout::new(root).tasks());
    let mut left: Vec<_> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| running_in(&entry.path()))
        .collect();
    left.sort_unstable();
    let named = left
        .into_iter()
        .map(|(task, name)| format!("{name} ({task})"));
    named.collect()
}

fn running_in(directory: &Path) -> Option<(kelson_model::id::TaskId, String)> {
    let running: RunningRecord = read_record(directory, RUNNING).ok()??;
    let is_over = directory.join(EXITED).exists() || !proc::is_there(running.shim);
    let spec: SpecRecord = read_record(directory, SPEC).ok()??;
    (!is_over).then_some((spec.order.task, spec.order.name))
}
