//! Finds what somebody probably meant.

/// The known word that is nearest to `word`, if one is near enough to be a slip of the fingers.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    known
        .map(|candidate| {
            (
                distance(&word.to_lowercase(), &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out, changed or swapped with their neighbour; texts beyond 64 letters are far from everything.
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

/// What other systems call a thing that has another name here.
pub(crate) fn known_elsewhere(word: &str) -> Option<&'static str> {
    Some(match word.to_lowercase().as_str() {
        "replicas" | "count" | "scale" => "instances",
        "image" | "container" | "containers" => "run.command: a task is a program",
        "environment" => "run.env",
        "entrypoint" | "cmd" => "run.command",
        "livenessprobe" | "healthcheck" | "healthchecks" => "health",
        "readinessprobe" => "readiness",
        "cpu" => "resources.cpus",
        "mem" | "ram" => "resources.memory",
        "annotations" | "tags" => "metadata.labels",
        "strategy" => "update",
        "volumes" | "volumemounts" | "configs" => "run.files",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_is_found_and_another_word_is_not() {
        let known = ["instances", "run", "resources", "health", "maxUnavailable"];
        let find = |word| nearest(word, known.iter().copied());
        assert_eq!(find("instnaces"), Some("instances"));
        assert_eq!(find("Instances"), Some("instances"));
        assert_eq!(find("resource"), Some("resources"));
        assert_eq!(find("maxunavailable"), Some("maxUnavailable"));
        assert_eq!(find("replicas"), None);
        assert_eq!(find("x"), None);
    }
}
