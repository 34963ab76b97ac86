//! A program as a probe.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use kelson_agent_core::Environment;
use rustix::process::{Pid, Signal, kill_process_group};

/// Kills the probe's group when it is dropped: also when the timeout drops the future.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// Runs a program in the task's directory with the task's environment; exit status 0 is good.
pub(super) async fn run(
    program: &str,
    arguments: &[String],
    environment: &Environment,
    directory: &Path,
) -> Result<(), String> {
    let found = find(program, environment, directory);
    let mut child = tokio::process::Command::new(found)
        .args(arguments)
        .env_clear()
        .envs(environment)
        .current_dir(directory)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("'{program}' could not be started: {}", error.kind()))?;
    let mut group = Group(
        child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw),
    );
    let status = child
        .wait()
        .await
        .map_err(|error| format!("'{program}': {error}"))?;
    // The group's number may be another's as soon as the program was reaped.
    group.0 = None;
    if status.success() {
        return Ok(());
    }
    Err(match status.code() {
        Some(code) => format!("'{program}' exited with status {code}"),
        None => format!("'{program}' was killed"),
    })
}

/// As for the task itself: on its PATH, else relative to its directory.
fn find(program: &str, environment: &Environment, directory: &Path) -> PathBuf {
    if program.contains('/') {
        return directory.join(program);
    }
    environment
        .get("PATH")
        .map(String::as_str)
        .unwrap_or_default()
        .split(':')
        .filter(|one| !one.is_empty())
        .map(|one| Path::new(one).join(program))
        .chain([directory.join(program)])
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| directory.join(program))
}
