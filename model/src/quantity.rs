//! Quantities: integers in newtypes, parsed from text, printed in one canonical form. No float is
//! ever involved.

use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

/// A text was not the quantity that it should be; the message says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {wanted}")]
pub struct ParseQuantityError {
    /// The text as it was given, cut at 80 characters.
    pub text: String,
    /// What was asked for, with examples.
    pub wanted: String,
    /// What was probably meant, spelt as it has to be.
    pub instead: Option<Instead>,
}

/// Another spelling of what was probably meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instead {
    /// The spelling, which is a quantity.
    pub text: String,
    /// Whether it is the same amount beyond doubt.
    pub is_certain: bool,
}

fn refuse(text: &str, wanted: impl Into<String>) -> ParseQuantityError {
    ParseQuantityError {
        text: text.chars().take(80).collect(),
        wanted: wanted.into(),
        instead: None,
    }
}

impl ParseQuantityError {
    fn or(mut self, text: String, is_certain: bool) -> Self {
        self.instead = Some(Instead { text, is_certain });
        self
    }
}

/// The longest text that is looked at for what was meant.
const MAX_GUESSED: usize = 40;

/// A decimal number and the unit behind it, as somebody may have written them: `1.5` and `Gi`.
struct Guess<'a> {
    whole: u64,
    /// The digits behind the point as a fraction: counter and denominator.
    part: (u64, u64),
    unit: &'a str,
}

fn guess(text: &str) -> Option<Guess<'_>> {
    if text.len() > MAX_GUESSED {
        return None;
    }
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if decimals.len() > 6 || decimals.contains('.') || number.ends_with('.') {
        return None;
    }
    let size = 10_u64.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    Some(Guess {
        whole: whole.parse().ok()?,
        part: (
            if decimals.is_empty() {
                0
            } else {
                decimals.parse().ok()?
            },
            size,
        ),
        unit: unit.trim_start(),
    })
}

impl Guess<'_> {
    /// The number in units of `factor`, where that is whole.
    fn times(&self, factor: u64) -> Option<u64> {
        let part = self.part.0.checked_mul(factor)?;
        if part % self.part.1 != 0 {
            return None;
        }
        self.whole
            .checked_mul(factor)?
            .checked_add(part / self.part.1)
    }
}

/// Thousandths of one cpu; written `0.5`, at most three decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MilliCpus(pub u64);

/// A number of bytes; written with a binary unit: `256Mi` (`256MiB` is the same).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub u64);

/// A length of time in milliseconds; written `100ms`, `30s`, `1m30s`, `2h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

/// Most cpus of one task or agent: a million cores.
const MAX_MILLI_CPUS: u64 = 1_000_000_000;
/// Longest duration: a hundred years.
const MAX_MILLIS: u64 = 100 * 365 * 24 * 3_600_000;

impl FromStr for MilliCpus {
    type Err = ParseQuantityError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            refuse(
                text,
                "a number of cpus with at most 3 decimals, such as 0.5 or 2",
            )
        };
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| {
            !part.is_empty() && part.len() <= 12 && part.bytes().all(|b| b.is_ascii_digit())
        };
        if !digits(whole) || !digits(decimals) {
            return Err(wrong());
        }
        let significant = decimals.trim_end_matches('0');
        if significant.len() > 3 {
            return Err(wrong());
        }
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let thousandths: u64 = format!("{significant:0<3}").parse().map_err(|_| wrong())?;
        match whole
            .checked_mul(1000)
            .and_then(|milli| milli.checked_add(thousandths))
        {
            Some(milli) if milli <= MAX_MILLI_CPUS => Ok(Self(milli)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for MilliCpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        if rest == 0 {
            write!(f, "{whole}")
        } else {
            write!(f, "{whole}.{}", format!("{rest:03}").trim_end_matches('0'))
        }
    }
}

const BYTE_UNITS: [(&str, u32); 4] = [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];

impl FromStr for Bytes {
    type Err = ParseQuantityError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "0" {
            return Ok(Self(0));
        }
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        if !digits.is_empty() && unit.is_empty() {
            return Err(without_unit(text));
        }
        if !digits.is_empty()
            && matches!(
                unit,
                "K" | "M" | "G" | "T" | "KB" | "MB" | "GB" | "TB" | "kB" | "k"
            )
        {
            let letter: String = unit.chars().take(1).collect();
            let letter = letter.to_ascii_uppercase();
            let wanted = format!(
                "an amount with a binary unit: write {digits}{letter}i \
                 ({digits}{letter}iB is the same)"
            );
            return Err(refuse(text, wanted).or(format!("{digits}{letter}i"), false));
        }
        let wrong = || match meant_bytes(text) {
            Some(instead) => {
                let wanted = format!("a whole amount with a binary unit: write {}", instead.text);
                refuse(text, wanted).or(instead.text, instead.is_certain)
            }
            None => refuse(text, "an amount with a binary unit, such as 256Mi or 1Gi"),
        };
        let bare = unit.strip_suffix('B').unwrap_or(unit);
        let shift = BYTE_UNITS
            .iter()
            .find(|(name, _)| *name == bare)
            .map(|(_, shift)| *shift)
            .ok_or_else(wrong)?;
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        number
            .checked_mul(1 << shift)
            .filter(|bytes| *bytes <= i64::MAX as u64)
            .map(Self)
            .ok_or_else(wrong)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0");
        }
        for (unit, shift) in BYTE_UNITS {
            if self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        // Amounts below a KiB come from machines, never from a manifest.
        write!(f, "{}B", self.0)
    }
}

impl Bytes {
    /// For people: to one decimal of the largest unit that fits, `22.5Gi`.
    pub fn for_people(self) -> String {
        for (unit, shift) in BYTE_UNITS {
            let tenths = u128::from(self.0) * 10 / (1_u128 << shift);
            if tenths >= 10 {
                let rest = match tenths % 10 {
                    0 => String::new(),
                    tenth => format!(".{tenth}"),
                };
                return format!("{}{rest}{unit}", tenths / 10);
            }
        }
        self.to_string()
    }
}

/// Refuses a bare number: one that a unit divides is a number of bytes, as other tools write them;
/// of any other nobody knows the unit.
fn without_unit(digits: &str) -> ParseQuantityError {
    let whole = digits
        .parse::<u64>()
        .ok()
        .filter(|bytes| *bytes >= 1024 && bytes.is_multiple_of(1024))
        .map(|bytes| Bytes(bytes).to_string());
    let (instead, why) = match whole {
        Some(instead) => (instead, format!("{digits} is taken for bytes")),
        None => (
            format!("{digits}Mi"),
            "the unit is missing, and Mi is a guess".to_owned(),
        ),
    };
    // What is offered must be a quantity itself.
    if instead.parse::<Bytes>().is_err() {
        return refuse(digits, "an amount with a binary unit, such as 256Mi or 1Gi");
    }
    let wanted = format!("an amount with a binary unit: write {instead} ({why})");
    refuse(digits, wanted).or(instead, false)
}

/// What somebody meant who wrote `1.5Gi`, `512 Mi` or `512mib`.
fn meant_bytes(text: &str) -> Option<Instead> {
    let guess = guess(text)?;
    let letter = guess.unit.chars().next()?;
    let rest = guess.unit.get(letter.len_utf8()..)?;
    let name = letter.to_ascii_uppercase();
    let at = BYTE_UNITS
        .iter()
        .position(|(unit, _)| unit.starts_with(name))?;
    if !matches!(rest.to_ascii_lowercase().as_str(), "" | "b" | "i" | "ib") {
        return None;
    }
    let (unit, shift) = BYTE_UNITS.get(at)?;
    // Smaller units follow; the first in which the amount is whole is the nearest.
    let text = BYTE_UNITS.iter().skip(at).find_map(|(smaller, less)| {
        let number = guess.times(1_u64.checked_shl(shift.checked_sub(*less)?)?)?;
        // As much as an amount may be, and no more: the text is one that is read.
        let bytes = number.checked_mul(1 << less)?;
        (bytes <= i64::MAX as u64).then(|| format!("{number}{smaller}"))
    })?;
    let is_exact = guess.unit.strip_suffix('B').unwrap_or(guess.unit) == *unit;
    Some(Instead {
        text,
        is_certain: is_exact,
    })
}

const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl FromStr for Millis {
    type Err = ParseQuantityError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            let error = refuse(
                text,
                "a duration with units, such as 100ms, 30s, 1m30s or 2h",
            );
            match meant_millis(text) {
                Some(instead) => error.or(instead.text, instead.is_certain),
                None => error,
            }
        };
        let mut rest = text;
        let mut total = 0_u64;
        // Units stand from the largest to the smallest, each at most once.
        let mut units = TIME_UNITS.iter();
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let (digits, behind) = rest.split_at(end);
            let length = behind
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(behind.len());
            let (unit, next) = behind.split_at(length);
            let (_, factor) = units.find(|(name, _)| *name == unit).ok_or_else(wrong)?;
            let number: u64 = digits.parse().map_err(|_| wrong())?;
            total = number
                .checked_mul(*factor)
                .and_then(|more| total.checked_add(more))
                .filter(|ms| *ms <= MAX_MILLIS)
                .ok_or_else(wrong)?;
            rest = next;
        }
        if text.is_empty() {
            return Err(wrong());
        }
        Ok(Self(total))
    }
}

/// What somebody meant who wrote `1.5h`, `10 s`, `5 minutes` or a bare `10`.
fn meant_millis(text: &str) -> Option<Instead> {
    let guess = guess(text)?;
    let (name, is_exact) = match guess.unit.to_ascii_lowercase().as_str() {
        // Nothing is nothing in every unit.
        "" => ("s", guess.whole == 0 && guess.part.0 == 0),
        "ms" | "msec" | "millis" | "milliseconds" => ("ms", true),
        "s" | "sec" | "secs" | "second" | "seconds" => ("s", true),
        "m" | "min" | "mins" | "minute" | "minutes" => ("m", guess.unit != "M"),
        "h" | "hr" | "hour" | "hours" => ("h", true),
        "d" | "day" | "days" => ("d", true),
        _ => return None,
    };
    let factor = match name {
        "d" => 24 * 3_600_000,
        name => TIME_UNITS.iter().find(|(unit, _)| *unit == name)?.1,
    };
    let millis = guess.times(factor).filter(|ms| *ms <= MAX_MILLIS)?;
    Some(Instead {
        text: Millis(millis).to_string(),
        is_certain: is_exact,
    })
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in TIME_UNITS {
            if self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        Ok(())
    }
}

macro_rules! text_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}
text_serde!(MilliCpus);
text_serde!(Bytes);
text_serde!(Millis);

impl<'de> Deserialize<'de> for MilliCpus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text
            .strip_suffix('B')
            .and_then(|digits| digits.parse().ok())
        {
            Some(bytes) => Ok(Self(bytes)),
            None => text.parse().map_err(D::Error::custom),
        }
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// The countable resources of a task or an agent; ports are counted apart, since each is an
/// individual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// A share of processor time.
    pub cpus: MilliCpus,
    /// A hard limit.
    pub memory: Bytes,
    /// Space in the task's directory.
    pub disk: Bytes,
}

impl Resources {
    /// Whether `self` holds at least `wanted` of everything.
    pub fn fits(&self, wanted: &Resources) -> bool {
        self.cpus >= wanted.cpus && self.memory >= wanted.memory && self.disk >= wanted.disk
    }

    /// Adds, stopping at the largest number.
    pub fn plus(&self, other: &Resources) -> Resources {
        Resources {
            cpus: MilliCpus(self.cpus.0.saturating_add(other.cpus.0)),
            memory: Bytes(self.memory.0.saturating_add(other.memory.0)),
            disk: Bytes(self.disk.0.saturating_add(other.disk.0)),
        }
    }

    /// Subtracts, stopping at zero.
    pub fn minus(&self, other: &Resources) -> Resources {
        Resources {
            cpus: MilliCpus(self.cpus.0.saturating_sub(other.cpus.0)),
            memory: Bytes(self.memory.0.saturating_sub(other.memory.0)),
            disk: Bytes(self.disk.0.saturating_sub(other.disk.0)),
        }
    }

    /// How many times `shape` fits into `self`; `limit` where the shape asks for nothing.
    pub fn count_of(&self, shape: &Resources, limit: u64) -> u64 {
        let times = |have: u64, want: u64| have.checked_div(want).unwrap_or(limit);
        times(self.cpus.0, shape.cpus.0)
            .min(times(self.memory.0, shape.memory.0))
            .min(times(self.disk.0, shape.disk.0))
            .min(limit)
    }
}

impl<'a> Sum<&'a Resources> for Resources {
    fn sum<I: Iterator<Item = &'a Resources>>(items: I) -> Self {
        items.fold(Resources::default(), |sum, item| sum.plus(item))
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cpus, {} memory, {} disk",
            self.cpus,
            self.memory.for_people(),
            self.disk.for_people()
        )
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cpus_have_at_most_three_decimals() {
        assert_eq!("0.5".parse::<MilliCpus>().unwrap(), MilliCpus(500));
        assert_eq!("2".parse::<MilliCpus>().unwrap().to_string(), "2");
        assert!("0.0005".parse::<MilliCpus>().is_err());
        assert!("1e3".parse::<MilliCpus>().is_err());
        assert!("-1".parse::<MilliCpus>().is_err());
    }

    #[test]
    fn a_bare_number_of_bytes_is_refused_with_what_to_write() {
        let error = "256".parse::<Bytes>().unwrap_err();
        assert!(error.to_string().contains("256Mi"), "{error}");
        let error = "256MB".parse::<Bytes>().unwrap_err();
        assert!(error.to_string().contains("256Mi"), "{error}");
        assert_eq!("1GiB".parse::<Bytes>().unwrap().to_string(), "1Gi");
        assert_eq!("1024Mi".parse::<Bytes>().unwrap().to_string(), "1Gi");
    }

    #[test]
    fn a_bare_number_that_a_unit_divides_is_taken_for_bytes() {
        for (text, instead) in [
            ("134217728", "128Mi"),
            ("1073741824", "1Gi"),
            ("1610612736", "1536Mi"),
            ("1024", "1Ki"),
            ("256", "256Mi"),
            ("1000", "1000Mi"),
            ("1025", "1025Mi"),
        ] {
            let error = text.parse::<Bytes>().unwrap_err();
            let is_guess = error
                .wanted
                .contains("the unit is missing, and Mi is a guess");
            assert_eq!(is_guess, instead == format!("{text}Mi"), "{error}");
            assert!(error.wanted.contains(instead), "{error}");
            let meant = error.instead.unwrap();
            assert_eq!((meant.text.as_str(), meant.is_certain), (instead, false));
        }
        // Nothing is offered that would be refused in its turn.
        for much in ["99999999999999999", "99999999999999999999999", "00"] {
            let instead = much.parse::<Bytes>().unwrap_err().instead;
            assert!(
                instead.is_none_or(|it| it.text.parse::<Bytes>().is_ok()),
                "{much}"
            );
        }
    }

    #[test]
    fn the_largest_bytes_are_refused_not_wrapped() {
        assert!("18446744073709551615Ti".parse::<Bytes>().is_err());
        assert!("9999999999Ti".parse::<Bytes>().is_err());
    }

    #[test]
    fn a_duration_has_units_from_the_largest_to_the_smallest() {
        let millis = |text: &str| text.parse::<Millis>().map(|it| it.0).ok();
        assert_eq!(millis("1m30s"), Some(90_000));
        assert_eq!(millis("2h5m1s7ms"), Some(7_501_007));
        for text in [
            "30s1m", "1m1m", "1m30", "m30s", "", "1m 30s", "-1m", "1m30x",
        ] {
            assert_eq!(millis(text), None, "{text}");
        }
        let much = format!("{}h{}m", u64::MAX, u64::MAX);
        assert_eq!(millis(&much), None);
    }

    #[test]
    fn what_was_meant_is_spelt_as_it_has_to_be() {
        let instead = |error: ParseQuantityError| error.instead.map(|it| (it.text, it.is_certain));
        let bytes = |text: &str| instead(text.parse::<Bytes>().unwrap_err());
        assert_eq!(bytes("1.5Gi"), Some(("1536Mi".to_owned(), true)));
        assert_eq!(bytes("0.5GiB"), Some(("512Mi".to_owned(), true)));
        assert_eq!(bytes("512 Mi"), Some(("512Mi".to_owned(), true)));
        assert_eq!(bytes("512mib"), Some(("512Mi".to_owned(), false)));
        assert_eq!(bytes("256"), Some(("256Mi".to_owned(), false)));
        assert_eq!(bytes("0.1Ki"), None);
        assert_eq!(bytes("1.5.5Gi"), None);
        assert_eq!(bytes("999999999999Ti"), None);
        let millis = |text: &str| instead(text.parse::<Millis>().unwrap_err());
        assert_eq!(millis("1.5h"), Some(("90m".to_owned(), true)));
        assert_eq!(millis("5 seconds"), Some(("5s".to_owned(), true)));
        assert_eq!(millis("10"), Some(("10s".to_owned(), false)));
        assert_eq!(millis("0"), Some(("0s".to_owned(), true)));
        assert_eq!(millis("soon"), None);
    }

    #[test]
    fn durations_print_in_the_largest_unit_that_divides_them() {
        assert_eq!("60s".parse::<Millis>().unwrap().to_string(), "1m");
        assert_eq!("90s".parse::<Millis>().unwrap().to_string(), "90s");
        assert!("10".parse::<Millis>().is_err());
    }

    proptest! {
        #[test]
        fn quantities_print_and_parse_back(n in 0u64..1_000_000_000) {
            prop_assert_eq!(MilliCpus(n).to_string().parse::<MilliCpus>().unwrap(), MilliCpus(n));
            prop_assert_eq!(Bytes(n << 10).to_string().parse::<Bytes>().unwrap(), Bytes(n << 10));
            prop_assert_eq!(Millis(n).to_string().parse::<Millis>().unwrap(), Millis(n));
        }
    }
}
