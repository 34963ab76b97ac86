//! Whether a task ended for want of memory.

use std::time::{Duration, Instant};

use crate::isolation::Groups;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(5);

/// Watches how often the memory limit has killed a process of one task, by the count of the task's
/// own group.
///
/// A process of it that was killed long ago, and that the program has outlived, is not what the
/// program dies of later: only what has happened since the look before the last one counts.
#[derive(Debug)]
pub(super) struct OomWatch<'a> {
    groups: &'a Groups,
    older: u64,
    newer: u64,
    looked: Instant,
}

impl<'a> OomWatch<'a> {
    pub(super) fn new(groups: &'a Groups) -> Self {
        Self {
            groups,
            older: 0,
            newer: 0,
            looked: Instant::now(),
        }
    }

    /// Looks, where it is time to.
    pub(super) fn look(&mut self) {
        if self.looked.elapsed() >= INTERVAL {
            self.note();
        }
    }

    fn note(&mut self) {
        self.older = self.newer;
        self.newer = self.groups.oom_kills();
        self.looked = Instant::now();
    }

    /// Whether the limit has killed a process of it a moment ago.
    pub(super) fn has_struck(&self) -> bool {
        self.groups.oom_kills() > self.older
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::isolation::{Group, Version};

    #[test]
    fn only_what_the_limit_killed_a_moment_ago_counts() {
        let directory = tempfile::tempdir().unwrap();
        let events = directory.path().join("memory.events");
        let groups = Groups {
            groups: vec![Group {
                version: Version::V2,
                controllers: vec!["memory".to_owned()],
                path: directory.path().to_owned(),
            }],
            limits: Vec::new(),
        };
        let mut watch = OomWatch::new(&groups);
        std::fs::write(&events, "oom_kill 0\n").unwrap();
        assert!(!watch.has_struck());
        std::fs::write(&events, "oom_kill 1\n").unwrap();
        assert!(watch.has_struck());
        watch.note();
        assert!(
            watch.has_struck(),
            "it may still be what the program ends of"
        );
        watch.note();
        assert!(!watch.has_struck(), "the program has outlived it");
    }
}
