//! Ending a task without its shim: the second line of defence.

use std::path::Path;

use kelson_model::id::TaskId;
use rustix::process::{Pid, Signal, kill_process};

use crate::isolation::Groups;
use crate::proc;
use crate::record::{RUNNING, RunningRecord, SPEC, SpecRecord, WORK, read_record};
use crate::shim::{Command, send_command};

/// Kills everything that belongs to a task: through its shim where that lives, and through its cgroups, its session and its environment
/// where it does not. Blocks for seconds at the worst.
pub(crate) fn kill_task(directory: &Path, task: TaskId) {
    if send_command(directory, Command::Kill).is_ok() {
        return;
    }
    let groups = match read_record::<SpecRecord>(directory, SPEC) {
        Ok(Some(spec)) => spec.launch.groups,
        Ok(None) | Err(_) => Groups::default(),
    };
    if !groups.groups.is_empty() {
        let (killed, is_empty) = groups.kill();
        tracing::debug!(%task, killed, is_empty, "killed the cgroups of a task without a shim");
        groups.remove();
    }
    let running = read_record::<RunningRecord>(directory, RUNNING)
        .ok()
        .flatten();
    kill_by_marks(directory, task, running.as_ref());
}

/// Kills what is left in the shim's session, and what was started with the environment of this very task.
fn kill_by_marks(directory: &Path, task: TaskId, running: Option<&RunningRecord>) {
    let marks = [
        format!("KELSON_TASK_ID={task}"),
        format!("TMPDIR={}", directory.join(WORK).display()),
    ];
    let session = running
        .filter(|record| record.boot_id == proc::boot_id())
        .map(|record| record.shim)
        // Where a process has the shim's number now, the number is another's, and so may be the session.
        .filter(|shim| proc::name_of(shim.pid).is_none_or(|now| now == *shim))
        .map(|shim| shim.pid);
    // Twice, since a process may fork while we read.
    for _ in 0..2 {
        for pid in proc::pids() {
            let is_in_session =
                session.is_some() && proc::stat(pid).map(|stat| stat.session) == session;
            if (is_in_session || proc::environment_holds(pid, &marks))
                && let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw)
            {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}
