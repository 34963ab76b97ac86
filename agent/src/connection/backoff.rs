//! How long to wait before the next attempt to reach the kernel.

use std::time::Duration;

const FIRST: u64 = 100;
const LONGEST: u64 = 5000;

/// Doubles from 100 ms to 5 s; the half of each pause is drawn, so that agents do not come all at
/// once.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The attempt was good: begin again from the shortest.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The pause before the next attempt.
    pub(crate) fn pause(&mut self) -> Duration {
        self.next(draw())
    }

    /// The same; `draw` is any number.
    fn next(&mut self, draw: u64) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.attempts.min(6)).min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        let half = whole / 2;
        Duration::from_millis(half + draw % (half + 1))
    }
}

fn draw() -> u64 {
    let mut bytes = [0u8; 8];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_five_seconds_and_begin_again() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(50), Duration::from_millis(100));
        assert_eq!(backoff.next(0), Duration::from_millis(100));
        for _ in 0..20 {
            assert!(backoff.next(u64::MAX) <= Duration::from_millis(LONGEST));
        }
        assert!(backoff.next(0) >= Duration::from_millis(LONGEST / 2));
        backoff.reset();
        assert!(backoff.next(7) <= Duration::from_millis(100));
    }
}
