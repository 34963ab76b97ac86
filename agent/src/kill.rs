//! Ending what carries a task's id, whoever holds it, and whatever of its records can be read.
//!
//! *Flow*: everything that runs of a task is found by what the task's id gives: its cgroups, whose
//! names follow from it; the marks that stand in the environment of every process that the task has
//! started; the session that its shim leads. The program goes first, so that its shim can still
//! record how; a shim that does not do so goes last.
//!
//! *Guarantees*: no process is taken for another that had its number before: it is pinned, and its
//! start compared, before it is killed. What cannot be killed (a process that waits for a disk) is
//! never said to be gone.
//!
//! *Caveats*: without cgroups, a process that has both left the session and cleared its environment
//! is not found.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kelson_model::id::TaskId;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::isolation::{Groups, Isolation};
use crate::layout::Layout;
use crate::proc;
use crate::record::{ProcessName, RUNNING, RunningRecord, SPEC, SpecRecord, WORK, read_record};
use crate::shim::{Command, send_command};

/// How long a shim may take to record an end before it counts as stuck.
const SHIM_PATIENCE: Duration = Duration::from_secs(3);
/// How long processes may take to die in one attempt.
const DEATH_PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// What carries one task's id.
#[derive(Debug, Clone)]
pub(crate) struct Carriers {
    task: TaskId,
    directory: PathBuf,
    groups: Groups,
    /// Its shim, as far as the records can be read: the leader of a session.
    shim: Option<ProcessName>,
}

impl Carriers {
    /// Finds out by what the task's processes are known. Reads what can be read of its records, and
    /// needs none of them.
    pub(crate) fn of(layout: &Layout, isolation: &Isolation, task: TaskId) -> Self {
        let directory = layout.task(task);
        let mut groups = isolation.groups_of(task);
        if let Ok(Some(spec)) = read_record::<SpecRecord>(&directory, SPEC) {
            for group in spec.launch.groups.groups {
                if !groups.groups.iter().any(|known| known.path == group.path) {
                    groups.groups.push(group);
                }
            }
        }
        let running = read_record::<RunningRecord>(&directory, RUNNING);
        let shim = running
            .ok()
            .flatten()
            .filter(|record| record.boot_id == proc::boot_id())
            .map(|record| record.shim)
            // Where a process has the shim's number now, the number is another's, and so may be the
            // session.
            .filter(|shim| proc::name_of(shim.pid).is_none_or(|now| now == *shim));
        Self {
            task,
            directory,
            groups,
            shim,
        }
    }

    /// Ends all of it, through the shim where that answers and without it where it does not; says
    /// whether nothing is left. Blocks for seconds at the worst.
    pub(crate) fn end(&self) -> bool {
        let shims = self.shims();
        let is_asked = send_command(&self.directory, Command::Kill).is_ok();
        let may_answer = shims.iter().any(|shim| !proc::is_stopped(*shim));
        if is_asked && may_answer && wait_gone(&shims, SHIM_PATIENCE) {
            // It has recorded the end and swept before it went; what its groups do not show, only a
            // look at all processes would.
            return if self.has_groups() {
                self.end_groups()
            } else {
                self.end_program()
            };
        }
        if !self.end_program() {
            return false;
        }
        // Nothing of the program lives: a shim that can still work has only its record to write.
        for shim in &shims {
            signal_exactly(*shim, Signal::CONT);
        }
        if !wait_gone(&shims, SHIM_PATIENCE) {
            tracing::warn!(task = %self.task, "its shim does not answer, and is killed");
            for shim in &shims {
                signal_exactly(*shim, Signal::KILL);
            }
        }
        // A shim dies in the middle of a start, perhaps: its gate is in its session.
        wait_gone(&shims, DEATH_PATIENCE) && self.end_program()
    }

    /// Ends what runs of the task but for its shim; says whether nothing of that is left.
    pub(crate) fn end_program(&self) -> bool {
        let begin = Instant::now();
        loop {
            self.end_groups();
            let marked = self.marked();
            if marked.is_empty() && self.groups.is_empty() {
                return true;
            }
            for process in marked {
                signal_exactly(process, Signal::KILL);
            }
            if begin.elapsed() > DEATH_PATIENCE {
                return false;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Ends what is in its cgroups; says whether nothing is.
    pub(crate) fn end_groups(&self) -> bool {
        self.groups.kill().1
    }

    fn has_groups(&self) -> bool {
        !self.groups.groups.is_empty()
    }

    /// Removes its cgroups, as far as they are empty.
    pub(crate) fn remove_groups(&self) {
        self.groups.remove();
    }

    /// The shims that hold its directory: one, or none.
    pub(crate) fn shims(&self) -> Vec<ProcessName> {
        if let Some(shim) = self.shim {
            return Some(shim)
                .into_iter()
                .filter(|shim| proc::is_there(*shim))
                .collect();
        }
        let all = shims().into_iter();
        all.filter(|(_, directory)| *directory == self.directory)
            .map(|(shim, _)| shim)
            .collect()
    }

    /// What stands in the shim's session, and what was started with the environment of this very
    /// task.
    fn marked(&self) -> Vec<ProcessName> {
        let id = format!("KELSON_TASK_ID={}", self.task);
        let work = self.directory.join(WORK);
        let homes = ["TMPDIR", "HOME"].map(|name| format!("{name}={}", work.display()));
        let mut out = Vec::new();
        for pid in proc::pids() {
            let Some(stat) = proc::stat(pid).filter(|stat| !stat.is_over()) else {
                continue;
            };
            let session = self.shim.map(|shim| shim.pid);
            let is_shim = session == Some(pid);
            let is_in_session = session == Some(stat.session);
            if !is_shim && (is_in_session || proc::environment_holds(pid, &id, &homes)) {
                out.push(ProcessName {
                    pid,
                    start_ticks: stat.start_ticks,
                });
            }
        }
        out
    }
}

/// All living shims of this machine, each with the directory that it holds: `… shim DIRECTORY`.
pub(crate) fn shims() -> Vec<(ProcessName, PathBuf)> {
    let shim = |pid: u32| {
        let words = proc::command_line(pid);
        let mode = words.iter().position(|word| word == "shim")?;
        let directory = PathBuf::from(words.get(mode + 1)?);
        let stat = proc::stat(pid).filter(|stat| !stat.is_over())?;
        let name = ProcessName {
            pid,
            start_ticks: stat.start_ticks,
        };
        Some((name, directory))
    };
    proc::pids().into_iter().filter_map(shim).collect()
}

/// Sends a signal to this process and to no other that has its number by now.
pub(crate) fn signal_exactly(process: ProcessName, signal: Signal) {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else {
        return;
    };
    // The pidfd first: it pins the process, so that what is compared next is the same one.
    if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty())
        && proc::name_of(process.pid) == Some(process)
    {
        let _ = pidfd_send_signal(&pidfd, signal);
    }
}

/// Waits until these have ended; says whether they have.
fn wait_gone(processes: &[ProcessName], patience: Duration) -> bool {
    let begin = Instant::now();
    let mut left: BTreeSet<ProcessName> = processes.iter().copied().collect();
    loop {
        left.retain(|process| proc::is_there(*process));
        if left.is_empty() {
            return true;
        }
        if begin.elapsed() > patience {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::process::{Child, Stdio};

    use super::*;

    fn sleeper(work: &std::path::Path) -> Child {
        std::process::Command::new("sleep")
            .arg("1000")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("KELSON_TASK_ID", "tsk_1")
            .env("HOME", work)
            .spawn()
            .unwrap()
    }

    #[test]
    fn a_shim_that_never_answers_is_killed_after_its_program_and_no_stranger_is() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path().to_owned());
        let work = layout.work(TaskId(1));
        std::fs::create_dir_all(&work).unwrap();
        let mut program = sleeper(&work);
        // A task of the same name, of another agent.
        let mut stranger = sleeper(directory.path());
        let mut shim = std::process::Command::new("sh")
            .args(["-c", "read forever", "shim"])
            .arg(layout.task(TaskId(1)))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let carriers = Carriers::of(&layout, &Isolation::none(), TaskId(1));
        // A process shows its words and its environment only a moment after it was started.
        let begin = Instant::now();
        while carriers.shims().is_empty() || carriers.marked().is_empty() {
            assert!(begin.elapsed() < Duration::from_secs(60));
            std::thread::yield_now();
        }
        let held = carriers.shims();
        assert_eq!(held.first().map(|shim| shim.pid), Some(shim.id()));
        assert!(carriers.end());
        for ended in [&mut program, &mut shim] {
            assert!(!ended.wait().unwrap().success());
        }
        assert!(carriers.shims().is_empty());
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn a_number_that_is_another_process_by_now_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = sleeper(directory.path());
        let name = proc::name_of(child.id()).unwrap();
        let earlier = ProcessName {
            start_ticks: name.start_ticks - 1,
            ..name
        };
        signal_exactly(earlier, Signal::KILL);
        assert!(proc::is_there(name) && !proc::is_there(earlier));
        signal_exactly(name, Signal::KILL);
        assert!(!child.wait().unwrap().success());
    }
}
