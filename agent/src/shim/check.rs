//! One run of a check's program, inside the task: a process of its own that leaves nothing behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use kelson_agent_core::Environment;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, kill_process_group, pidfd_open, set_child_subreaper, setsid,
};
use serde::{Deserialize, Serialize};

use super::clean::{keep_descriptors, stop_ignoring};
use super::gate::{find_program, yield_to_the_agent};
use super::sweep::sweep_orphans;
use crate::isolation::Groups;

/// Longest order, in bytes: an environment may be large.
const MAX_ORDER: u64 = 16 << 20;

/// What to run, one line of JSON on the standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CheckOrder {
    pub(crate) groups: Groups,
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Environment,
    pub(crate) directory: PathBuf,
}

/// What came of it, one line of JSON on the standard output.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckVerdict {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    /// Why the program could not be started.
    pub(crate) not_started: Option<String>,
}

/// Runs the mode `check`: reads an order, enters the task's cgroups, runs the program, kills what
/// it has left behind, and says how it ended.
///
/// Where the standard input ends before the program does, nobody waits for it any more: it is
/// killed. Must be called before any thread is started: this process moves itself into cgroups, and
/// Linux counts threads one by one.
pub fn run_check() -> ExitCode {
    // Fails only where we lead a session already.
    let _ = setsid();
    let _ = set_child_subreaper(Some(getpid()));
    keep_descriptors();
    stop_ignoring(|_| true);
    let verdict = match carry_out() {
        Ok(Some(status)) => CheckVerdict {
            code: status.code(),
            signal: status.signal(),
            not_started: None,
        },
        // Nobody listens.
        Ok(None) => return ExitCode::FAILURE,
        Err(reason) => CheckVerdict {
            not_started: Some(reason),
            ..CheckVerdict::default()
        },
    };
    let Ok(line) = serde_json::to_string(&verdict) else {
        return ExitCode::FAILURE;
    };
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    ExitCode::SUCCESS
}

/// Gives how the program ended; absent where it was killed because nobody waits for it.
fn carry_out() -> Result<Option<ExitStatus>, String> {
    let mut line = Vec::new();
    let mut input = BufReader::new(std::io::stdin().take(MAX_ORDER));
    let read = input.read_until(b'\n', &mut line);
    read.map_err(|error| format!("the order of a check: {error}"))?;
    let order: CheckOrder =
        serde_json::from_slice(&line).map_err(|error| format!("the order of a check: {error}"))?;
    let entered = order.groups.enter();
    entered.map_err(|error| format!("its cgroup refused it: {error}"))?;
    yield_to_the_agent();
    let cannot_enter = |error| format!("the workdir '{}': {error}", order.directory.display());
    std::env::set_current_dir(&order.directory).map_err(cannot_enter)?;
    let program = find_program(&order.program, &order.environment, "the task's")?;
    let mut child = Command::new(&program)
        .arg0(&order.program)
        .args(&order.arguments)
        .env_clear()
        .envs(&order.environment)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("'{}' could not be started: {}", order.program, error.kind()))?;
    let has_ended = wait(&child)?;
    if let Some(group) = pid_of(&child) {
        // Not reaped yet: its number, and so its group's, cannot be another's.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    // Those that have left the group come to us, and no further.
    sweep_orphans(&Groups::default());
    Ok(has_ended.then_some(status))
}

fn pid_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Waits for the program, or until nobody waits for us; says whether the program has ended.
fn wait(child: &Child) -> Result<bool, String> {
    let pidfd = pid_of(child)
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        .ok_or("the program's pidfd")?;
    let stdin = std::io::stdin();
    loop {
        let mut fds = [
            PollFd::new(&pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.to_string()),
        }
        let [program, listener] = &fds;
        if !program.revents().is_empty() {
            return Ok(true);
        }
        if !listener.revents().is_empty() {
            return Ok(false);
        }
    }
}
