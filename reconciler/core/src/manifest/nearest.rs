//! Finds what somebody probably meant.

/// A word that somebody probably meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meant<'a> {
    /// The word.
    pub word: &'a str,
    /// Whether it is one slip away, and no other word is as near.
    pub is_certain: bool,
}

/// The known word that is nearest to `word`, if one is near enough to be a slip of the fingers.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<Meant<'a>> {
    let length = word.chars().count();
    let mut near: Vec<(usize, &str)> = known
        .map(|candidate| {
            let far = distance(&word.to_lowercase(), &candidate.to_lowercase());
            (far, candidate)
        })
        .filter(|(far, candidate)| *far <= slips(length.min(candidate.chars().count())))
        .collect();
    near.sort_unstable();
    let (far, best) = *near.first()?;
    let is_alone = near.get(1).is_none_or(|(next, _)| *next > far);
    Some(Meant {
        word: best,
        is_certain: is_alone && (far == 0 || far == 1 && length >= 4),
    })
}

/// How many slips a word of this length may have and still be the one that was meant: a word of
/// which half is different is another word.
fn slips(length: usize) -> usize {
    match length {
        0 | 1 => 0,
        2..=5 => 1,
        6..=8 => 2,
        _ => 3,
    }
}

/// How many letters must be put in, taken out, changed or swapped with their neighbour; texts
/// beyond 64 letters are far from everything.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let at = |row: &[usize], k: usize| row.get(k).copied().unwrap_or(usize::MAX / 2);
            let change = at(&previous, j) + usize::from(from != to);
            let mut best = change.min(at(&previous, j + 1) + 1).min(at(&row, j) + 1);
            let is_swap = i > 0 && j > 0 && a.get(i - 1) == Some(to) && b.get(j - 1) == Some(from);
            if is_swap {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = previous;
        previous = row;
    }
    previous.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_is_found_and_another_word_is_not() {
        let known = ["instances", "run", "resources", "health", "maxUnavailable"];
        let find = |word| nearest(word, known.iter().copied()).map(|meant| meant.word);
        assert_eq!(find("instnaces"), Some("instances"));
        assert_eq!(find("Instances"), Some("instances"));
        assert_eq!(find("resource"), Some("resources"));
        assert_eq!(find("maxunavailable"), Some("maxUnavailable"));
        assert_eq!(find("replicas"), None);
        assert_eq!(find("x"), None);
        assert_eq!(find("rn"), Some("run"));
        assert_eq!(find("ru"), Some("run"));
        assert_eq!(find("rules"), None);
        assert_eq!(find("wealthy"), Some("health"));
    }

    #[test]
    fn one_slip_is_certain_and_two_or_two_candidates_are_not() {
        let known = ["instances", "prune", "prone", "maxSurge"];
        let certain = |word| nearest(word, known.iter().copied()).map(|meant| meant.is_certain);
        assert_eq!(certain("instnaces"), Some(true));
        assert_eq!(certain("maxsurge"), Some(true));
        assert_eq!(certain("instnacse"), Some(false));
        assert_eq!(certain("prxne"), Some(false));
    }
}
