//! Plain scalars that YAML 1.1, YAML 1.2 and JSON people read differently.
//!
//! A value that one tool reads as a truth value and another as text is refused wherever it stands,
//! so that no reader of the repository is ever surprised.

/// What to say about a surprising plain scalar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Surprise {
    /// What other readers make of it.
    pub(crate) message: String,
    /// What to write instead.
    pub(crate) hint: String,
    /// The truth value that it is to some.
    pub(crate) truth: Option<bool>,
    /// The number that it is to some, as every reader reads it.
    pub(crate) number: Option<String>,
    /// What to write where it may be one of two numbers.
    pub(crate) either: Option<String>,
}

/// Looks at a plain scalar (one without quotes); `None` where every reader agrees.
pub(crate) fn of_plain(text: &str) -> Option<Surprise> {
    let quoted = format!("write \"{text}\" for the text");
    let surprise = |reading: &str, instead: &str| {
        Some(Surprise {
            truth: None,
            number: None,
            either: None,
            message: format!(
                "{text} without quotes is read as {reading} by some readers and not by others"
            ),
            hint: if instead.is_empty() {
                quoted.clone()
            } else {
                format!("{quoted}, {instead}")
            },
        })
    };
    let truth = |truth: bool| {
        let found = surprise(
            &truth.to_string(),
            &format!("or {truth} for the truth value"),
        )?;
        Some(Surprise {
            truth: Some(truth),
            ..found
        })
    };
    let number = |reading: &str, number: String| {
        let found = surprise(reading, &format!("or {number} for the number"))?;
        Some(Surprise {
            number: Some(number),
            ..found
        })
    };
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return truth(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return truth(false),
        "~" => return surprise("null", "or leave the field out"),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let sign = if text.starts_with('-') { "-" } else { "" };
    if matches!(
        unsigned,
        ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN"
    ) {
        return surprise("a number without a value", "");
    }
    let begins_like_number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !begins_like_number {
        return None;
    }
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if is_digits(unsigned) {
        if is_beyond_numbers(text) {
            return surprise("a rounded number", "");
        }
        if text.starts_with('+') {
            return number("a number", unsigned.to_owned());
        }
        if unsigned.len() > 1 && unsigned.starts_with('0') {
            let stripped = unsigned.trim_start_matches('0');
            let stripped = if stripped.is_empty() { "0" } else { stripped };
            let decimal = format!("{sign}{stripped}");
            let octal = match u64::from_str_radix(unsigned, 8) {
                Ok(value) => format!("{sign}{value}"),
                Err(_) => return number(&format!("the number {decimal}"), decimal),
            };
            if octal == decimal {
                return number(&format!("the number {decimal}"), decimal);
            }
            // Which of the two was meant, nobody can tell.
            return Some(Surprise {
                truth: None,
                number: None,
                message: format!(
                    "{text} without quotes is read as {octal}, an octal number, by some readers \
                     and as {decimal} by others"
                ),
                hint: format!("{quoted}, or {decimal} or {octal} for the number that is meant"),
                either: Some(format!("{decimal}, or {octal} if it was meant to be octal")),
            });
        }
        return None;
    }
    if let Some((whole, decimals)) = unsigned.split_once('.')
        && (is_digits(whole) || whole.is_empty())
        && (is_digits(decimals) || decimals.is_empty())
        && unsigned != "."
    {
        let is_usual = !text.starts_with('+')
            && is_digits(whole)
            && is_digits(decimals)
            && (whole == "0" || !whole.starts_with('0'));
        if is_usual {
            return None;
        }
        return surprise(
            "a decimal number",
            "or the number with digits on both sides of the point",
        );
    }
    for (prefix, radix, name) in [
        ("0x", 16, "a hexadecimal"),
        ("0o", 8, "an octal"),
        ("0b", 2, "a binary"),
    ] {
        let Some(digits) = unsigned.strip_prefix(prefix) else {
            continue;
        };
        let digits = digits.replace('_', "");
        if let Ok(value) = u64::from_str_radix(&digits, radix) {
            return number(&format!("{name} number"), format!("{sign}{value}"));
        }
    }
    if unsigned.contains('_')
        && unsigned
            .bytes()
            .all(|b| b.is_ascii_digit() || b == b'_' || b == b'.')
    {
        return number("a number", format!("{sign}{}", unsigned.replace('_', "")));
    }
    if is_exponential(unsigned) {
        return surprise("a number", "or the number with all its digits");
    }
    if is_sexagesimal(unsigned) {
        return surprise("a number to the base 60", "");
    }
    None
}

/// Whether a whole number is larger than what 64 bits hold, which is where readers begin to round.
pub(crate) fn is_beyond_numbers(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_whole && text.parse::<i64>().is_err() && text.parse::<u64>().is_err()
}

/// `1e3`, `1.5E-7`.
fn is_exponential(text: &str) -> bool {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else {
        return false;
    };
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let has_digit = mantissa.bytes().any(|b| b.is_ascii_digit());
    has_digit
        && mantissa.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && mantissa.matches('.').count() <= 1
        && !exponent.is_empty()
        && exponent.bytes().all(|b| b.is_ascii_digit())
}

/// `12:30`, `1:30:00`: YAML 1.1 counts in sixties.
fn is_sexagesimal(text: &str) -> bool {
    let mut parts = text.split(':');
    let first = parts.next().unwrap_or_default();
    let mut count = 0;
    let rest_fits = parts.all(|part| {
        count += 1;
        let part = part.split_once('.').map_or(part, |(whole, _)| whole);
        matches!(part.len(), 1 | 2) && part.parse::<u8>().is_ok_and(|n| n < 60)
    });
    count > 0 && rest_fits && !first.is_empty() && first.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_yaml_1_1_reads_differently_is_named() {
        for text in [
            "no",
            "No",
            "NO",
            "yes",
            "Yes",
            "on",
            "ON",
            "off",
            "Off",
            "y",
            "n",
            "Y",
            "N",
            "~",
            "012",
            "-012",
            "00",
            "08",
            "1e3",
            "1E3",
            "1.5e-7",
            "0x1F",
            "0o17",
            "0b101",
            "1_000",
            "12:30",
            "1:30:00",
            "190:20:30.15",
            "+1",
            "+1.5",
            ".5",
            "5.",
            ".inf",
            "-.INF",
            ".nan",
            "00.5",
            "123456789012345678901234",
            "-99999999999999999999",
        ] {
            assert!(of_plain(text).is_some(), "{text}");
        }
    }

    #[test]
    fn what_every_reader_reads_alike_passes() {
        for text in [
            "3",
            "0",
            "-7",
            "18446744073709551615",
            "0.5",
            "10.25",
            "true",
            "false",
            "null",
            "web",
            "1.2.3",
            "1.2.3.4",
            "256Mi",
            "10s",
            "25%",
            "8080:80",
            "12:99",
            "node",
            "Norway",
            "0.5.1",
            "-m",
            "-",
            ".",
            "..",
            "./run",
            "3e",
            "e3",
            "1e",
            "2026-11-22",
            "http.server",
            "127.0.0.1:8080",
            "a:b",
            "",
            "1.2.3e4",
            "0X1F",
        ] {
            assert_eq!(of_plain(text), None, "{text}");
        }
    }

    #[test]
    fn the_hint_says_what_to_write() {
        assert_eq!(
            of_plain("012").unwrap().hint,
            "write \"012\" for the text, or 12 or 10 for the number that is meant"
        );
        assert_eq!(
            of_plain("08").unwrap().hint,
            "write \"08\" for the text, or 8 for the number"
        );
        assert!(of_plain("0x1F").unwrap().hint.contains("31"));
        assert!(of_plain("no").unwrap().hint.contains("false"));
        assert!(of_plain("-1_000").unwrap().hint.contains("-1000"));
    }
}
