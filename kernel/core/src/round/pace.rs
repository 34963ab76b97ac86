//! Pace: how often a seat gets a turn although nothing new has come from outside.
//!
//! A scheduler that answers its own words, with a status that has the time in it or a demand that
//! is keyed by the turn, would fill the log with turns about nothing. Such turns are paid from a
//! budget that fills with cluster time.

use kelson_model::quantity::Millis;
use kelson_model::time::ClusterTime;

/// Turns that may follow each other at once.
const MOST: u64 = 200;
/// Turns that the budget gains in a second.
const PER_SECOND: u64 = 20;
/// One turn, in the budget's units: thousandths.
const TURN: u64 = 1000;

/// The budget of one seat.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// Thousandths of turns that are spent as of `at`.
    spent: u64,
    at: ClusterTime,
}

impl Pace {
    fn spent_at(&self, now: ClusterTime) -> u64 {
        // A thousandth of a turn per millisecond is one turn per second.
        let gained = now.since(self.at).0.saturating_mul(PER_SECOND);
        self.spent.saturating_sub(gained)
    }

    /// When the next turn is within the budget; `now` where it is already.
    pub(super) fn next(&self, now: ClusterTime) -> ClusterTime {
        let over = (self.spent_at(now) + TURN).saturating_sub(MOST * TURN);
        now.after(Millis(over.div_ceil(PER_SECOND)))
    }

    /// Pays for a turn.
    pub(super) fn pay(&mut self, now: ClusterTime) {
        *self = Self {
            spent: self.spent_at(now) + TURN,
            at: now.max(self.at),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_a_second_gives_so_many() {
        let mut pace = Pace::default();
        let mut now = ClusterTime(5000);
        let mut turns = 0;
        while pace.next(now) == now {
            pace.pay(now);
            turns += 1;
        }
        assert_eq!(turns, MOST);
        assert_eq!(pace.next(now), now.after(Millis(1000 / PER_SECOND)));
        now = now.after(Millis(1000));
        let before = turns;
        while pace.next(now) == now {
            pace.pay(now);
            turns += 1;
        }
        assert_eq!(turns - before, PER_SECOND);
        now = now.after(Millis(1_000_000));
        while pace.next(now) == now {
            pace.pay(now);
            turns += 1;
        }
        assert_eq!(turns - before - PER_SECOND, MOST, "no more than a burst");
    }
}
