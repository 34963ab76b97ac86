//! Waiting for something to become true.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks again and again until `look` returns a value, and returns it.
///
/// # Errors
/// The first error of `look`; or, once the deadline has passed, `what` with the last thing that
/// `look` did not find good enough.
pub fn wait_for<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<Look<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        // The deadline is read before the look, so that a slow last look still counts.
        let is_last = started.elapsed() >= deadline;
        match look().with_context(|| format!("while waiting until {what}"))? {
            Look::Found(value) => return Ok(value),
            Look::NotYet(seen) if is_last => {
                bail!("waited {deadline:?} until {what}; last seen: {seen}")
            }
            Look::NotYet(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// What one look brought.
#[derive(Debug)]
pub enum Look<T> {
    /// The value that was waited for.
    Found(T),
    /// Not that; what was seen instead, for the message when time runs out.
    NotYet(String),
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_value_that_comes_later_is_found() {
        let mut looks = 0;
        let found = wait_for("three", Duration::from_secs(20), || {
            looks += 1;
            Ok(if looks == 3 {
                Look::Found(looks)
            } else {
                Look::NotYet(looks.to_string())
            })
        });
        assert_eq!(found.unwrap(), 3);
    }

    #[test]
    fn the_last_thing_seen_is_in_the_error() {
        let error = wait_for::<()>("it rains", Duration::ZERO, || {
            Ok(Look::NotYet("sunshine".into()))
        })
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "waited 0ns until it rains; last seen: sunshine"
        );
    }
}
