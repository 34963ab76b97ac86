//! Lines that stand too far to the left: what that looks like, and the same lines further right.

use kelson_model::code::Code;

use super::flaw::{Flaw, Rewrite};
use super::lines::Lines;
use super::tree::{Position, Range};

/// The fields of a document, which never belong below another one.
const OF_DOCUMENT: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];

/// Lines from the first to the last, each further right; blank ones stay as they are.
pub(crate) fn indented(
    lines: &Lines<'_>,
    first: usize,
    last: usize,
    more: usize,
) -> (Range, String) {
    let blank = " ".repeat(more);
    let text: Vec<String> = (first..=last)
        .map(|number| match lines.get(number) {
            line if line.trim().is_empty() => line.to_owned(),
            line => format!("{blank}{line}"),
        })
        .collect();
    let range = Range {
        start: Position::new(first, 1),
        end: Position::new(last, lines.get(last).chars().count() + 1),
    };
    (range, text.join("\n"))
}

/// How far to the right a line begins, and the word before its colon; `None` for what is blank or a
/// comment.
fn begin(line: &str) -> Option<(usize, Option<&str>)> {
    let text = line.trim_start_matches(' ');
    if text.trim().is_empty() || text.starts_with('#') {
        return None;
    }
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    };
    let word = text
        .split_once(':')
        .filter(|(word, value)| is_word(word) && (value.is_empty() || value.starts_with(' ')))
        .map(|(word, _)| word);
    Some((line.len() - text.len(), word))
}

fn is_item(line: &str) -> bool {
    line.trim_start_matches(' ').starts_with("- ")
}

/// Whether a field holds what stands in the lines below it.
fn is_open(line: &str) -> bool {
    line.trim_end().ends_with(':')
}

/// Whether a field has what it holds before a line, so that what stands there is none of it.
fn is_whole(lines: &Lines<'_>, first: usize, number: usize) -> bool {
    let mut between = first + 1..number;
    !is_open(lines.get(first)) || between.any(|number| begin(lines.get(number)).is_some())
}

/// Whether a field is alone at its level, and those from a line on are alike.
fn is_first(lines: &Lines<'_>, level: usize, first: usize, number: usize) -> bool {
    if !is_whole(lines, first, number) {
        return false;
    }
    let behind = (number..=lines.count()).filter_map(|number| begin(lines.get(number)));
    behind
        .map(|(at, _)| at)
        .find(|at| *at <= level)
        .is_none_or(|at| at < level)
}

/// Where a reader stopped at a field because fields above it stand further left than those before
/// and behind them: the field that stands further left, wherever the reader stopped.
///
/// At the left edge of a document, what is none of its own fields was meant to stand below one, and
/// can be put right. Further in, either the one or the other may be wrong.
pub(crate) fn dedented(lines: &Lines<'_>, document: usize, stopped: Position) -> Option<Flaw> {
    let number = usize::try_from(stopped.line).ok()?;
    let (column, behind) = begin(lines.get(number))?;
    let behind = behind?;
    let mut above = number;
    // The field furthest up of those that stand further left, and how far.
    let mut left: Option<(usize, usize, &str)> = None;
    let mut is_of_document = false;
    let before = loop {
        above = above.checked_sub(1).filter(|line| *line >= document)?;
        let Some((at, word)) = begin(lines.get(above)) else {
            continue;
        };
        match left {
            _ if at > column => {}
            // An item of a list that stands further left with its field.
            None if at == column && word.is_none() && is_item(lines.get(above)) => {}
            None if at == column => return None,
            Some(_) if at == column => break Some(word?),
            // What holds them: the field is the first of its own.
            Some((first, level, _))
                if at < level
                    && (!is_open(lines.get(first)) || (level - at) % 2 == 1)
                    && is_first(lines, level, first, number) =>
            {
                break None;
            }
            Some((first, 0, _))
                if at == 0
                    && word == Some("spec")
                    && is_open(lines.get(above))
                    && is_whole(lines, first, number) =>
            {
                break None;
            }
            Some((_, level, _)) if level != at => return None,
            None | Some(_) => {
                let word = word?;
                is_of_document |= at == 0 && OF_DOCUMENT.contains(&word);
                left = Some((above, at, word));
            }
        }
    };
    let (first, level, word) = left.filter(|_| !is_of_document)?;
    let start = Position::new(first, level + 1);
    let range = Range {
        start,
        end: Position::new(first, level + 1 + word.chars().count()),
    };
    let behind_at = Position::new(number, column + 1);
    if level > 0 {
        return Some(
            Flaw::over(
                Code::Syntax,
                range,
                format!("`{word}:` stands further left than `{behind}:` in a line below it"),
                format!(
                    "indent `{word}:` and `{behind}:` alike; or indent `{behind}:` and what goes \
                     with it below another field"
                ),
            )
            .with_related(behind_at, format!("{behind} stands here")),
        );
    }
    let last = (first..number)
        .rev()
        .find(|number| begin(lines.get(*number)).is_some())?;
    let (range_of_all, text) = indented(lines, first, last, column);
    let (others, alike) = match before {
        Some(before) => (
            format!("`{before}:` before it and `{behind}:` behind it"),
            "those",
        ),
        None => (format!("`{behind}:` behind it"), "that"),
    };
    Some(
        Flaw::over(
            Code::Syntax,
            range,
            format!("`{word}:` stands further left than {others}"),
            format!("indent it by {column} spaces, like {alike}"),
        )
        .with_related(behind_at, format!("{behind} stands here"))
        .with_rewrite(Some(Rewrite::certain(range_of_all, text))),
    )
}

/// Where a reader stopped at a field that stands further left than the fields before it, and
/// further right than what holds them.
pub(crate) fn uneven(lines: &Lines<'_>, document: usize, stopped: Position) -> Option<Flaw> {
    let number = usize::try_from(stopped.line).ok()?;
    let (column, word) = begin(lines.get(number))?;
    let word = word?;
    let mut inner: Option<(usize, usize, &str)> = None;
    for above in (document..number).rev() {
        let Some((at, before)) = begin(lines.get(above)) else {
            continue;
        };
        if at == column {
            return None;
        }
        if at < column {
            break;
        }
        // Of what goes before, the field that stands least far to the right.
        if let Some(before) = before
            && inner.is_none_or(|(_, least, _)| at <= least)
        {
            inner = Some((above, at, before));
        }
    }
    let (line, at, before) = inner?;
    let start = Position::new(number, column + 1);
    let range = Range {
        start,
        end: Position::new(number, column + 1 + word.chars().count()),
    };
    Some(
        Flaw::over(
            Code::Syntax,
            range,
            format!("`{word}:` stands further left than `{before}:` before it"),
            format!(
                "indent it like `{before}:`, by {at} spaces, or `{before}:` and what goes with it \
                 by {column}"
            ),
        )
        .with_related(Position::new(line, at + 1), format!("{before} stands here")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, line: usize) -> Option<(u32, bool)> {
        let column = text
            .lines()
            .nth(line - 1)
            .map_or(0, |line| line.len() - line.trim_start().len());
        let flaw = dedented(&Lines::new(text), 1, Position::new(line, column + 1))?;
        Some((flaw.position.line, flaw.replacement.is_some()))
    }

    #[test]
    fn a_field_is_found_where_it_stands_and_not_where_the_reader_stopped() {
        assert_eq!(found("spec:\n  a: 1\nb: 2\n  c: 3", 4), Some((3, true)));
        assert_eq!(
            found("spec:\n  a:\n    x: 1\nb:\n    y: 2\n\n  # no\n  c: 3", 8),
            Some((4, true))
        );
        assert_eq!(
            found("spec:\n  a: 1\nb: 2\nd: 4\n  c: 3", 5),
            Some((3, true))
        );
    }

    #[test]
    fn where_either_may_be_wrong_nothing_is_put_right() {
        let text = "spec:\n  run:\n    a: 1\n  b: 2\n    c: 3";
        assert_eq!(found(text, 5), Some((4, false)));
        // What stands below `spec` is indented too far.
        let text = "metadata:\n  name: web\nspec:\n    a: 1\n  b: 2";
        assert_eq!(found(text, 5), None);
        assert_eq!(found("spec:\n  a: 1\n b: 2", 3), None);
        assert_eq!(found("spec:\n  - a: 1\n  b: 2", 3), None);
    }
}
