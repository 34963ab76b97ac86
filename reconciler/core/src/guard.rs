//! The prune guard: when a commit would take away suspiciously much.

/// Whether a commit that takes away `going` of a source's `existing` objects waits for a person: when nothing would be left of two or more,
/// or when more than half *and* more than three would go.
pub fn holds(existing: usize, going: usize) -> bool {
    let takes_all = existing >= 2 && going >= existing;
    let takes_most = going > 3 && going.saturating_mul(2) > existing;
    takes_all || takes_most
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn the_guard_holds_when_nothing_would_be_left_of_two_or_more() {
        assert!(holds(2, 2));
        assert!(holds(3, 3));
        assert!(!holds(1, 1));
        assert!(!holds(2, 1));
        assert!(!holds(0, 0));
    }

    #[test]
    fn the_guard_holds_when_more_than_half_and_more_than_three_would_go() {
        assert!(holds(6, 4));
        assert!(holds(7, 4));
        assert!(!holds(8, 4), "half is not more than half");
        assert!(!holds(4, 3), "three is not more than three");
        assert!(!holds(100, 50));
        assert!(holds(100, 51));
    }
}
