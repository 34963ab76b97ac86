//! Text from outside, made fit to be kept and shown: cut to a stated length, and freed of what
//! plays tricks on a terminal.

/// Bytes of one reason, message, note or line of a log, wherever it comes from.
pub const MESSAGE_BYTES: usize = 1_000;

/// Cuts at `bytes` at most, on a character's boundary; control characters become blanks.
pub fn cut(text: &str, bytes: usize) -> String {
    let end = text.floor_char_boundary(bytes);
    text.get(..end)
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Cuts what is kept as a reason or shown as a message, at [`MESSAGE_BYTES`].
pub fn message(text: &str) -> String {
    cut(text, MESSAGE_BYTES)
}

/// A count with its noun: `1 task`, `3 tasks`.
pub fn number(count: impl Into<u128>, noun: &str) -> String {
    match count.into() {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// Takes the first word, cut at `bytes`.
pub fn word(text: &str, bytes: usize) -> String {
    cut(text.split_whitespace().next().unwrap_or_default(), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_on_a_boundary() {
        assert_eq!(cut("ééé", 5), "éé");
        assert_eq!(message("short"), "short");
        assert_eq!(message(&"x".repeat(2 * MESSAGE_BYTES)).len(), MESSAGE_BYTES);
    }

    #[test]
    fn a_message_cannot_move_the_cursor() {
        assert_eq!(cut("a\u{1b}[2Jb\nc", 100), "a [2Jb c");
    }

    #[test]
    fn one_is_singular() {
        let counts = [0_u64, 1, 2].map(|count| number(count, "task"));
        assert_eq!(counts, ["0 tasks", "1 task", "2 tasks"]);
    }

    #[test]
    fn a_reason_is_one_word() {
        assert_eq!(word("  RolledBack because of", 64), "RolledBack");
        assert_eq!(word("", 64), "");
    }
}
