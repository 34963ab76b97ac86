//! Text of somebody else, made fit to be shown: nothing in it steers the terminal, hides, or turns
//! the direction of writing.

/// What stands around the number of a character in YAML until it is spelled out; no text has it but
/// by this file's doing.
const OPEN: &str = "\u{2}\u{3}";
const CLOSE: &str = "\u{3}\u{2}";

/// Whether a character is not seen, or changes how others are: control characters, marks of
/// direction and width, fillers, tags.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Shows a text on one line: line ends and tabs become spaces, and what is hidden is spelled out,
/// `\u{202e}`.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(' '),
            c if is_hidden(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// Shows a text of several lines: as [`plain`], but its lines stay lines.
pub(crate) fn plain_lines(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| match line.strip_suffix('\n') {
            Some(line) => format!("{}\n", plain(line)),
            None => plain(line),
        })
        .collect()
}

/// The same JSON with everything hidden spelled out: such characters stand in its strings only, but
/// for line ends.
pub(crate) fn json_shown(json: String) -> String {
    if !json.chars().any(|c| c != '\n' && is_hidden(c)) {
        return json;
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if c == '\n' || !is_hidden(c) {
            shown.push(c);
            continue;
        }
        let mut units = [0_u16; 2];
        for unit in c.encode_utf16(&mut units) {
            shown.push_str(&format!("\\u{unit:04x}"));
        }
    }
    shown
}

/// Whether a text that was written as YAML shows something hidden raw.
pub(crate) fn has_hidden(yaml: &str) -> bool {
    yaml.chars().any(|c| c != '\n' && is_hidden(c))
}

/// Puts the number of each hidden character in its place, in a form that YAML writes between double
/// quotes; see [`unmasked`].
pub(crate) fn masked(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && c != '\t' && is_hidden(c) {
            masked.push_str(&format!("{OPEN}{:08X}{CLOSE}", u32::from(c)));
        } else {
            masked.push(c);
        }
    }
    masked
}

/// Spells out, in the escapes of YAML, what [`masked`] has numbered.
pub(crate) fn unmasked(yaml: &str) -> String {
    yaml.replace("\\x02\\x03", "\\U").replace("\\x03\\x02", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_somebody_else_cannot_steer_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\nc"), "a\\u{1b}[2Jb c");
    }

    #[test]
    fn what_cannot_be_seen_or_turns_the_writing_is_spelled_out() {
        assert_eq!(
            plain("a\u{202e}b\u{200b}c\u{e0041}d"),
            "a\\u{202e}b\\u{200b}c\\u{e0041}d"
        );
        assert_eq!(plain("Größe → 日本"), "Größe → 日本");
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(plain_lines("a: \u{202e}\nb\n"), "a: \\u{202e}\nb\n");
    }

    #[test]
    fn json_means_the_same_when_the_hidden_is_spelled_out() {
        let json = "{\n  \"a\": \"x\u{202e}y\u{e0041}\"\n}".to_owned();
        let shown = json_shown(json.clone());
        assert_eq!(shown, "{\n  \"a\": \"x\\u202ey\\udb40\\udc41\"\n}");
        let (before, after): (Option<serde_json::Value>, Option<serde_json::Value>) = (
            serde_json::from_str(&json).ok(),
            serde_json::from_str(&shown).ok(),
        );
        assert!(before.is_some());
        assert_eq!(before, after);
    }
}
