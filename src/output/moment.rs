//! Times, for people.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The time now.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// How long ago a time (RFC 3339) was: `0s`, `59s`, `12m`, `5h`, `3d`; nothing for what is no time.
pub(crate) fn age(at: &str, now: Timestamp) -> String {
    let Ok(at) = at.parse::<Timestamp>() else {
        return String::new();
    };
    let seconds = now.as_second().saturating_sub(at.as_second()).max(0);
    match seconds {
        0..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m", seconds / 60),
        3600..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The time of day of a time (RFC 3339), in the machine's time zone where it is known; the text
/// itself for what is no time.
pub(crate) fn clock(at: &str) -> String {
    at.parse::<Timestamp>().map_or_else(
        |_| at.to_owned(),
        |at| {
            let local = at.to_zoned(TimeZone::UTC);
            format!(
                "{:02}:{:02}:{:02}",
                local.hour(),
                local.minute(),
                local.second()
            )
        },
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn ages_grow_coarser() {
        let now: Timestamp = "2026-01-10T12:00:00Z".parse().unwrap();
        for (at, shown) in [
            ("2026-01-10T12:00:05Z", "0s"),
            ("2026-01-10T11:59:48.5Z", "12s"),
            ("2026-01-10T11:48:00Z", "12m"),
            ("2026-01-10T07:00:00Z", "5h"),
            ("2026-01-07T11:00:00Z", "3d"),
            ("yesterday", ""),
        ] {
            assert_eq!(age(at, now), shown, "{at}");
        }
    }

    #[test]
    fn a_clock_shows_the_time_of_day() {
        assert_eq!(clock("2026-01-10T07:05:09.123Z"), "07:05:09");
        assert_eq!(clock("soon"), "soon");
    }
}
