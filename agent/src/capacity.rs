//! What this machine has to give.

use std::fs;
use std::path::Path;

use kelson_model::quantity::{Bytes, MilliCpus, Resources};

use crate::config::AgentConfig;
use crate::isolation::memory_limits;

/// Of memory and disk a sixteenth is kept for the machine itself, the agent and its shims, but no
/// more than this.
const MOST_MEMORY_KEPT: u64 = 1 << 30;
const MOST_DISK_KEPT: u64 = 8 << 30;
/// Which part of it.
const PART_KEPT: u64 = 16;

/// The machine's name.
pub fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// What the agent gives: what it was told to, or what the machine has, minus a reserve.
///
/// Totals count, never what is free at the moment: that is less by what this agent's own tasks use.
pub(crate) fn resources(config: &AgentConfig) -> Resources {
    let cpus = || {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        MilliCpus(u64::try_from(count).unwrap_or(1).saturating_mul(1000))
    };
    let memory = || without_reserve(usable_memory(), MOST_MEMORY_KEPT);
    let disk = || without_reserve(disk_of(&config.data_dir), MOST_DISK_KEPT);
    Resources {
        cpus: config.cpus.unwrap_or_else(cpus),
        memory: config.memory.unwrap_or_else(memory),
        disk: config.disk.unwrap_or_else(disk),
    }
}

fn without_reserve(total: u64, most: u64) -> Bytes {
    Bytes(total.saturating_sub((total / PART_KEPT).min(most)))
}

/// The machine's memory, or what the agent's own cgroup, and each one above it, may use of it.
fn usable_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = parse_total(&text).unwrap_or(1 << 30);
    memory_limits().into_iter().fold(total, u64::min)
}

fn parse_total(meminfo: &str) -> Option<u64> {
    let kib = meminfo.lines().find_map(|line| {
        let amount = line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?;
        amount.trim().parse::<u64>().ok()
    })?;
    kib.checked_mul(1024)
}

/// The size of the file system that a directory is in, without what only root may use.
fn disk_of(directory: &Path) -> u64 {
    rustix::fs::statvfs(directory).map_or(0, |found| {
        let for_root = found.f_bfree.saturating_sub(found.f_bavail);
        let blocks = found.f_blocks.saturating_sub(for_root);
        blocks.saturating_mul(found.f_frsize)
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_sixteenth_is_kept_and_never_more_than_the_most() {
        assert_eq!(without_reserve(1600, 1000), Bytes(1500));
        assert_eq!(without_reserve(160_000, 1000), Bytes(159_000));
        assert_eq!(without_reserve(0, 1000), Bytes(0));
    }

    #[test]
    fn the_machine_has_the_same_to_give_whatever_is_free_at_the_moment() {
        let directory = tempfile::tempdir().unwrap();
        let config = AgentConfig::new(
            directory.path().to_owned(),
            kelson_trust::Dialer::plain("127.0.0.1:1".parse().unwrap()),
        );
        let before = resources(&config);
        fs::write(directory.path().join("used"), vec![1u8; 4 << 20]).unwrap();
        assert_eq!(resources(&config), before);
        assert!(before.memory.0 > 0 && before.disk.0 > 0);
        let total = parse_total(&fs::read_to_string("/proc/meminfo").unwrap()).unwrap();
        assert!(before.memory.0 < total);
    }
}
