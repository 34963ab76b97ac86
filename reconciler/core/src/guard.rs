//! The prune guard: when a revision would take away suspiciously much.
//!
//! It counts the objects that go without a person's word (`lifecycle.prune: auto`), and with them
//! what recent revisions took away: a deletion with each of ten commits is the same deletion as one
//! of ten with one commit. Objects that stay whatever git says, or that wait for a word of their
//! own, make a source look larger than what is at stake, so they are not among what the going ones
//! are measured by.

use kelson_model::quantity::Millis;

/// Over which time deletions are counted together, unless a person has said otherwise: an hour.
pub const WINDOW: Millis = Millis(3_600_000);

/// What a revision takes away of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Toll {
    /// All objects that are there.
    pub existing: usize,
    /// Those of them that the revision asks for.
    pub wanted: usize,
    /// The objects that are there and would go without a word.
    pub free: usize,
    /// Those of them that the revision does not ask for.
    pub going: usize,
    /// What recent revisions took away without a word.
    pub recent: usize,
}

/// Whether a revision waits for a person: when nothing would be left of two or more objects, or
/// when more than half *and* more than three would have gone.
pub fn holds(toll: Toll) -> bool {
    let gone = toll.going.saturating_add(toll.recent);
    let before = toll.free.saturating_add(toll.recent);
    let takes_all = toll.wanted == 0 && toll.existing.saturating_add(toll.recent) >= 2;
    let takes_most = gone > 3 && gone.saturating_mul(2) > before;
    toll.going > 0 && (takes_all || takes_most)
}

#[cfg(test)]
mod tests {
    use super::{Toll, holds};

    /// A source of objects that may all go without a word.
    fn plain(existing: usize, going: usize) -> Toll {
        Toll {
            existing,
            wanted: existing - going,
            free: existing,
            going,
            recent: 0,
        }
    }

    #[test]
    fn the_guard_holds_when_nothing_would_be_left_of_two_or_more() {
        assert!(holds(plain(2, 2)));
        assert!(holds(plain(3, 3)));
        assert!(!holds(plain(1, 1)));
        assert!(!holds(plain(2, 1)));
        assert!(!holds(plain(0, 0)));
    }

    #[test]
    fn the_guard_holds_when_more_than_half_and_more_than_three_would_go() {
        assert!(holds(plain(6, 4)));
        assert!(holds(plain(7, 4)));
        assert!(!holds(plain(8, 4)), "half is not more than half");
        assert!(!holds(plain(4, 3)), "three is not more than three");
        assert!(!holds(plain(100, 50)));
        assert!(holds(plain(100, 51)));
    }

    #[test]
    fn objects_that_stay_anyway_do_not_make_a_deletion_look_small() {
        let toll = Toll {
            existing: 10,
            wanted: 6,
            free: 4,
            going: 4,
            recent: 0,
        };
        assert!(
            holds(toll),
            "six objects under `prune: never` are no reason to let four others go"
        );
        let nothing_left = Toll {
            existing: 7,
            wanted: 0,
            free: 1,
            going: 1,
            recent: 0,
        };
        assert!(holds(nothing_left));
    }

    #[test]
    fn a_deletion_with_each_commit_is_counted_together() {
        let mut recent = 0;
        let mut left = 8;
        let mut steps = 0;
        while !holds(Toll {
            recent,
            ..plain(left, 1)
        }) {
            left -= 1;
            recent += 1;
            steps += 1;
        }
        assert_eq!(steps, 4, "the fifth of eight waits");
        assert!(
            holds(Toll {
                recent: 1,
                ..plain(1, 1)
            }),
            "the last of two"
        );
        assert!(
            !holds(Toll {
                recent: 50,
                ..plain(1, 0)
            }),
            "a revision that takes nothing away is not held"
        );
    }
}
