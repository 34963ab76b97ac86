//! Ending everything that a task has left behind.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, waitpid};

use crate::isolation::Groups;
use crate::proc::children_of_self;

/// How long processes may take to die; one that cannot be killed (it waits for a disk) is left to
/// the machine then.
const DEADLINE: Duration = Duration::from_secs(5);

/// Kills the program's group and its cgroups; the program itself is reaped by the caller.
pub(super) fn kill_all(program: Option<Pid>, groups: &Groups) {
    if let Some(program) = program {
        let _ = kill_process_group(program, Signal::KILL);
    }
    if !groups.groups.is_empty() {
        groups.kill();
    }
}

/// Reaps children that came to us because their parents have ended; never the program.
pub(super) fn reap_strangers(program: u32) {
    for child in children_of_self()
        .into_iter()
        .filter(|child| *child != program)
    {
        if let Some(child) = pid(child) {
            let _ = waitpid(Some(child), WaitOptions::NOHANG);
        }
    }
}

/// Kills and reaps everything that is still there after the program's end; says how many it were.
pub(super) fn sweep_orphans(groups: &Groups) -> u32 {
    let begin = Instant::now();
    let mut orphans = std::collections::BTreeSet::new();
    if !groups.groups.is_empty() {
        // Those which are no children of ours yet die here, and come to us as their parents die.
        groups.kill();
    }
    loop {
        let children = children_of_self();
        if children.is_empty() || begin.elapsed() > DEADLINE {
            return u32::try_from(orphans.len()).unwrap_or(u32::MAX);
        }
        for child in children {
            orphans.insert(child);
            if let Some(child) = pid(child) {
                let _ = kill_process(child, Signal::KILL);
                let _ = waitpid(Some(child), WaitOptions::NOHANG);
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn pid(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}
