//! Finding and ending the processes that belong to a data directory: kernel, agent, shims and
//! tasks.
//!
//! A process belongs if its command line, its environment or its working directory names the
//! directory. So nothing has to be known of how the agent keeps its records, and a task that
//! changed session or lost its parent is found as well.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

/// A process as /proc shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its program and arguments.
    pub command: Vec<String>,
}

impl Process {
    /// Is it `kelson VERB`, whatever the options before the verb?
    #[must_use]
    pub fn is_kelson(&self, verb: &str) -> bool {
        let program = self
            .command
            .first()
            .map(Path::new)
            .and_then(Path::file_name);
        program.is_some_and(|name| name.to_string_lossy().starts_with("kelson"))
            && self.command.iter().skip(1).any(|argument| argument == verb)
    }
}

/// All living processes that belong to `folder`, but this one.
#[must_use]
pub fn belonging_to(folder: &Path) -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut found: Vec<Process> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id())
        .filter_map(|pid| process(pid, folder))
        .collect();
    found.sort_by_key(|process| process.pid);
    found
}

/// Does a process with this id live (and is more than a zombie)?
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The state follows the name, which stands in parentheses and may hold any character.
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !matches!(rest.trim_start().chars().next(), Some('Z' | 'X') | None))
}

fn process(pid: u32, folder: &Path) -> Option<Process> {
    if !is_alive(pid) {
        return None;
    }
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let words = |file: &str| -> Vec<String> {
        let bytes = std::fs::read(proc.join(file)).unwrap_or_default();
        bytes
            .split(|byte| *byte == 0)
            .filter(|w| !w.is_empty())
            .map(|w| String::from_utf8_lossy(w).into_owned())
            .collect()
    };
    let command = words("cmdline");
    let name = folder.to_string_lossy();
    let belongs = std::fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
        || command.iter().any(|word| names(word, &name))
        || words("environ").iter().any(|word| names(word, &name));
    belongs.then_some(Process { pid, command })
}

/// Does the word name the folder, or something in it, and not only a longer name?
fn names(word: &str, folder: &str) -> bool {
    word.match_indices(folder).any(|(at, _)| {
        let after = word
            .get(at + folder.len()..)
            .and_then(|rest| rest.chars().next());
        !after.is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
    })
}

/// A variable of the environment that a process was started with.
#[must_use]
pub fn variable(pid: u32, name: &str) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|pair| {
        let (found, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
        (found == name).then(|| value.to_owned())
    })
}

/// Sends a signal; says whether there was a process to get it.
#[must_use]
pub fn signal(pid: u32, signal: Signal) -> bool {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// Kills everything that belongs to `folder`, and removes the cgroups that were made for it.
///
/// # Errors
/// When something still lives after `deadline`.
pub fn kill_all(folder: &Path, deadline: Duration) -> Result<()> {
    let started = Instant::now();
    let mut cgroups = BTreeSet::new();
    loop {
        let found = belonging_to(folder);
        if found.is_empty() {
            break;
        }
        for process in &found {
            cgroups.extend(cgroups_of(process.pid));
            // One that has ended by itself in the meantime is as good.
            let _was_there = signal(process.pid, Signal::KILL);
        }
        if started.elapsed() > deadline {
            bail!("these cannot be killed: {found:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // Deepest first. One that is not empty, or not ours to remove, stays.
    cgroups
        .iter()
        .rev()
        .for_each(|cgroup| drop(std::fs::remove_dir(cgroup)));
    Ok(())
}

/// The folders of the cgroups of a process whose name says that Kelson made them.
fn cgroups_of(pid: u32) -> Vec<PathBuf> {
    let of_process = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let roots: Vec<&str> = mounts
        .lines()
        .filter(|l| l.split(' ').nth(2).is_some_and(|t| t.starts_with("cgroup")))
        .filter_map(|l| l.split(' ').nth(1))
        .collect();
    of_process
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .filter(|path| path.contains("kelson"))
        .flat_map(|path| {
            roots
                .iter()
                .map(move |root| Path::new(root).join(path.trim_start_matches('/')))
        })
        .flat_map(|path| {
            let parents: Vec<PathBuf> = path
                .ancestors()
                .take_while(|p| p.to_string_lossy().contains("kelson"))
                .map(Path::to_owned)
                .collect();
            parents
        })
        .filter(|path| path.is_dir())
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_found_by_its_environment_and_by_its_working_directory_and_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut children = vec![
            Command::new("sleep")
                .arg("600")
                .env("SOMETHING", folder.path().join("x"))
                .spawn()
                .unwrap(),
            Command::new("sleep")
                .arg("600")
                .current_dir(folder.path())
                .spawn()
                .unwrap(),
        ];
        let mut stranger = Command::new("sleep")
            .arg("600")
            .env("SOMETHING", format!("{}x", folder.path().display()))
            .spawn()
            .unwrap();
        let mut pids: Vec<u32> = children.iter().map(std::process::Child::id).collect();
        pids.sort_unstable();
        assert_eq!(
            belonging_to(folder.path())
                .iter()
                .map(|p| p.pid)
                .collect::<Vec<_>>(),
            pids
        );
        kill_all(folder.path(), Duration::from_secs(20)).unwrap();
        assert!(
            stranger.try_wait().unwrap().is_none(),
            "a process with a longer name was killed"
        );
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        for child in &mut children {
            assert!(!child.wait().unwrap().success());
        }
    }
}
