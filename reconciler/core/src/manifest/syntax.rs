//! Says why a text is not YAML, in words of what people usually do.

use kelson_model::code::Code;

use super::flaw::{Flaw, Rewrite};
use super::indent;
use super::lines::Lines;
use super::reader_words::Complaint;
use super::tree::{Node, Position, Range, cut};
use super::yaml::MAX_DEPTH;

/// Most lines above the place where a reader stopped that are looked at for the cause.
const MAX_ABOVE: usize = 4;
/// Most bytes before a document that are searched for an anchor.
const MAX_SEARCHED: usize = 64 << 10;
/// Most merge conflicts that are told of one document.
const MAX_CONFLICTS: usize = 20;

/// A bracket that is open where a reader stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bracket {
    position: Position,
    opens: char,
    closes: char,
}

impl Bracket {
    pub(crate) fn of_sequence(position: Position) -> Self {
        Self {
            position,
            opens: '[',
            closes: ']',
        }
    }

    pub(crate) fn of_mapping(position: Position) -> Self {
        Self {
            position,
            opens: '{',
            closes: '}',
        }
    }
}

/// Where a reader stopped, and what it said.
pub(crate) struct Stopped<'a> {
    pub(crate) lines: &'a Lines<'a>,
    /// The line in which the document begins.
    pub(crate) document: usize,
    pub(crate) position: Position,
    pub(crate) info: &'a str,
    pub(crate) bracket: Option<Bracket>,
}

/// Why a document could not be read.
pub(crate) fn explain(stopped: &Stopped<'_>) -> Flaw {
    let Stopped { lines, info, .. } = *stopped;
    let end = lines.end();
    let position = if stopped.position.line > end.line {
        end
    } else {
        stopped.position
    };
    if Complaint::TooDeep.is_in(info) {
        return too_deep(position);
    }
    if let Some(flaw) = tab(lines, position, info) {
        return flaw;
    }
    if Complaint::UnknownAnchor.is_in(info) {
        return unknown_anchor(stopped, position);
    }
    if let Some(flaw) = missing_space(stopped, position) {
        return flaw;
    }
    if let Some(flaw) = unclosed_quote(stopped, position) {
        return flaw;
    }
    if let Some(flaw) = dedented(stopped, position) {
        return flaw;
    }
    if let Some(bracket) = stopped.bracket.or_else(|| bracket_above(stopped, position)) {
        return unclosed(lines, bracket, position);
    }
    let hint = if Complaint::Value.is_in(info) {
        "a text with `: ` in it needs quotes; or the line before is indented less than it should be"
    } else if Complaint::Anchor.is_in(info) {
        "a text that begins with & or * needs quotes"
    } else if Complaint::Sign.is_in(info) {
        "a text that begins with @, `, % or another sign needs quotes"
    } else {
        "look at the indentation, and at quotes and brackets that are not closed, here and in the \
         lines before"
    };
    let message = format!("this is not YAML: {}", cut_info(info));
    Flaw::new(Code::Syntax, position, message, hint)
}

fn cut_info(info: &str) -> String {
    info.chars().take(200).collect()
}

/// Brackets or indentations beyond the limit.
pub(crate) fn too_deep(position: Position) -> Flaw {
    Flaw::new(
        Code::TooBig,
        position,
        format!("values are nested more than {MAX_DEPTH} deep"),
        "no kind needs that; look for a bracket or an indentation too many",
    )
}

/// An alias to an anchor that another document of the file has.
pub(crate) fn earlier_anchor(range: Range, place: Option<Position>) -> Flaw {
    let flaw = Flaw::over(
        Code::Syntax,
        range,
        "the alias names an anchor of an earlier document",
        "an anchor ends with its document: write the value out, or give the anchor here as well",
    );
    match place {
        Some(place) => flaw.with_related(place, "the anchor stands here"),
        None => flaw,
    }
}

fn unknown_anchor(stopped: &Stopped<'_>, position: Position) -> Flaw {
    let lines = stopped.lines;
    let ends_name = |c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '{' | '}');
    let name = lines
        .byte(position)
        .and_then(|at| lines.text().get(at..))
        .and_then(|rest| rest.strip_prefix('*'))
        .and_then(|rest| rest.split(ends_name).next())
        .unwrap_or_default();
    let end = Position {
        column: position
            .column
            .saturating_add(u32::try_from(name.chars().count() + 1).unwrap_or(1)),
        ..position
    };
    let range = Range {
        start: position,
        end,
    };
    let before = lines
        .text()
        .get(..lines.start(stopped.document))
        .unwrap_or_default();
    let wanted = format!("&{name}");
    let mut from = before.len().saturating_sub(MAX_SEARCHED);
    while !before.is_char_boundary(from) {
        from += 1;
    }
    let near = before.get(from..).unwrap_or_default();
    let found = near.rfind(&wanted).map(|at| at + from).filter(|at| {
        let behind = before.get(at + wanted.len()..).unwrap_or_default();
        !name.is_empty() && behind.chars().next().is_none_or(ends_name)
    });
    match found {
        Some(at) => {
            let line = lines.line_of(at);
            let column = before
                .get(lines.start(line)..at)
                .map_or(1, |text| text.chars().count() + 1);
            earlier_anchor(range, Some(Position::new(line, column)))
        }
        None => Flaw::over(
            Code::Syntax,
            range,
            format!("no anchor of this document has the name {}", cut(name)),
            "a text that begins with * needs quotes; an anchor, &name, stands before its aliases",
        ),
    }
}

fn tab(lines: &Lines<'_>, position: Position, info: &str) -> Option<Flaw> {
    let line = lines.at(position);
    let blank = line.chars().take_while(|c| c.is_whitespace());
    if !Complaint::Tab.is_in(info) && !blank.clone().any(|c| c == '\t') {
        return None;
    }
    let column = line
        .chars()
        .position(|c| c == '\t')
        .and_then(|at| u32::try_from(at + 1).ok())
        .unwrap_or(position.column);
    let end = u32::try_from(line.chars().take_while(|c| c.is_whitespace()).count() + 1);
    let start = Position { column, ..position };
    let range = Range {
        start,
        end: Position {
            column: end.unwrap_or(0).max(column + 1),
            ..position
        },
    };
    Some(Flaw::over(
        Code::Tab,
        range,
        "a tab stands where YAML wants spaces",
        "indent with spaces",
    ))
}

/// Where a word and a colon stand at the beginning of a text with something close behind:
/// `instances:3`. The bytes in front of the colon and up to and with it.
pub(crate) fn glued_key(text: &str) -> Option<(&str, &str)> {
    let (word, value) = text.split_once(':')?;
    let is_word = word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    // `http://…` and `C:\…` are values.
    let is_glued =
        !value.is_empty() && !value.starts_with([' ', '\t', ':', '/', '\\']) && word.len() > 1;
    (is_word && is_glued).then_some((word, value))
}

/// The flaw of `instances:3`, a value that was meant to be a field.
pub(crate) fn glued(word: &str, node: &Node) -> Flaw {
    match node.through {
        Some(alias) => glued_at(word, alias.start)
            .with_rewrite(None)
            .with_related(node.position, "the value is written here"),
        None => glued_at(word, node.position),
    }
}

/// The flaw of `instances:3`; `position` is where the word begins.
pub(crate) fn glued_at(word: &str, position: Position) -> Flaw {
    let length = u32::try_from(word.chars().count()).unwrap_or(0);
    let at = |more: u32| Position {
        column: position.column.saturating_add(length + more),
        ..position
    };
    Flaw::over(
        Code::Syntax,
        Range {
            start: position,
            end: at(1),
        },
        format!("there is no space behind `{word}:`, so that it is not read as a field"),
        format!("write `{word}: ` with a space behind the colon"),
    )
    .with_rewrite(Some(Rewrite::certain(Range::empty(at(1)), " ")))
}

/// Looks for `instances:3` at the place and in the lines above it.
fn missing_space(stopped: &Stopped<'_>, position: Position) -> Option<Flaw> {
    let number = usize::try_from(position.line).ok()?;
    let first = number.saturating_sub(MAX_ABOVE).max(stopped.document);
    (first..=number).rev().find_map(|number| {
        let line = stopped.lines.get(number);
        let text = line.trim_start_matches([' ', '-']);
        let (word, _) = glued_key(text).or_else(|| glued_path(line))?;
        let column = line.chars().count() - text.chars().count() + 1;
        Some(glued_at(word, Position::new(number, column)))
    })
}

/// `path:/health` at the beginning of a line, which is no item of a list and no address.
fn glued_path(line: &str) -> Option<(&str, &str)> {
    let (word, value) = line.trim_start_matches(' ').split_once(':')?;
    let is_word = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphabetic());
    (is_word && value.starts_with('/') && !value.starts_with("//")).then_some((word, value))
}

/// A field above the place that stands too far to the left.
fn dedented(stopped: &Stopped<'_>, position: Position) -> Option<Flaw> {
    let is_meant = stopped.bracket.is_none()
        && [Complaint::Key, Complaint::Item, Complaint::Value]
            .into_iter()
            .any(|complaint| complaint.is_in(stopped.info));
    if !is_meant {
        return None;
    }
    let (lines, document) = (stopped.lines, stopped.document);
    indent::dedented(lines, document, position)
        .or_else(|| indent::uneven(lines, document, position))
}

/// A quote that is not closed; the reader says where it stood, which may be far behind it.
fn unclosed_quote(stopped: &Stopped<'_>, position: Position) -> Option<Flaw> {
    if !Complaint::Quoted.is_in(stopped.info) {
        return None;
    }
    let number = usize::try_from(position.line).ok()?;
    let (line, column, quote) = (stopped.document..=number).rev().find_map(|number| {
        let (column, quote) = open_quote(stopped.lines.get(number))?;
        Some((number, column, quote))
    })?;
    let start = Position::new(line, column);
    let end = Position::new(line, column + 1);
    let flaw = Flaw::over(
        Code::Syntax,
        Range { start, end },
        format!("the quote {quote} is opened here and not closed"),
        format!("close it with another {quote} at the end of the text"),
    );
    Some(if position > end {
        flaw.with_related(position, "the reader stopped here")
    } else {
        flaw
    })
}

/// The column of a quote that a line opens and does not close.
fn open_quote(line: &str) -> Option<(usize, char)> {
    let mut open = None;
    let mut before = ' ';
    let mut escaped = false;
    for (at, c) in line.chars().enumerate() {
        match open {
            Some((_, '"')) if escaped => escaped = false,
            Some((_, '"')) if c == '\\' => escaped = true,
            Some((_, quote)) if c == quote => open = None,
            Some(_) => {}
            None if c == '#' && before == ' ' => break,
            None if matches!(c, '"' | '\'') && matches!(before, ' ' | '[' | '{' | ',' | ':') => {
                open = Some((at + 1, c));
            }
            None => {}
        }
        before = c;
    }
    open
}

/// A bracket that the lines above open and do not close, where the reader has not come so far.
fn bracket_above(stopped: &Stopped<'_>, position: Position) -> Option<Bracket> {
    if !Complaint::Bracket.is_in(stopped.info) && !Complaint::NoValue.is_in(stopped.info) {
        return None;
    }
    let number = usize::try_from(position.line).ok()?;
    let first = number.saturating_sub(MAX_ABOVE).max(stopped.document);
    let mut open: Vec<Bracket> = Vec::new();
    for number in first..=number {
        let mut quote = None;
        let mut before = ' ';
        for (at, c) in stopped.lines.get(number).chars().enumerate() {
            let here = Position::new(number, at + 1);
            if here > position {
                break;
            }
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (Some(_), _) => {}
                (None, '#') if before == ' ' => break,
                (None, '"' | '\'') if matches!(before, ' ' | '[' | '{' | ',' | ':') => {
                    quote = Some(c);
                }
                (None, '[') => open.push(Bracket::of_sequence(here)),
                (None, '{') => open.push(Bracket::of_mapping(here)),
                (None, ']' | '}') => {
                    open.pop();
                }
                (None, _) => {}
            }
            before = c;
        }
    }
    open.pop()
}

/// A bracket that is not closed, or a comma that is missing within it.
fn unclosed(lines: &Lines<'_>, bracket: Bracket, position: Position) -> Flaw {
    let Bracket {
        position: start,
        opens,
        closes,
    } = bracket;
    let rest: String = lines
        .at(position)
        .chars()
        .skip(
            usize::try_from(position.column)
                .unwrap_or(1)
                .saturating_sub(1),
        )
        .collect();
    let is_closed = position.line == start.line && rest.contains(closes);
    if is_closed {
        return Flaw::new(
            Code::Syntax,
            position,
            format!("a comma or {closes} is missing before this"),
            format!("between {opens} and {closes}, commas part the values"),
        )
        .with_related(start, format!("{opens} stands here"));
    }
    let end = Position {
        column: start.column.saturating_add(1),
        ..start
    };
    let flaw = Flaw::over(
        Code::Syntax,
        Range { start, end },
        format!("{opens} is opened here and not closed"),
        format!("put {closes} where it ends; a text that begins with {opens} needs quotes"),
    );
    if position == start {
        flaw
    } else {
        flaw.with_related(position, "the reader stopped here")
    }
}

/// A merge conflict, with the line in which it ends.
#[derive(Debug)]
pub(crate) struct Conflict {
    pub(crate) flaw: Flaw,
    pub(crate) last_line: usize,
}

/// The merge conflicts that begin between two lines; `until` is not looked at.
pub(crate) fn conflicts(lines: &Lines<'_>, from: usize, until: Option<usize>) -> Vec<Conflict> {
    let mut found = Vec::new();
    let mut number = from;
    let until = until.unwrap_or(lines.count() + 1);
    while number < until && found.len() < MAX_CONFLICTS {
        let line = lines.get(number);
        if !line.starts_with("<<<<<<< ") {
            number += 1;
            continue;
        }
        let first = number;
        let mut middle = None;
        let mut last = None;
        while last.is_none() && number < lines.count() {
            number += 1;
            let line = lines.get(number);
            if line.starts_with("<<<<<<< ") {
                break;
            }
            if line.trim_end() == "=======" {
                middle = middle.or(Some(number));
            } else if line.starts_with(">>>>>>> ") {
                last = Some(number);
            }
        }
        if last.is_none() {
            number = number.max(first + 1);
        }
        let end = line.chars().count() + 1;
        let mut flaw = Flaw::over(
            Code::Syntax,
            Range {
                start: Position::new(first, 1),
                end: Position::new(first, end),
            },
            "a merge conflict of git is not resolved here",
            "keep one of the two sides, or both in one, and remove the lines that git put in",
        );
        if let Some(middle) = middle {
            flaw = flaw.with_related(Position::new(middle, 1), "the other side begins here");
        }
        if let Some(last) = last {
            flaw = flaw.with_related(Position::new(last, 1), "the conflict ends here");
        }
        found.push(Conflict {
            flaw,
            last_line: last.unwrap_or(first),
        });
    }
    found
}
