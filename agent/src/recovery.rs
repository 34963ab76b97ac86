//! Taking over what an earlier run of the agent has left.
//!
//! *Flow*, per task directory: `exited.json` → told again; another boot id → lost; the shim's pidfd, then its start time, alive → adopted;
//! gone → what the directory says, and its cgroups killed. A directory without `running.json` never ran, unless its shim is just at it, which
//! the lock tells: it is deleted, and the kernel's next list says whether it is to be started. Cgroups without a directory are killed.
//!
//! *Guarantees*: idempotent; a program is not started twice: a shim refuses a directory that has a `running.json`, and one that is so slow
//! that its directory was deleted before it took the lock can write no `running.json` any more, so that its gate never opens.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use kelson_agent_core::{Input, TaskOrder};
use kelson_model::id::TaskId;
use kelson_model::time::WallTime;
use rustix::fs::{FlockOperation, flock};

use crate::isolation::Groups;
use crate::launch::{AdoptedShim, Launcher, ending};
use crate::proc;
use crate::record::{EXITED, LOCK, RUNNING, RunningRecord, SPEC, SpecRecord, read_record};

/// So long a shim that has just been started may take to write its record.
const SHIM_DEADLINE: Duration = Duration::from_secs(10);

/// How a task was found.
#[derive(Debug)]
pub(crate) enum Found {
    /// Its shim lives.
    Running {
        shim: AdoptedShim,
        pid: u32,
        at: WallTime,
    },
    /// It has ended, or nobody knows.
    Over(Input),
}

/// One task of an earlier run.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) order: TaskOrder,
    pub(crate) groups: Groups,
    pub(crate) found: Found,
}

/// Looks at every task directory. Blocks.
pub(crate) fn recover(launcher: &Launcher) -> std::io::Result<Vec<Recovered>> {
    let tasks = launcher.layout.tasks();
    fs::create_dir_all(&tasks)?;
    let boot_id = proc::boot_id();
    let mut out = Vec::new();
    for entry in fs::read_dir(&tasks)? {
        let entry = entry?;
        let Some(task) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<TaskId>().ok())
        else {
            continue;
        };
        let directory = entry.path();
        match read_record::<SpecRecord>(&directory, SPEC) {
            Ok(Some(spec)) => match find(&directory, &boot_id) {
                Some(found) => out.push(Recovered {
                    found,
                    order: spec.order,
                    groups: spec.launch.groups,
                }),
                None => {
                    tracing::info!(%task, "deleting a task that was never started");
                    launcher.remove(task);
                }
            },
            Ok(None) => {
                tracing::debug!(%task, "deleting a task that was never prepared to its end");
                launcher.remove(task);
            }
            Err(error) => {
                tracing::error!(%task, %error, "a task of an earlier run cannot be read; it is left alone")
            }
        }
    }
    let known: std::collections::BTreeSet<TaskId> = out.iter().map(|one| one.order.task).collect();
    let kept = |task: TaskId| known.contains(&task) || launcher.layout.task(task).exists();
    let swept = launcher.isolation.sweep(kept);
    if swept > 0 {
        tracing::info!(swept, "killed cgroups that belong to no task");
    }
    Ok(out)
}

/// How a task that was written down stands; `None` where it was never started.
fn find(directory: &Path, boot_id: &str) -> Option<Found> {
    if directory.join(EXITED).exists() {
        return Some(Found::Over(ending(directory)));
    }
    match wait_for_running(directory) {
        Ok(Some(record)) => Some(judge(directory, boot_id, &record)),
        Ok(None) => None,
        Err(reason) => Some(Found::Over(Input::SupervisorDied { reason })),
    }
}

fn judge(directory: &Path, boot_id: &str, record: &RunningRecord) -> Found {
    if record.boot_id != boot_id {
        let reason = "the machine was started again".to_owned();
        return Found::Over(Input::SupervisorDied { reason });
    }
    match AdoptedShim::pin(record.shim) {
        Some(shim) => Found::Running {
            shim,
            pid: record.task.pid,
            at: WallTime(record.started_at_ms),
        },
        // Read again: the shim may have written its record just now.
        None => Found::Over(ending(directory)),
    }
}

/// Waits for a shim that holds the lock and has not written its record yet; `None` where nobody holds it.
fn wait_for_running(directory: &Path) -> Result<Option<RunningRecord>, String> {
    let begin = Instant::now();
    loop {
        // The lock first: where it is free, no shim will write a record any more.
        let is_held = File::open(directory.join(LOCK))
            .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err());
        let record = read_record::<RunningRecord>(directory, RUNNING)
            .map_err(|error| format!("supervisor died: {error}"))?;
        if record.is_some() || !is_held {
            return Ok(record);
        }
        if begin.elapsed() > SHIM_DEADLINE {
            return Err("its shim holds it and does not start it".to_owned());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
