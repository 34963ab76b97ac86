//! Taking over what an earlier run of the agent has left.
//!
//! *Flow*, per task directory: `exited.json` → told again; the shim's pidfd, then its start time,
//! alive → adopted with what was noted of it; gone, another boot id, or a record that cannot be
//! read → what may live of it is ended, then lost, with the cause. A directory without
//! `running.json` never ran, unless its shim is just at it, which the lock tells: it is deleted,
//! and the kernel's next list says whether it is to be started. Cgroups without a directory are
//! killed.
//!
//! *Guarantees*: idempotent; nothing is deleted or replaced that may live; a program is not started
//! twice: a shim refuses a directory that has a `running.json`, and one that is so slow that its
//! directory was deleted before it took the lock can write no `running.json` any more, so that its
//! gate never opens.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use kelson_agent_core::{Adopted, Input, Moment, StopNote, TaskOrder};
use kelson_model::id::TaskId;
use kelson_model::task::ExitCause;
use kelson_model::time::WallTime;
use rustix::fs::{FlockOperation, flock};

use crate::isolation::Groups;
use crate::launch::{AdoptedShim, Launcher, ending};
use crate::proc;
use crate::record::{
    EXITED, LOCK, RUNNING, RunningRecord, SPEC, SpecRecord, read_notes, read_record, read_stop,
};

/// How long a shim that has just been started may take to write its record.
const SHIM_DEADLINE: Duration = Duration::from_secs(10);

/// How a task was found.
#[derive(Debug)]
pub(crate) enum Found {
    /// Its shim lives.
    Running { shim: AdoptedShim, adopted: Adopted },
    /// It has ended, and was asked to before if there is a note of that.
    Over { what: Input, stop: Option<StopNote> },
    /// Nobody holds it; this is to be said once nothing of it lives.
    Unheld { reason: String, cause: ExitCause },
}

/// One task of an earlier run.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) task: TaskId,
    /// Absent: it cannot be read.
    pub(crate) order: Option<TaskOrder>,
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
            Ok(Some(spec)) if spec.order.task == task => match find(&directory, &boot_id) {
                Some(found) => out.push(Recovered {
                    task,
                    found,
                    order: Some(spec.order),
                    groups: spec.launch.groups,
                }),
                None => {
                    tracing::info!(%task, "deleting a task that was never started");
                    launcher.remove(task);
                }
            },
            Ok(None) if is_untouched(launcher, task) => {
                tracing::debug!(%task, "deleting a task that was never prepared to its end");
                launcher.remove(task);
            }
            Ok(Some(_)) => {
                let reason = "its specification is another task's".to_owned();
                out.push(unreadable(launcher, task, reason));
            }
            Ok(None) => {
                let reason = "its specification is gone".to_owned();
                out.push(unreadable(launcher, task, reason));
            }
            Err(error) => out.push(unreadable(launcher, task, error.to_string())),
        }
    }
    let known: std::collections::BTreeSet<TaskId> = out.iter().map(|one| one.task).collect();
    let kept = |task: TaskId| known.contains(&task) || launcher.layout.task(task).exists();
    let swept = launcher.isolation.sweep(kept);
    if swept > 0 {
        tracing::info!(swept, "killed cgroups that belong to no task");
    }
    Ok(out)
}

/// A task of which nobody can say what it is: how it ended, where that is on record; else whatever
/// lives of it must end.
fn unreadable(launcher: &Launcher, task: TaskId, reason: String) -> Recovered {
    tracing::error!(%task, reason, "the records of a task of an earlier run cannot be read");
    let directory = launcher.layout.task(task);
    let found = match ending(&directory) {
        Input::Ended(ending) => Found::Over {
            what: Input::Ended(ending),
            stop: read_stop(&directory),
        },
        _ => Found::Unheld {
            reason: format!("its records cannot be read: {reason}"),
            cause: ExitCause::RecordsUnreadable,
        },
    };
    Recovered {
        task,
        order: None,
        groups: Groups::default(),
        found,
    }
}

/// Whether nothing was ever started in a task's directory, nor is about to be.
fn is_untouched(launcher: &Launcher, task: TaskId) -> bool {
    let directory = launcher.layout.task(task);
    let was_started = [RUNNING, EXITED]
        .iter()
        .any(|name| directory.join(name).exists());
    !was_started && !is_held(&directory) && launcher.carriers(task).shims().is_empty()
}

/// How a task that was written down stands; `None` where it was never started.
fn find(directory: &Path, boot_id: &str) -> Option<Found> {
    if directory.join(EXITED).exists() {
        return Some(over(directory));
    }
    match wait_for_running(directory) {
        Ok(Some(record)) => Some(judge(directory, boot_id, &record)),
        Ok(None) => None,
        Err((reason, cause)) => Some(Found::Unheld { reason, cause }),
    }
}

/// What a directory says whose shim is gone.
fn over(directory: &Path) -> Found {
    match ending(directory) {
        Input::SupervisorDied { reason, cause } => Found::Unheld { reason, cause },
        what => Found::Over {
            what,
            stop: read_stop(directory),
        },
    }
}

fn judge(directory: &Path, boot_id: &str, record: &RunningRecord) -> Found {
    if record.boot_id != boot_id {
        return Found::Unheld {
            reason: "the machine was started again".to_owned(),
            cause: ExitCause::MachineRestarted,
        };
    }
    match AdoptedShim::pin(record.shim) {
        Some(shim) => Found::Running {
            shim,
            adopted: Adopted {
                pid: record.task.pid,
                at: WallTime(record.started_at_ms),
                // The start of the program on the boot clock, by Linux' own books.
                started: Moment(record.task.start_ticks.saturating_mul(proc::MS_PER_TICK)),
                note: read_notes(directory, boot_id),
            },
        },
        // Read again: the shim may have written its record just now.
        None => over(directory),
    }
}

/// Whether a shim holds this directory.
fn is_held(directory: &Path) -> bool {
    File::open(directory.join(LOCK))
        .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err())
}

/// Waits for a shim that holds the lock and has not written its record yet; `None` where nobody
/// holds it.
fn wait_for_running(directory: &Path) -> Result<Option<RunningRecord>, (String, ExitCause)> {
    let begin = Instant::now();
    loop {
        // The lock first: where it is free, no shim will write a record any more.
        let is_held = is_held(directory);
        let record = read_record::<RunningRecord>(directory, RUNNING).map_err(|error| {
            let reason = format!("its records cannot be read: {error}");
            (reason, ExitCause::RecordsUnreadable)
        })?;
        if record.is_some() || !is_held {
            return Ok(record);
        }
        if begin.elapsed() > SHIM_DEADLINE {
            let reason = "its shim holds it and does not start it".to_owned();
            return Err((reason, ExitCause::ShimDied));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
