//! What work costs: wall time, processor time, memory.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The processor time that all threads of this process have used so far.
#[must_use]
pub fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_nanos(nanos)
}

/// Does some work, and says what it came to and how much wall and processor time it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration, Duration) {
    let (begun, used) = (Instant::now(), cpu_time());
    let done = work();
    (
        done,
        begun.elapsed(),
        cpu_time().checked_sub(used).unwrap_or_default(),
    )
}

/// The most memory that a process has held (`VmHWM`), in bytes; absent where the system does not
/// say, or the process is gone.
#[must_use]
pub fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// What this process holds in memory now that is its own, in bytes; absent where the system does
/// not say.
#[must_use]
pub fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn work_takes_processor_time_and_memory() {
        let (sum, wall, cpu) = timed(|| (0..5_000_000_u64).fold(0, |sum, n| sum ^ (n * n)));
        assert!(std::hint::black_box(sum) > 0);
        assert!(wall > Duration::ZERO && cpu > Duration::ZERO);
        assert!(peak_memory(std::process::id()).unwrap() > 100_000);
        assert!(memory().unwrap() > 100_000);
        assert_eq!(peak_memory(u32::MAX), None);
    }
}
