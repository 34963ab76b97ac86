//! The machine's boot clock: milliseconds since the machine's start, the time that it slept
//! included.

use std::time::{Duration, Instant};

use kelson_agent_core::Moment;
use kelson_model::quantity::Millis;

/// From this much on, the clock has gone on while this process stood still: the machine was asleep.
const SLEPT: Millis = Millis(100);

/// Gives moments on the boot clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BootClock {
    base: Moment,
    read_at: Instant,
}

impl BootClock {
    pub(crate) fn start() -> Self {
        Self {
            base: read_boot_clock().unwrap_or_default(),
            read_at: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        let gone = u64::try_from(self.read_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.base.after(Millis(gone))
    }

    /// Takes up the time that the machine was asleep; called now and then.
    pub(crate) fn catch_up(&mut self) {
        if let Some(read) = read_boot_clock()
            && read.since(self.now()) > SLEPT
        {
            (self.base, self.read_at) = (read, Instant::now());
        }
    }

    /// When a moment comes, as far as the machine stays awake; absent: it is too far away to be
    /// said.
    pub(crate) fn instant_of(&self, moment: Moment) -> Option<tokio::time::Instant> {
        let wait = moment.since(self.now()).0;
        tokio::time::Instant::now().checked_add(Duration::from_millis(wait))
    }
}

fn read_boot_clock() -> Option<Moment> {
    parse_uptime(&std::fs::read_to_string("/proc/uptime").ok()?)
}

/// Linux tells it in seconds with two decimals.
fn parse_uptime(text: &str) -> Option<Moment> {
    let (seconds, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    let seconds: u64 = seconds.parse().ok()?;
    let hundredths: u64 = hundredths.parse().ok()?;
    Some(Moment(
        seconds.checked_mul(1000)?.checked_add(hundredths * 10)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_is_read_and_counts_as_process_starts_do() {
        assert_eq!(parse_uptime("12345.67 999.00\n"), Some(Moment(12_345_670)));
        assert_eq!(parse_uptime("x"), None);
        let own = crate::proc::stat(std::process::id());
        let started = Moment(own.map_or(0, |stat| stat.start_ticks * crate::proc::MS_PER_TICK));
        let now = BootClock::start().now();
        assert!(started.0 > 0 && started <= now.after(Millis(20)), "{now:?}");
    }
}
