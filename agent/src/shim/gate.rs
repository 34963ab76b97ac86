//! The start gate: the child of a shim that waits until everything is on record, and then becomes
//! the program.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use kelson_agent_core::Environment;
use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit,
};

use super::clean::stop_ignoring;
use crate::record::{SPEC, ShimLaunch, SpecRecord, WORK, read_record};

/// The gate was never opened.
const EXIT_CLOSED: u8 = 126;
/// The program could not be started; the shim has been told why.
const EXIT_NOT_STARTED: u8 = 127;
/// Open files that a program gets, where the hard limit allows it.
const OPEN_FILES: u64 = 65_536;

/// Runs the mode `gate`: waits for one byte on its standard input, a socket that the shim holds,
/// then becomes the program.
///
/// Works in the task directory. Where the socket ends before the byte came, the shim is gone: the
/// exit status is 126, and the program has never run. Where the program cannot be started, the
/// reason is written to the socket, which otherwise closes without a word.
///
/// Must be called before any thread is started: it moves itself into cgroups, and Linux counts
/// threads one by one.
pub fn run_gate() -> ExitCode {
    // Before the byte is waited for: a shim that dies from now on takes this process with it.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let Ok(socket) = std::io::stdin().as_fd().try_clone_to_owned() else {
        return ExitCode::from(EXIT_CLOSED);
    };
    let mut socket = UnixStream::from(socket);
    stop_ignoring(|_| true);
    // While the shim writes its record, so that neither waits for the other.
    let prepared = prepare();
    let mut byte = [0u8; 1];
    if !matches!(socket.read(&mut byte), Ok(1)) {
        return ExitCode::from(EXIT_CLOSED);
    }
    let reason = match prepared {
        Ok(spec) => become_program(&spec),
        Err(reason) => reason,
    };
    let _ = socket.write_all(reason.as_bytes());
    ExitCode::from(EXIT_NOT_STARTED)
}

/// Reads what is to be run, and enters the task's cgroups.
fn prepare() -> Result<ShimLaunch, String> {
    let spec = match read_record::<SpecRecord>(Path::new("."), SPEC) {
        Ok(Some(spec)) => spec.launch,
        Ok(None) => return Err(format!("{SPEC} is gone")),
        Err(error) => return Err(error.to_string()),
    };
    let entered = spec.groups.enter();
    entered.map_err(|error| format!("its cgroup refused it: {error}"))?;
    Ok(spec)
}

/// Does not come back, but with the reason why it could not.
fn become_program(spec: &ShimLaunch) -> String {
    clamp_limits();
    yield_to_the_agent();
    let directory = Path::new(WORK).join(&spec.directory);
    if let Err(error) = std::env::set_current_dir(&directory) {
        return format!(
            "the workdir '{}' cannot be entered: {}",
            spec.directory,
            plain(&error)
        );
    }
    let program = match find_program(&spec.program, &spec.environment, &spec.directory) {
        Ok(program) => program,
        Err(reason) => return reason,
    };
    let error = Command::new(&program)
        .arg0(&spec.program)
        .args(&spec.arguments)
        .env_clear()
        .envs(&spec.environment)
        .stdin(Stdio::null())
        .exec();
    match error.kind() {
        std::io::ErrorKind::NotFound => format!(
            "'{}' names an interpreter that is not there (look at its first line)",
            spec.program
        ),
        std::io::ErrorKind::PermissionDenied => format!("'{}' may not be executed", spec.program),
        _ => format!("'{}': {}", spec.program, plain(&error)),
    }
}

/// The task goes before the agent when the machine is short of memory.
pub(super) fn yield_to_the_agent() {
    let _ = std::fs::write("/proc/self/oom_score_adj", "300");
}

/// Never asks for more than the agent itself may have.
fn clamp_limits() {
    let hard = getrlimit(Resource::Nofile).maximum;
    let soft = hard.map_or(OPEN_FILES, |hard| hard.min(OPEN_FILES));
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(soft),
            maximum: hard,
        },
    );
    let core = getrlimit(Resource::Core).maximum;
    let _ = setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: core,
        },
    );
}

/// Finds a program on the task's PATH, then relative to the current directory, which is called
/// `directory`.
pub(super) fn find_program(
    name: &str,
    environment: &Environment,
    directory: &str,
) -> Result<PathBuf, String> {
    let mut candidates = Vec::new();
    if name.contains('/') {
        candidates.push(PathBuf::from(name));
    } else {
        let path = environment
            .get("PATH")
            .map(String::as_str)
            .unwrap_or_default();
        candidates.extend(
            path.split(':')
                .filter(|one| !one.is_empty())
                .map(|one| Path::new(one).join(name)),
        );
        candidates.push(Path::new(".").join(name));
    }
    let mut found_but = None;
    for candidate in candidates {
        match rustix::fs::access(&candidate, rustix::fs::Access::EXEC_OK) {
            Ok(()) if candidate.is_file() => return Ok(candidate),
            Ok(()) => found_but = Some(format!("'{name}' is a directory")),
            Err(rustix::io::Errno::ACCESS) if candidate.is_file() => {
                found_but = Some(format!("'{}' may not be executed", candidate.display()));
            }
            Err(_) => {}
        }
    }
    Err(found_but.unwrap_or_else(|| {
        if name.contains(char::is_whitespace) {
            return format!(
                "there is no program '{name}'; command is one program, and its arguments stand in \
                 args: for a line of a shell, write `command: sh` and `args: [\"-c\", \"…\"]`"
            );
        }
        if name.contains('/') {
            format!("there is no program '{name}' (relative to the workdir '{directory}')")
        } else {
            format!("there is no program '{name}' on PATH or in the workdir")
        }
    }))
}

/// The text of an error without its number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((plain, _)) => plain.to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_line_that_is_no_program_says_what_to_write() {
        let find = |name| find_program(name, &Environment::new(), ".").unwrap_err();
        let told = find("sleep 100 && echo hi");
        assert!(told.starts_with("there is no program 'sleep 100 && echo hi'; "));
        assert!(told.contains("`command: sh`"), "{told}");
        assert!(!find("sleep").contains("command"));
    }
}
