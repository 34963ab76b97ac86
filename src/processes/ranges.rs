//! Ranges of ports, as they are typed.

use kelson_model::agent::PortRange;

/// The range that agents give when nobody says otherwise.
pub(crate) const DEFAULT: &str = "20000-31999";

/// Reads `20000-31999`.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn parse_range(text: &str) -> Result<PortRange, String> {
    let wanted = || format!("'{text}' is no range of ports such as {DEFAULT}");
    let (first, last) = text.split_once('-').ok_or_else(wanted)?;
    let first: u16 = first.trim().parse().map_err(|_| wanted())?;
    let last: u16 = last.trim().parse().map_err(|_| wanted())?;
    if first == 0 || last < first {
        return Err(wanted());
    }
    Ok(PortRange { first, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_a_first_port_and_a_last_one_that_is_not_below_it() {
        assert_eq!(
            parse_range("20000-20000"),
            Ok(PortRange {
                first: 20_000,
                last: 20_000
            })
        );
        for text in ["", "1", "2-1", "0-9", "1-99999", "a-b"] {
            assert!(parse_range(text).is_err(), "{text}");
        }
    }
}
