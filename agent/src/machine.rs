//! What this machine has to give.

use std::fs;
use std::path::Path;

use kelson_model::quantity::{Bytes, MilliCpus, Resources};

use crate::config::AgentConfig;

/// The machine's name.
pub(crate) fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// What the agent gives: what it was told to, or what the machine has.
pub(crate) fn resources(config: &AgentConfig) -> Resources {
    let cpus = || {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        MilliCpus(u64::try_from(count).unwrap_or(1).saturating_mul(1000))
    };
    Resources {
        cpus: config.cpus.unwrap_or_else(cpus),
        memory: config.memory.unwrap_or_else(memory),
        disk: config.disk.unwrap_or_else(|| free_space(&config.data_dir)),
    }
}

fn memory() -> Bytes {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .trim()
                .strip_suffix("kB")?
                .trim()
                .parse::<u64>()
                .ok()
        })
        .unwrap_or(1 << 20);
    Bytes(kib.saturating_mul(1024))
}

fn free_space(directory: &Path) -> Bytes {
    rustix::fs::statvfs(directory).map_or(Bytes(0), |found| {
        Bytes(found.f_bavail.saturating_mul(found.f_frsize))
    })
}
