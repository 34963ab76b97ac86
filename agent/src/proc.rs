//! What `/proc` says about processes.

use std::fs;

use crate::record::ProcessName;

/// One line of /proc/PID/stat, the fields that we need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) state: char,
    pub(crate) session: u32,
    pub(crate) user_ticks: u64,
    pub(crate) system_ticks: u64,
    pub(crate) start_ticks: u64,
}

impl Stat {
    /// Whether it has ended and only waits to be reaped.
    pub(crate) fn is_over(self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// Linux reports processor time to programs in hundredths of a second on every architecture that we
/// build for.
pub(crate) const MS_PER_TICK: u64 = 10;

fn parse_stat(line: &str) -> Option<Stat> {
    // The name stands in parentheses and may hold anything, also ") R 1".
    let (_, after_name) = line.rsplit_once(") ")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let number = |field: usize| {
        fields
            .get(field - 3)
            .and_then(|text| text.parse::<u64>().ok())
    };
    Some(Stat {
        state: fields.first()?.chars().next()?,
        session: u32::try_from(number(6)?).ok()?,
        user_ticks: number(14)?.saturating_add(number(16)?),
        system_ticks: number(15)?.saturating_add(number(17)?),
        start_ticks: number(22)?,
    })
}

/// Reads the state of a process; absent where there is none.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Names a process by its number and its start.
pub(crate) fn name_of(pid: u32) -> Option<ProcessName> {
    stat(pid).map(|stat| ProcessName {
        pid,
        start_ticks: stat.start_ticks,
    })
}

/// Names this start of the machine.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// All processes there are.
pub(crate) fn pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// The children of this process, which must have one thread only.
pub(crate) fn children_of_self() -> Vec<u32> {
    let own = std::process::id();
    fs::read_to_string(format!("/proc/{own}/task/{own}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|text| text.parse().ok())
        .collect()
}

/// Whether this very process is there and has not ended.
pub(crate) fn is_there(process: ProcessName) -> bool {
    stat(process.pid).is_some_and(|stat| stat.start_ticks == process.start_ticks && !stat.is_over())
}

/// Whether this very process was stopped by a signal, or stands under a debugger.
pub(crate) fn is_stopped(process: ProcessName) -> bool {
    stat(process.pid).is_some_and(|stat| {
        stat.start_ticks == process.start_ticks && matches!(stat.state, 'T' | 't')
    })
}

/// The words by which a process was started; none where it is not told.
pub(crate) fn command_line(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = bytes.split(|byte| *byte == 0);
    words
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// Whether the environment that a process was started with holds `wanted` and one of `either`, each
/// as `NAME=value`.
pub(crate) fn environment_holds(pid: u32, wanted: &str, either: &[String]) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else {
        return false;
    };
    let holds = |entry: &str| {
        environment
            .split(|byte| *byte == 0)
            .any(|one| one == entry.as_bytes())
    };
    holds(wanted) && either.iter().any(|entry| holds(entry))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let line = "7 (a) R 1 (b) S 1 7 5 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 99 100 0";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.state, stat.session, stat.start_ticks), ('S', 5, 99));
        assert_eq!((stat.user_ticks, stat.system_ticks), (40, 60));
        assert!(parse_stat("7 (a) S").is_none());
    }

    #[test]
    fn this_process_is_found() {
        assert!(name_of(std::process::id()).is_some());
        assert!(pids().contains(&std::process::id()));
    }
}
