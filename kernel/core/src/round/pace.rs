//! Pace: how often a seat gets a turn although nothing new has come from outside.
//!
//! A scheduler that answers its own words, with a status that has the time in it or a demand that
//! is keyed by the turn, would fill the log with turns about nothing. Such turns are paid from a
//! budget that fills with cluster time. One whose turns are full one after another, each of them a
//! large entry, is asked ever later, whatever is new.

use kelson_model::id::Digest;
use kelson_model::quantity::Millis;
use kelson_model::time::ClusterTime;

use super::memory::pause_after;

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

/// Full turns in a row that may follow each other at once.
const MOST_FULL: u32 = 8;

/// The full turns of one seat, one after another.
#[derive(Debug, Clone)]
pub(super) struct Full {
    turns: u32,
    /// The component whose turns they were; another one begins anew.
    component: Digest,
    until: ClusterTime,
}

impl Full {
    /// One more than `before`.
    pub(super) fn after(before: Option<Self>, component: &Digest, now: ClusterTime) -> Self {
        let before = before.filter(|before| before.component == *component);
        let turns = before.map_or(0, |before| before.turns).saturating_add(1);
        let until = match turns.saturating_sub(MOST_FULL) {
            0 => now,
            beyond => now.after(pause_after(beyond)),
        };
        Self {
            turns,
            component: component.clone(),
            until,
        }
    }

    /// Until when the seat is not asked; nothing where that is over, or was another component's.
    pub(super) fn lasting(&self, component: &Digest, now: ClusterTime) -> Option<ClusterTime> {
        (self.until > now && self.component == *component).then_some(self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_that_are_full_one_after_another_come_ever_later() {
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let now = ClusterTime(5000);
        let mut full = None;
        let mut pauses = Vec::new();
        for _ in 0..20 {
            let next = Full::after(full.take(), &one, now);
            pauses.push(
                next.lasting(&one, now)
                    .map_or(0, |until| until.since(now).0),
            );
            assert_eq!(next.lasting(&other, now), None);
            full = Some(next);
        }
        let seconds = [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60];
        let (free, slowed) = pauses.split_at(8);
        assert_eq!(free, [0; 8]);
        assert_eq!(slowed, seconds.map(|second| second * 1000));
        assert_eq!(Full::after(full, &other, now).lasting(&other, now), None);
    }

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
