//! Plain scalars that YAML 1.1, YAML 1.2 and JSON people read differently.
//!
//! A value that one tool reads as a truth value and another as text is refused wherever it stands, so that no reader of the repository is ever surprised.

/// What to say about a surprising plain scalar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Surprise {
    /// What other readers make of it.
    pub(crate) message: String,
    /// What to write instead.
    pub(crate) hint: String,
}

/// Looks at a plain scalar (one without quotes); `None` where every reader agrees.
pub(crate) fn of_plain(text: &str) -> Option<Surprise> {
    let quoted = format!("write \"{text}\" for the text");
    let surprise = |reading: String, instead: String| {
        Some(Surprise {
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
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return surprise("true".to_owned(), "or true for the truth value".to_owned());
        }
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return surprise(
                "false".to_owned(),
                "or false for the truth value".to_owned(),
            );
        }
        "~" => return surprise("null".to_owned(), "or leave the field out".to_owned()),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let sign = if text.starts_with('-') { "-" } else { "" };
    if matches!(
        unsigned,
        ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN"
    ) {
        return surprise("a number without a value".to_owned(), String::new());
    }
    let begins_like_number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !begins_like_number {
        return None;
    }
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if is_digits(unsigned) {
        if text.starts_with('+') {
            return surprise(
                "a number".to_owned(),
                format!("or {unsigned} for the number"),
            );
        }
        if unsigned.len() > 1 && unsigned.starts_with('0') {
            let stripped = unsigned.trim_start_matches('0');
            let stripped = if stripped.is_empty() { "0" } else { stripped };
            return surprise(
                "an octal number".to_owned(),
                format!("or {sign}{stripped} for the number"),
            );
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
            "a decimal number".to_owned(),
            "or the number with digits on both sides of the point".to_owned(),
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
        if let Ok(number) = u64::from_str_radix(&digits, radix) {
            return surprise(
                format!("{name} number"),
                format!("or {sign}{number} for the number"),
            );
        }
    }
    if unsigned.contains('_')
        && unsigned
            .bytes()
            .all(|b| b.is_ascii_digit() || b == b'_' || b == b'.')
    {
        return surprise(
            "a number".to_owned(),
            format!("or {sign}{} for the number", unsigned.replace('_', "")),
        );
    }
    if is_exponential(unsigned) {
        return surprise(
            "a number".to_owned(),
            "or the number with all its digits".to_owned(),
        );
    }
    if is_sexagesimal(unsigned) {
        return surprise("a number to the base 60".to_owned(), String::new());
    }
    None
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
            "write \"012\" for the text, or 12 for the number"
        );
        assert!(of_plain("0x1F").unwrap().hint.contains("31"));
        assert!(of_plain("no").unwrap().hint.contains("false"));
        assert!(of_plain("-1_000").unwrap().hint.contains("-1000"));
    }
}
