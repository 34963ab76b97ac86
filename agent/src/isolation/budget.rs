//! What the agent's own cgroup may use.

use std::fs;
use std::path::Path;

use super::group::Version;
use super::hierarchy::{Hierarchy, parse_hierarchies};

/// The memory limits of the agent's own group and of all groups above it that can be seen, in
/// bytes; none where none is set.
pub(crate) fn memory_limits() -> Vec<u64> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let hierarchies = parse_hierarchies(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
    hierarchies.iter().flat_map(limits_in).collect()
}

fn limits_in(hierarchy: &Hierarchy) -> Vec<u64> {
    let file = match hierarchy.version {
        Version::V1 if hierarchy.controllers.iter().any(|name| name == "memory") => {
            "memory.limit_in_bytes"
        }
        Version::V1 => return Vec::new(),
        Version::V2 => "memory.max",
    };
    limits_above(&hierarchy.own, file)
}

/// Reads this file in a directory and in all above it; `max` is no limit.
fn limits_above(own: &Path, file: &str) -> Vec<u64> {
    let groups = own.ancestors();
    groups
        .filter_map(|group| fs::read_to_string(group.join(file)).ok())
        .filter_map(|text| text.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_limits_of_all_groups_above_count_too() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("a/b");
        fs::create_dir_all(&own).unwrap();
        fs::write(directory.path().join("a/memory.max"), "4096\n").unwrap();
        fs::write(own.join("memory.max"), "max\n").unwrap();
        assert_eq!(limits_above(&own, "memory.max"), [4096]);
        fs::write(own.join("memory.max"), "1024\n").unwrap();
        assert_eq!(limits_above(&own, "memory.max"), [1024, 4096]);
    }
}
