//! Reads YAML: the only place that knows a YAML library.
//!
//! *Flow*: the bytes are checked (size, UTF-8), read once by saphyr-parser for positions, spelling and budgets, and once by serde_yaml for values; the two
//! are then laid over each other. *Guarantees*: work and memory are bounded by the budgets below whatever the input; a document that the two
//! readers see differently is refused. *Caveats*: saphyr-parser stops at its first syntax error, so what follows one in a file is not looked at.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use serde::Deserialize;
use serde_yaml::Value as Yaml;

use super::flaw::Flaw;
use super::surprise;
use super::tree::{Content, Entry, Meaning, Node, Position, Scalar, cut};
use crate::codes::Code;

/// Largest file, in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// Deepest nesting of one document.
pub const MAX_DEPTH: usize = 64;
/// Most values of one document, aliases unfolded.
pub const MAX_NODES: usize = 50_000;
/// Most flaws that are collected of one file.
const MAX_FLAWS: usize = 1000;

/// What was read of one file.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// The documents up to the first that could not be read; empty ones are left out.
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
        let line = good.iter().filter(|b| **b == b'\n').count() + 1;
        let last = good.rsplit(|b| *b == b'\n').next().unwrap_or_default();
        let column = String::from_utf8_lossy(last).chars().count() + 1;
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
    // The readers differ on a block of text that the end of the file cuts off; a last line without its end is a line all the same.
    let ended;
    let text = if text.is_empty() || text.ends_with('\n') {
        text
    } else {
        ended = format!("{text}\n");
        &ended
    };
    let mut builder = Builder::default();
    let outcome = builder.run(text);
    let mut read = Read {
        documents: Vec::new(),
        flaws: builder.flaws,
    };
    let is_complete = match outcome {
        Ok(()) => true,
        Err(flaw) => {
            read.flaws.push(flaw);
            false
        }
    };
    if read.flaws.iter().any(|flaw| is_structural(flaw.code)) {
        // What the other reader makes of it has no meaning now; the documents before the flaw are still looked at.
        read.documents = builder.documents;
    } else {
        compare(text, builder.documents, &mut read);
    }
    read.documents.retain(|document| !is_empty(document));
    let mut walk = Vec::new();
    for document in &read.documents {
        surprises(document, &mut walk);
    }
    read.flaws.append(&mut walk);
    read.flaws.truncate(MAX_FLAWS);
    debug_assert!(is_complete || !read.flaws.is_empty());
    read
}

/// Reads one value as it would be read in a manifest, such as what was typed behind `set`; nothing is null. What readers differ on is taken for a text.
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

fn is_structural(code: Code) -> bool {
    matches!(
        code,
        Code::Syntax
            | Code::Tab
            | Code::DuplicateKey
            | Code::TooBig
            | Code::Expansion
            | Code::Unsupported
    )
}

fn is_empty(document: &Node) -> bool {
    matches!(&document.content, Content::Scalar(scalar) if scalar.is_plain && scalar.text.is_empty())
}

fn surprises(node: &Node, flaws: &mut Vec<Flaw>) {
    match &node.content {
        Content::Scalar(scalar) if scalar.is_plain => {
            if let Some(found) = surprise::of_plain(&scalar.text) {
                flaws.push(Flaw::new(
                    Code::Surprise,
                    node.position,
                    found.message,
                    found.hint,
                ));
            }
        }
        Content::Scalar(_) => {}
        Content::Sequence(items) => items.iter().for_each(|item| surprises(item, flaws)),
        Content::Mapping(entries) => entries
            .iter()
            .for_each(|entry| surprises(&entry.value, flaws)),
    }
}

/// A collection that is not closed yet.
#[derive(Debug)]
struct Open {
    position: Position,
    anchor: usize,
    size: usize,
    content: OpenContent,
}

#[derive(Debug)]
enum OpenContent {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        seen: BTreeMap<String, Position>,
        key: Option<(String, Position)>,
    },
}

/// Builds spanned trees from the events of saphyr-parser.
#[derive(Debug, Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    /// How many nodes are kept a second time because an anchor names them.
    kept: usize,
    documents: Vec<Node>,
    flaws: Vec<Flaw>,
}

impl Builder {
    fn run(&mut self, text: &str) -> Result<(), Flaw> {
        let mut parser: Parser<'_, StrInput<'_>> = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| {
                let at = error.marker();
                syntax(text, Position::new(at.line(), at.col() + 1), error.info())
            })?;
            self.take(event, span)?;
            if self.flaws.len() >= MAX_FLAWS {
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Flaw> {
        let position = Position::new(span.start.line(), span.start.col() + 1);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                self.nodes = 0;
                self.kept = 0;
                Ok(())
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(Flaw::new(
                        Code::Expansion,
                        position,
                        "the alias stands inside of what it names",
                        "write the value out",
                    ));
                };
                // Counted before it is copied: a bomb costs its budget and no more.
                let size = node.size;
                if self.nodes.saturating_add(size) > MAX_NODES {
                    return Err(Flaw::new(
                        Code::Expansion,
                        position,
                        format!(
                            "the aliases of this document unfold to more than {MAX_NODES} values"
                        ),
                        "write the values out, or make several smaller documents",
                    ));
                }
                self.nodes += size;
                let node = node.clone();
                self.add(node, position)
            }
            Event::Scalar(value, style, anchor, tag) => {
                self.count(position)?;
                if tag.is_some() {
                    self.refuse_tag(position);
                }
                let is_plain = style == ScalarStyle::Plain;
                let node = Node {
                    position,
                    size: 1,
                    content: Content::Scalar(Scalar {
                        meaning: if is_plain {
                            guess(&value)
                        } else {
                            Meaning::Text
                        },
                        text: value.into_owned(),
                        is_plain,
                    }),
                };
                self.name(anchor, &node)?;
                self.add(node, position)
            }
            Event::SequenceStart(anchor, tag) => {
                let content = OpenContent::Sequence(Vec::new());
                self.start(position, anchor, tag.is_some(), content)
            }
            Event::MappingStart(anchor, tag) => {
                let content = OpenContent::Mapping {
                    entries: Vec::new(),
                    seen: BTreeMap::new(),
                    key: None,
                };
                self.start(position, anchor, tag.is_some(), content)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else {
                    return Err(Flaw::new(
                        Code::Syntax,
                        position,
                        "something ends that never began",
                        "",
                    ));
                };
                let content = match open.content {
                    OpenContent::Sequence(items) => Content::Sequence(items),
                    OpenContent::Mapping { entries, .. } => Content::Mapping(entries),
                };
                let node = Node {
                    position: open.position,
                    size: open.size,
                    content,
                };
                self.name(open.anchor, &node)?;
                self.add(node, open.position)
            }
        }
    }

    fn count(&mut self, position: Position) -> Result<(), Flaw> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Flaw::new(
                Code::TooBig,
                position,
                format!("the document has more than {MAX_NODES} values"),
                "split it into several documents",
            ));
        }
        Ok(())
    }

    fn refuse_tag(&mut self, position: Position) {
        self.flaws.push(Flaw::new(
            Code::Unsupported,
            position,
            "the value has a tag (a word that begins with !)",
            "leave the tag out; the kind decides the type, and quotes make a text",
        ));
    }

    fn start(
        &mut self,
        position: Position,
        anchor: usize,
        has_tag: bool,
        content: OpenContent,
    ) -> Result<(), Flaw> {
        self.count(position)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(position));
        }
        if has_tag {
            self.refuse_tag(position);
        }
        self.open.push(Open {
            position,
            anchor,
            size: 1,
            content,
        });
        Ok(())
    }

    fn name(&mut self, anchor: usize, node: &Node) -> Result<(), Flaw> {
        if anchor > 0 {
            self.kept = self.kept.saturating_add(node.size);
            if self.kept > MAX_NODES {
                return Err(Flaw::new(
                    Code::Expansion,
                    node.position,
                    format!("the anchors of this document name more than {MAX_NODES} values"),
                    "write the values out, or make several smaller documents",
                ));
            }
            self.anchors.insert(anchor, node.clone());
        }
        Ok(())
    }

    /// Puts a finished node where it belongs; `position` is where it was written or named.
    fn add(&mut self, node: Node, position: Position) -> Result<(), Flaw> {
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        open.size += node.size;
        match &mut open.content {
            OpenContent::Sequence(items) => items.push(node),
            OpenContent::Mapping { entries, seen, key } => match key.take() {
                Some((key, key_position)) => entries.push(Entry {
                    key,
                    key_position,
                    value: node,
                }),
                None => {
                    let Content::Scalar(scalar) = node.content else {
                        return Err(Flaw::new(
                            Code::Unsupported,
                            position,
                            "the key of a field is a list or a mapping",
                            "a key is a word; did you mean \"${NAME}\" in quotes, where { stands?",
                        ));
                    };
                    if scalar.is_plain && scalar.text == "<<" {
                        self.flaws.push(Flaw::new(
                            Code::Unsupported,
                            position,
                            "merge keys (<<) are not used in manifests",
                            "write the fields out",
                        ));
                    } else if let Some(first) = seen.get(&scalar.text) {
                        self.flaws.push(Flaw::new(
                            Code::DuplicateKey,
                            position,
                            format!(
                                "the key \"{}\" stands twice; first at line {}, column {}",
                                cut(&scalar.text),
                                first.line,
                                first.column
                            ),
                            "keep one of the two",
                        ));
                    } else {
                        seen.insert(scalar.text.clone(), position);
                    }
                    *key = Some((scalar.text, position));
                }
            },
        }
        Ok(())
    }
}

fn too_deep(position: Position) -> Flaw {
    Flaw::new(
        Code::TooBig,
        position,
        format!("values are nested more than {MAX_DEPTH} deep"),
        "no kind needs that; look for a bracket or an indentation too many",
    )
}

/// What a plain scalar probably means, for documents that the other reader cannot be asked about; it decides everywhere else.
fn guess(text: &str) -> Meaning {
    match text {
        "" | "null" | "Null" | "NULL" | "~" => Meaning::Null,
        "true" | "True" | "TRUE" => Meaning::Bool(true),
        "false" | "False" | "FALSE" => Meaning::Bool(false),
        text if serde_json::from_str::<serde_json::Number>(text).is_ok() => Meaning::Number,
        _ => Meaning::Text,
    }
}

/// Where a reader stood; at the end of the file, where its last character stands.
fn place(text: &str, position: Position) -> Position {
    let mut last = (1, "");
    for (index, line) in text.lines().enumerate() {
        if !line.trim().is_empty() {
            last = (index + 1, line);
        }
    }
    let end = Position::new(last.0, last.1.trim_end().chars().count().max(1));
    if position.line > end.line {
        end
    } else {
        position
    }
}

/// A syntax error, with what usually causes it.
fn syntax(text: &str, position: Position, info: &str) -> Flaw {
    let position = place(text, position);
    if info.contains("recursion limit") {
        return too_deep(position);
    }
    let index = usize::try_from(position.line)
        .unwrap_or(1)
        .saturating_sub(1);
    let lines: Vec<&str> = text
        .split('\n')
        .skip(index.saturating_sub(1))
        .take(2)
        .collect();
    let has_tab = |line: &&str| {
        line.chars()
            .take_while(|c| c.is_whitespace())
            .any(|c| c == '\t')
    };
    if info.contains(" tab") || lines.last().is_some_and(has_tab) {
        let line = lines.last().copied().unwrap_or_default();
        let column = line
            .chars()
            .position(|c| c == '\t')
            .map_or(position.column, |at| {
                u32::try_from(at + 1).unwrap_or(u32::MAX)
            });
        return Flaw::new(
            Code::Tab,
            Position { column, ..position },
            "a tab stands where YAML wants spaces",
            "indent with spaces",
        );
    }
    let hint = if info.contains("mapping values are not allowed") {
        "a text with `: ` in it needs quotes; or the line before is indented less than it should be"
    } else if info.contains("anchor") || info.contains("alias") {
        "a text that begins with & or * needs quotes"
    } else if info.contains("cannot start any token") || info.contains("unexpected character") {
        "a text that begins with @, `, % or another sign needs quotes"
    } else {
        "look at the indentation, and at quotes and brackets that are not closed, here and in the lines before"
    };
    Flaw::new(
        Code::Syntax,
        position,
        format!("this is not YAML: {info}"),
        hint,
    )
}

/// Lays the values of serde_yaml over the trees; fills in what each scalar means.
fn compare(text: &str, trees: Vec<Node>, read: &mut Read) {
    let mut values = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        match Yaml::deserialize(document) {
            Ok(value) => values.push(value),
            Err(error) => {
                let position = error
                    .location()
                    .map_or(Position { line: 1, column: 1 }, |at| {
                        Position::new(at.line().max(1), at.column().max(1))
                    });
                read.flaws.push(Flaw::new(
                    Code::Syntax,
                    position,
                    format!("this is not YAML: {}", cut(&error.to_string())),
                    "look at the indentation, at quotes and at characters that cannot be seen",
                ));
                read.documents = trees;
                return;
            }
        }
    }
    // A file without any document counts as one empty document for one reader and as none for the other.
    let mut values = values.into_iter();
    let mut trees = trees.into_iter();
    loop {
        match (trees.next(), values.next()) {
            (None, None) => return,
            (None, Some(Yaml::Null)) if read.documents.is_empty() => return,
            (Some(mut tree), Some(value)) => {
                if let Err(position) = lay(&mut tree, &value) {
                    read.flaws.push(disagreement(position));
                    return;
                }
                read.documents.push(tree);
            }
            (tree, _) => {
                let position = tree.map_or(Position { line: 1, column: 1 }, |tree| tree.position);
                read.flaws.push(disagreement(position));
                return;
            }
        }
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
                    return Err(entry.key_position);
                }
                lay(&mut entry.value, value)?;
            }
            same
        }
        (Content::Sequence(_) | Content::Mapping(_), _) => false,
    };
    if agrees { Ok(()) } else { Err(position) }
}

/// Whether a key that one reader found is the text that the other found: a key is what is written, `8080` and `true` included.
fn is_key(key: &Yaml, text: &str) -> bool {
    match key {
        Yaml::String(key) => key == text,
        // Two keys that are spelt differently and mean the same number would have been refused as a repetition by the other reader.
        Yaml::Null | Yaml::Bool(_) | Yaml::Number(_) => true,
        Yaml::Sequence(_) | Yaml::Mapping(_) | Yaml::Tagged(_) => false,
    }
}
