//! Text from guests: cut, and freed of what could play tricks on a terminal.

/// Cuts at `bytes` at most, on a character's boundary; control characters become blanks.
pub(crate) fn message(text: &str, bytes: usize) -> String {
    let cut = text.floor_char_boundary(bytes);
    text.get(..cut)
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Takes the first word, cut at `bytes`.
pub(crate) fn word(text: &str, bytes: usize) -> String {
    message(text.split_whitespace().next().unwrap_or_default(), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_on_a_boundary() {
        assert_eq!(message("ééé", 5), "éé");
        assert_eq!(message("short", 1_000), "short");
    }

    #[test]
    fn a_message_cannot_move_the_cursor() {
        assert_eq!(message("a\u{1b}[2Jb\nc", 100), "a [2Jb c");
    }

    #[test]
    fn a_reason_is_one_word() {
        assert_eq!(word("  RolledBack because of", 64), "RolledBack");
        assert_eq!(word("", 64), "");
    }
}
