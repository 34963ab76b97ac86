//! How long a slot waits before it is tried again.

use kelson_sdk::Task;

/// After a healthy life of at least this long, in ms, a failure is the first of a new row, however
/// many there were before.
const STEADY: u64 = 60_000;

/// The pace of restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause, in ms.
    pub initial: u64,
    /// By what each further pause is longer, in thousandths.
    pub factor: u64,
    /// The longest pause, in ms.
    pub max: u64,
}

impl Backoff {
    /// The pause after the `attempts`-th failure in a row, in ms.
    pub fn pause(&self, attempts: u32) -> u64 {
        let mut pause = self.initial;
        if self.factor <= 1000 {
            return pause.min(self.max);
        }
        for _ in 1..attempts {
            if pause == 0 || pause >= self.max {
                break;
            }
            let longer = pause.saturating_mul(self.factor) / 1000;
            pause = longer.max(pause.saturating_add(1));
        }
        pause.min(self.max)
    }

    /// From when on the slot of an ended task may be tried again, in cluster time.
    ///
    /// At once where a person asked it to end or its agent died under it, after a long healthy
    /// life, and where the first try of the slot was healthy for `min_healthy`: no loop can come of
    /// these. Everything else pauses, a death by a signal from nowhere included: a program that
    /// faults looks the same.
    pub fn retry_at(&self, ended: &Task, min_healthy: u64) -> u64 {
        let healthy_for = ended
            .healthy_since
            .map(|since| ended.state_since.saturating_sub(since));
        let is_by_order = ended.is_ended_by_hand && ended.is_stop_asked;
        let was_healthy =
            healthy_for.is_some_and(|ms| ms >= STEADY || ms >= min_healthy && ended.attempts <= 1);
        if is_by_order || ended.is_agent_lost || was_healthy {
            return ended.state_since;
        }
        ended
            .state_since
            .saturating_add(self.pause(ended.attempts.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Backoff = Backoff {
        initial: 1000,
        factor: 1150,
        max: 300_000,
    };

    #[test]
    fn pauses_grow_by_the_factor_up_to_the_longest() {
        assert_eq!(USUAL.pause(1), 1000);
        assert_eq!(USUAL.pause(2), 1150);
        assert_eq!(USUAL.pause(3), 1322);
        assert_eq!(USUAL.pause(1000), 300_000);
        assert_eq!(USUAL.pause(u32::MAX), 300_000);
    }

    #[test]
    fn a_tiny_pause_still_grows_and_a_factor_of_one_stays() {
        let tiny = Backoff {
            initial: 1,
            factor: 1150,
            max: 10,
        };
        assert_eq!(tiny.pause(3), 3);
        assert_eq!(tiny.pause(u32::MAX), 10);
        let flat = Backoff {
            factor: 1000,
            ..USUAL
        };
        assert_eq!(flat.pause(u32::MAX), 1000);
    }
}
