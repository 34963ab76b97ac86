//! The shim's life, from the lock to the exit record.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, ExitCode, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, OFlags, fcntl_getfl, fcntl_setfl, flock};
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, kill_process_group, pidfd_open, set_child_subreaper, setsid,
};

use super::clean::{SIGCHLD, keep_descriptors, stop_ignoring};
use super::control::{Command, listen};
use super::oom::OomWatch;
use super::output::{RotatedFile, Stream};
use super::sweep::{kill_all, reap_strangers, sweep_orphans};
use crate::proc;
use crate::record::{
    EXITED, ExitedRecord, LOCK, LOGS, RECORD_VERSION, RUNNING, RecordError, RunningRecord, SPEC,
    SpecRecord, read_record, reserve_exit, write_exit, write_record,
};

/// How often strangers that have ended are reaped.
const REAP_INTERVAL: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};
/// Longest reason why a program could not be started, in characters.
const MAX_REASON: usize = 1000;
/// Pieces of 64 KiB carried per stream before the other things are looked at.
const PIECES: usize = 4;
/// Pieces carried after the end, when nobody can write any more.
const LAST_PIECES: usize = 1024;

/// The shim could not do its work.
#[derive(Debug, thiserror::Error)]
enum ShimError {
    #[error("another shim holds this task")]
    Held,
    #[error("this task was started before")]
    StartedBefore,
    #[error("{SPEC} is missing")]
    NoSpec,
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("{what}: {source}")]
    Io {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
}

fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> ShimError {
    move |source| ShimError::Io { what, source }
}

/// Runs the mode `shim`: holds the task of this directory until it has ended.
///
/// Says `running PID MS` or `ended` in one line on its standard output, for the agent that started
/// it. Must be called before any thread is started: the program lives as long as the thread that
/// started it.
pub fn run_shim(directory: &Path) -> ExitCode {
    match hold(directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is a file in the task's directory.
            let _ = writeln!(std::io::stderr(), "shim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn hold(directory: &Path) -> Result<(), ShimError> {
    std::env::set_current_dir(directory).map_err(io("the task's directory"))?;
    // Fails only where we lead a session already.
    let _ = setsid();
    keep_descriptors();
    // Where it is ignored, nobody can be waited for.
    stop_ignoring(|number| number == SIGCHLD);
    let _ = set_child_subreaper(Some(getpid()));
    let here = Path::new(".");
    let _lock = take_lock()?;
    if Path::new(RUNNING).exists() || Path::new(EXITED).exists() {
        return Err(ShimError::StartedBefore);
    }
    let spec: SpecRecord = read_record(here, SPEC)?.ok_or(ShimError::NoSpec)?;
    let claimed = match &spec.launch.ports {
        Some(guard) => guard.claim(&spec.order.ports).map(Some),
        None => Ok(None),
    };
    // Held until this process is gone, and never handed on.
    let _claims = match claimed {
        Ok(claims) => claims,
        Err(taken) => return finish_unstarted(taken.reason, taken.ports, &spec),
    };
    let control = listen().map_err(io("the control pipe"))?;
    let (mut child, mut socket) = start_gate()?;
    let record = running_record(child.id());
    reserve_exit(here)?;
    write_record(here, RUNNING, &record)?;
    let reason = open_gate(&mut socket);
    if !reason.is_empty() {
        let _ = child.wait();
        return finish_unstarted(reason, Vec::new(), &spec);
    }
    say(&format!("running {} {}", child.id(), record.started_at_ms));
    let exited = watch(&mut child, control, &spec)?;
    write_exit(here, &exited)?;
    spec.launch.groups.remove();
    Ok(())
}

fn take_lock() -> Result<File, ShimError> {
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(LOCK)
        .map_err(io("the lock"))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| ShimError::Held)?;
    Ok(lock)
}

fn start_gate() -> Result<(Child, UnixStream), ShimError> {
    let (ours, theirs) = UnixStream::pair().map_err(io("a socket"))?;
    let child = std::process::Command::new("/proc/self/exe")
        .arg("gate")
        .env_clear()
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io("the start gate"))?;
    Ok((child, ours))
}

/// Opens the gate; gives the reason why the program could not be started, empty where it was.
fn open_gate(socket: &mut UnixStream) -> String {
    let is_there = socket.write_all(b"1").is_ok();
    let mut reason = String::new();
    let _ = socket.take(4096).read_to_string(&mut reason);
    if !is_there && reason.is_empty() {
        reason.push_str("its start gate has gone");
    }
    reason
}

fn running_record(pid: u32) -> RunningRecord {
    let name = |pid: u32| {
        proc::name_of(pid).unwrap_or(crate::record::ProcessName {
            pid,
            start_ticks: 0,
        })
    };
    RunningRecord {
        version: RECORD_VERSION,
        boot_id: proc::boot_id(),
        shim: name(std::process::id()),
        task: name(pid),
        started_at_ms: now_ms(),
    }
}

fn finish_unstarted(
    reason: String,
    taken_ports: Vec<u16>,
    spec: &SpecRecord,
) -> Result<(), ShimError> {
    let record = ExitedRecord {
        version: RECORD_VERSION,
        not_started: Some(reason.chars().take(MAX_REASON).collect()),
        taken_ports,
        ended_at_ms: now_ms(),
        ..ExitedRecord::default()
    };
    sweep_orphans(&spec.launch.groups);
    write_exit(Path::new("."), &record)?;
    spec.launch.groups.remove();
    say("ended");
    Ok(())
}

/// The agent may be gone: then nobody hears it.
fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

fn stream<R: Read + AsFd>(name: &str, source: Option<R>, spec: &SpecRecord) -> Stream<R> {
    if let Some(source) = &source
        && let Ok(flags) = fcntl_getfl(source)
    {
        let _ = fcntl_setfl(source, flags | OFlags::NONBLOCK);
    }
    let path = Path::new(LOGS).join(format!("{name}.log"));
    Stream::new(source, RotatedFile::new(path, spec.launch.logs))
}

/// Carries output and commands until the program has ended, then ends the rest.
fn watch(child: &mut Child, control: File, spec: &SpecRecord) -> Result<ExitedRecord, ShimError> {
    let pid = child.id();
    let program = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let gone = || std::io::Error::other("no such process");
    let pidfd = program
        .ok_or_else(gone)
        .and_then(|program| pidfd_open(program, PidfdFlags::empty()).map_err(std::io::Error::from))
        .map_err(io("the program's pidfd"))?;
    let mut control = control;
    let mut stdout: Stream<ChildStdout> = stream("stdout", child.stdout.take(), spec);
    let mut stderr: Stream<ChildStderr> = stream("stderr", child.stderr.take(), spec);
    let mut by_agent = false;
    let mut oom = OomWatch::new(&spec.launch.groups);
    loop {
        let has_ended = wait_for_something(&pidfd, &control, &stdout, &stderr)?;
        stdout.carry(PIECES);
        stderr.carry(PIECES);
        if has_ended {
            break;
        }
        for command in read_commands(&mut control) {
            by_agent = true;
            match (command, program) {
                (Command::Signal(number), Some(program)) => {
                    if let Some(signal) = Signal::from_named_raw(number) {
                        let _ = kill_process_group(program, signal);
                    }
                }
                (Command::Kill, program) => kill_all(program, &spec.launch.groups),
                (Command::Signal(_), None) => {}
            }
        }
        reap_strangers(pid);
        oom.look();
    }
    // The program is not reaped yet: its number, and so its group's, cannot be another's.
    let times = proc::stat(pid);
    if let Some(program) = program {
        let _ = kill_process_group(program, Signal::KILL);
    }
    let was_short = oom.has_struck();
    let status = child.wait().map_err(io("waiting for the program"))?;
    let orphans = sweep_orphans(&spec.launch.groups);
    stdout.carry(LAST_PIECES);
    stderr.carry(LAST_PIECES);
    Ok(ExitedRecord {
        version: RECORD_VERSION,
        code: status.code(),
        signal: status.signal(),
        oom: was_short && !status.success(),
        by_agent,
        not_started: None,
        taken_ports: Vec::new(),
        orphans,
        user_ms: times.map_or(0, |times| {
            times.user_ticks.saturating_mul(proc::MS_PER_TICK)
        }),
        system_ms: times.map_or(0, |times| {
            times.system_ticks.saturating_mul(proc::MS_PER_TICK)
        }),
        max_memory_bytes: spec.launch.groups.max_memory(),
        ended_at_ms: now_ms(),
    })
}

/// Waits; says whether the program has ended.
fn wait_for_something(
    pidfd: &OwnedFd,
    control: &File,
    stdout: &Stream<ChildStdout>,
    stderr: &Stream<ChildStderr>,
) -> Result<bool, ShimError> {
    let mut fds = vec![
        PollFd::new(pidfd, PollFlags::IN),
        PollFd::new(control, PollFlags::IN),
    ];
    if let Some(source) = &stdout.source {
        fds.push(PollFd::new(source, PollFlags::IN));
    }
    if let Some(source) = &stderr.source {
        fds.push(PollFd::new(source, PollFlags::IN));
    }
    match poll(&mut fds, Some(&REAP_INTERVAL)) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(false),
        Err(error) => return Err(io("waiting")(error.into())),
    }
    Ok(fds
        .first()
        .is_some_and(|fd| fd.revents().contains(PollFlags::IN)))
}

fn read_commands(control: &mut File) -> Vec<Command> {
    let mut buffer = [0u8; 4096];
    match control.read(&mut buffer) {
        Ok(count) => Command::parse_lines(&String::from_utf8_lossy(
            buffer.get(..count).unwrap_or_default(),
        )),
        Err(_) => Vec::new(),
    }
}
