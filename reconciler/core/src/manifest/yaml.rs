//! Reads YAML: with `builder.rs` the only place that knows a YAML library.
//!
//! *Flow*: the bytes are checked (size, UTF-8), read once by saphyr-parser for positions, spelling
//! and budgets, and once by serde_yaml for values; the two are then laid over each other. After a
//! document that cannot be read, both go on at the next `---`. *Guarantees*: work and memory are
//! bounded by the budgets below whatever the input; a document that the two readers see differently
//! is refused. *Caveats*: of a document that cannot be read, the first reason is told.

use kelson_model::code::Code;
use serde::Deserialize;
use serde_yaml::Value as Yaml;

use super::builder::{Builder, Document};
use super::flaw::Flaw;
use super::lines::Lines;
use super::surprise;
use super::syntax;
use super::tree::{Content, Meaning, Node, Position, cut};

/// Largest file, in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// Deepest nesting of one document.
pub const MAX_DEPTH: usize = 64;
/// Most values of one document, aliases unfolded; and most that the aliases of one file bring.
pub const MAX_NODES: usize = 50_000;
/// Most flaws that are collected of one file.
pub(crate) const MAX_FLAWS: usize = 1000;

/// What was read of one file.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// The documents that could be read; empty ones are left out.
    pub(crate) documents: Vec<Node>,
    pub(crate) flaws: Vec<Flaw>,
}

/// The text of a file without its byte order mark.
pub(crate) fn text_of(bytes: &[u8]) -> Result<&str, Flaw> {
    let start = Position { line: 1, column: 1 };
    if bytes.len() > MAX_FILE_BYTES {
        return Err(Flaw::new(
            Code::TooBig,
            start,
            format!(
                "the file has {} bytes; at most {MAX_FILE_BYTES} are read",
                bytes.len()
            ),
            "split it, or give large content as a file of the commit with `source:`",
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let good = String::from_utf8_lossy(good);
        let lines = Lines::new(&good);
        let line = lines.count();
        let column = lines.get(line).chars().count() + 1;
        let wide = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
        Flaw::new(
            Code::NotUtf8,
            Position::new(line, column),
            if wide {
                "the file is UTF-16, not UTF-8"
            } else {
                "the file is not UTF-8 from here on"
            },
            "save it as UTF-8",
        )
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Reads all documents of a text.
pub(crate) fn read(text: &str) -> Read {
    // The readers differ on a block of text that the end of the file cuts off; a last line without
    // its end is a line all the same.
    let ended;
    let text = if text.is_empty() || text.ends_with(['\n', '\r']) {
        text
    } else {
        ended = format!("{text}\n");
        &ended
    };
    let lines = Lines::new(text);
    let mut read = Read::default();
    let mut first = 1;
    let mut unfolded = 0;
    while read.flaws.len() < MAX_FLAWS {
        let mut builder = Builder::new(&lines, first - 1, unfolded);
        let part = lines.start(first);
        let outcome = builder.run(text.get(part..).unwrap_or_default());
        unfolded = builder.unfolded;
        read.flaws.append(&mut builder.flaws);
        let end = match &outcome {
            Ok(()) => text.len(),
            Err(stop) => lines.start(stop.document),
        };
        let good = text.get(part..end).unwrap_or_default();
        compare(good, first - 1, builder.documents, &mut read);
        let Err(stop) = outcome else { break };
        let conflicts = syntax::conflicts(&lines, stop.document, next_document(&lines, stop.line));
        let mut from = stop.line.max(first.max(stop.document) + 1);
        if conflicts.is_empty() {
            read.flaws.push(stop.flaw);
        }
        for conflict in conflicts {
            from = from.max(conflict.last_line);
            read.flaws.push(conflict.flaw);
        }
        match next_document(&lines, from) {
            Some(next) => first = next,
            None => break,
        }
    }
    read.documents.retain(|document| !is_empty(document));
    let mut walk = Vec::new();
    for document in &read.documents {
        surprises(document, &mut walk);
    }
    read.flaws.append(&mut walk);
    read.flaws.truncate(MAX_FLAWS);
    read
}

/// The first line from `from` on that begins a document with `---`.
fn next_document(lines: &Lines<'_>, from: usize) -> Option<usize> {
    (from.max(1)..=lines.count()).find(|line| {
        lines
            .get(*line)
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
    })
}

/// Reads one value as it would be read in a manifest, such as what was typed behind `set`; nothing
/// is null. What readers differ on is taken for a text.
///
/// # Errors
/// Says what is wrong and what to do, in one sentence.
pub fn read_value(text: &str) -> Result<serde_json::Value, String> {
    let told = |flaw: Flaw| match flaw.hint.as_str() {
        "" => flaw.message,
        hint => format!("{}; {hint}", flaw.message),
    };
    let read = read(text_of(text.as_bytes()).map_err(told)?);
    if let Some(flaw) = read
        .flaws
        .into_iter()
        .find(|flaw| flaw.code != Code::Surprise)
    {
        return Err(told(flaw));
    }
    match read.documents.as_slice() {
        [] => Ok(serde_json::Value::Null),
        [value] => Ok(super::normal::of_node(&serde_json::Value::Bool(true), value, "").value),
        _ => Err("there is more than one value".to_owned()),
    }
}

fn is_empty(document: &Node) -> bool {
    matches!(&document.content, Content::Scalar(scalar) if scalar.is_plain && scalar.text.is_empty())
}

fn surprises(node: &Node, flaws: &mut Vec<Flaw>) {
    // What comes through an alias is told where it is written.
    if node.through.is_some() || flaws.len() >= MAX_FLAWS {
        return;
    }
    match &node.content {
        Content::Scalar(scalar) if scalar.is_plain => {
            if let Some(found) = surprise::of_plain(&scalar.text) {
                let range = node.range();
                flaws.push(Flaw::over(Code::Surprise, range, found.message, found.hint));
            }
        }
        Content::Scalar(_) => {}
        Content::Sequence(items) => items.iter().for_each(|item| surprises(item, flaws)),
        Content::Mapping(entries) => entries
            .iter()
            .for_each(|entry| surprises(&entry.value, flaws)),
    }
}

/// Lays the values of serde_yaml over the trees; fills in what each scalar means. `skipped` lines
/// of the file stand before `text`.
fn compare(text: &str, skipped: usize, trees: Vec<Document>, read: &mut Read) {
    let mut trees = trees.into_iter();
    let mut count = 0;
    for value in serde_yaml::Deserializer::from_str(text).map(Yaml::deserialize) {
        let tree = trees.next();
        count += 1;
        match (tree, value) {
            // A text without any document counts as one empty document for one reader and as none
            // for the other.
            (None, Ok(Yaml::Null)) if count == 1 => return,
            // What the other reader makes of it has no meaning.
            (Some(tree), _) if tree.is_flawed => read.documents.push(tree.root),
            (Some(mut tree), Ok(value)) => match lay(&mut tree.root, &value) {
                Ok(()) => read.documents.push(tree.root),
                Err(position) => {
                    read.flaws.push(disagreement(position));
                    return;
                }
            },
            (tree, Err(error)) => {
                let at = error.location();
                let position = at.map_or(Position::new(skipped + 1, 1), |at| {
                    Position::new(at.line().max(1) + skipped, at.column().max(1))
                });
                read.flaws.push(Flaw::new(
                    Code::Syntax,
                    position,
                    format!("this is not YAML: {}", cut(&error.to_string())),
                    "look at the indentation, at quotes and at characters that cannot be seen",
                ));
                let unread = tree.into_iter().chain(trees);
                read.documents.extend(unread.map(|tree| tree.root));
                return;
            }
            (None, Ok(_)) => {
                read.flaws.push(disagreement(Position::new(skipped + 1, 1)));
                return;
            }
        }
    }
    if let Some(tree) = trees.next() {
        read.flaws.push(disagreement(tree.root.position));
    }
}

fn disagreement(position: Position) -> Flaw {
    Flaw::new(
        Code::Disagreement,
        position,
        "two YAML readers do not agree on what stands here",
        "write it more simply: quotes around texts, one field a line",
    )
}

fn lay(node: &mut Node, value: &Yaml) -> Result<(), Position> {
    let position = node.position;
    let agrees = match (&mut node.content, value) {
        (Content::Scalar(scalar), value) => {
            let meaning = match value {
                Yaml::Null if scalar.is_plain => Meaning::Null,
                Yaml::Bool(yes) if scalar.is_plain => Meaning::Bool(*yes),
                Yaml::Number(_) if scalar.is_plain => Meaning::Number,
                Yaml::String(text) if *text == scalar.text => Meaning::Text,
                Yaml::Null
                | Yaml::Bool(_)
                | Yaml::Number(_)
                | Yaml::String(_)
                | Yaml::Sequence(_)
                | Yaml::Mapping(_)
                | Yaml::Tagged(_) => return Err(position),
            };
            scalar.meaning = meaning;
            true
        }
        (Content::Sequence(items), Yaml::Sequence(values)) => {
            let same = items.len() == values.len();
            for (item, value) in items.iter_mut().zip(values) {
                lay(item, value)?;
            }
            same
        }
        (Content::Mapping(entries), Yaml::Mapping(values)) => {
            let same = entries.len() == values.len();
            for (entry, (key, value)) in entries.iter_mut().zip(values) {
                if !is_key(key, &entry.key) {
                    return Err(entry.key_range.start);
                }
                lay(&mut entry.value, value)?;
            }
            same
        }
        (Content::Sequence(_) | Content::Mapping(_), _) => false,
    };
    if agrees { Ok(()) } else { Err(position) }
}

/// Whether a key that one reader found is the text that the other found: a key is what is written,
/// `8080` and `true` included.
fn is_key(key: &Yaml, text: &str) -> bool {
    match key {
        Yaml::String(key) => key == text,
        // Two keys that are spelt differently and mean the same number would have been refused as a
        // repetition by the other reader.
        Yaml::Null | Yaml::Bool(_) | Yaml::Number(_) => true,
        Yaml::Sequence(_) | Yaml::Mapping(_) | Yaml::Tagged(_) => false,
    }
}
