//! The guard above the fuel: how much time of a processor one call may take.
//!
//! Counted is what the calling thread itself has used, so a machine that is busy with others trips
//! nothing: whoever trips has done the work that fuel does not see, and will do it again.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The account of one call.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CpuLimit {
    limit: Duration,
    began: Duration,
}

impl CpuLimit {
    /// Begins to count on this thread.
    pub(crate) fn begin(limit: Duration) -> Self {
        Self {
            limit,
            began: used_by_thread(),
        }
    }

    /// Whether the call has used more than it may.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over_at(used_by_thread())
    }

    fn is_over_at(&self, used: Duration) -> bool {
        used.saturating_sub(self.began) >= self.limit
    }
}

/// What this thread has had of a processor since it began.
fn used_by_thread() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(used.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(used.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_of_other_threads_does_not_count() {
        let limit = CpuLimit::begin(Duration::from_millis(50));
        // Another thread uses more than the limit, while this one waits for it.
        let other = std::thread::spawn(|| {
            let own = CpuLimit::begin(Duration::from_millis(100));
            while !own.is_over() {
                std::hint::spin_loop();
            }
        });
        assert!(other.join().is_ok());
        assert!(!limit.is_over());
    }

    #[test]
    fn it_is_over_when_as_much_was_used_as_is_allowed() {
        let limit = CpuLimit {
            limit: Duration::from_millis(20),
            began: Duration::from_millis(7),
        };
        assert!(!limit.is_over_at(Duration::from_millis(26)));
        assert!(limit.is_over_at(Duration::from_millis(27)));
    }
}
