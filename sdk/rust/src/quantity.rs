//! Quantities of a normalised specification, for schedulers that reckon with them.

/// Reads a duration (`100ms`, `30s`, `10m`, `2h`) as milliseconds.
pub fn duration_ms(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(end);
    let factor: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// Writes milliseconds in the largest unit that divides them.
pub fn duration_text(ms: u64) -> String {
    for (unit, factor) in [("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if ms.is_multiple_of(factor) && (ms > 0 || unit == "s") {
            return format!("{}{unit}", ms / factor);
        }
    }
    format!("{ms}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_in_their_largest_unit() {
        assert_eq!(duration_ms("90s"), Some(90_000));
        assert_eq!(duration_ms("10"), None);
        assert_eq!(duration_ms("s"), None);
        assert_eq!(duration_ms("99999999999999999999h"), None);
        for text in ["0s", "1ms", "90s", "10m", "2h"] {
            assert_eq!(duration_ms(text).map(duration_text).as_deref(), Some(text));
        }
    }
}
