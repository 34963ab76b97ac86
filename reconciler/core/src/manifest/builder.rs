//! Builds spanned trees from the events of saphyr-parser, within budgets.

use std::collections::BTreeMap;

use kelson_model::code::Code;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::flaw::Flaw;
use super::lines::Lines;
use super::surprise;
use super::syntax::{self, Bracket};
use super::tree::{Content, Entry, Meaning, Node, Position, Range, Scalar, cut};
use super::yaml::{MAX_DEPTH, MAX_FLAWS, MAX_NODES};

/// A collection that is not closed yet.
#[derive(Debug)]
struct Open {
    range: Range,
    anchor: usize,
    /// Whether it stands between brackets.
    is_flow: bool,
    size: usize,
    content: OpenContent,
}

#[derive(Debug)]
enum OpenContent {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        seen: BTreeMap<String, Range>,
        key: Option<(String, Range)>,
    },
}

/// A document that was read to its end.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) root: Node,
    /// Whether it has a flaw that the other reader may stumble over.
    pub(crate) is_flawed: bool,
}

/// Where reading stopped before the end.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) flaw: Flaw,
    /// The line in which the document begins that could not be read.
    pub(crate) document: usize,
    /// The line in which the reader stood.
    pub(crate) line: usize,
}

/// Builds the documents of one part of a file.
#[derive(Debug)]
pub(crate) struct Builder<'a> {
    lines: &'a Lines<'a>,
    /// How many lines of the file stand before the part.
    skipped: usize,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    /// Where every anchor of the part stands, those of earlier documents included.
    places: BTreeMap<usize, Position>,
    nodes: usize,
    /// How many nodes the aliases of the file have brought so far.
    pub(crate) unfolded: usize,
    /// How many nodes are kept a second time because an anchor names them.
    kept: usize,
    /// The line in which the current document begins, while one is open.
    document: Option<usize>,
    /// How many documents were there when the current one began.
    before: usize,
    is_flawed: bool,
    pub(crate) documents: Vec<Document>,
    pub(crate) flaws: Vec<Flaw>,
}

impl<'a> Builder<'a> {
    /// For a part that begins behind `skipped` lines of a file, whose aliases have brought
    /// `unfolded` nodes before.
    pub(crate) fn new(lines: &'a Lines<'a>, skipped: usize, unfolded: usize) -> Self {
        Self {
            lines,
            skipped,
            open: Vec::new(),
            anchors: BTreeMap::new(),
            places: BTreeMap::new(),
            nodes: 0,
            unfolded,
            kept: 0,
            document: None,
            before: 0,
            is_flawed: false,
            documents: Vec::new(),
            flaws: Vec::new(),
        }
    }

    /// Reads the part; what it came to is in `documents` and `flaws`.
    pub(crate) fn run(&mut self, part: &str) -> Result<(), Box<Stop>> {
        let mut parser: Parser<'_, StrInput<'_>> = Parser::new_from_str(part);
        while let Some(event) = parser.next_event() {
            let outcome = match event {
                Ok((event, span)) => self.take(event, span),
                Err(error) => {
                    let at = error.marker();
                    let position = self.position(at.line(), at.col());
                    let stopped = syntax::Stopped {
                        lines: self.lines,
                        document: self.document.unwrap_or(self.skipped + 1),
                        position,
                        info: error.info(),
                        bracket: self.innermost_bracket(),
                    };
                    let line = usize::try_from(position.line).unwrap_or(usize::MAX);
                    return Err(self.stop(syntax::explain(&stopped), line));
                }
            };
            if let Err(flaw) = outcome {
                let line = usize::try_from(flaw.position.line).unwrap_or(usize::MAX);
                return Err(self.stop(flaw, line));
            }
            if self.flaws.len() >= MAX_FLAWS {
                break;
            }
        }
        Ok(())
    }

    /// Drops what was read of the document that cannot be read.
    fn stop(&mut self, flaw: Flaw, line: usize) -> Box<Stop> {
        let document = match self.document {
            Some(line) => {
                self.documents.truncate(self.before);
                line
            }
            // Between two documents.
            None => line.max(self.skipped + 1),
        };
        Box::new(Stop {
            flaw,
            document,
            line,
        })
    }

    fn position(&self, line: usize, column: usize) -> Position {
        Position::new(line.saturating_add(self.skipped), column + 1)
    }

    fn innermost_bracket(&self) -> Option<Bracket> {
        let open = self.open.last().filter(|open| open.is_flow)?;
        Some(match open.content {
            OpenContent::Sequence(_) => Bracket::of_sequence(open.range.start),
            OpenContent::Mapping { .. } => Bracket::of_mapping(open.range.start),
        })
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Flaw> {
        let range = Range {
            start: self.position(span.start.line(), span.start.col()),
            end: self.position(span.end.line(), span.end.col()),
        };
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.document = usize::try_from(range.start.line).ok();
                self.before = self.documents.len();
                self.is_flawed = false;
                self.anchors.clear();
                self.nodes = 0;
                self.kept = 0;
                Ok(())
            }
            Event::DocumentEnd => {
                self.document = None;
                Ok(())
            }
            Event::Alias(anchor) => self.unfold(anchor, range),
            Event::Scalar(value, style, anchor, tag) => {
                self.count(range.start)?;
                if tag.is_some() {
                    self.refuse_tag(range);
                }
                let is_plain = style == ScalarStyle::Plain;
                // The other reader gives up on it; what is wrong with it is told as a surprise.
                self.is_flawed |= is_plain && surprise::is_beyond_numbers(&value);
                let node = Node {
                    position: range.start,
                    end: range.end,
                    through: None,
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
                self.add(node, range)
            }
            Event::SequenceStart(anchor, tag) => {
                let content = OpenContent::Sequence(Vec::new());
                self.start(range, anchor, tag.is_some(), content)
            }
            Event::MappingStart(anchor, tag) => {
                let content = OpenContent::Mapping {
                    entries: Vec::new(),
                    seen: BTreeMap::new(),
                    key: None,
                };
                self.start(range, anchor, tag.is_some(), content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(range),
        }
    }

    /// Puts in what an anchor names.
    fn unfold(&mut self, anchor: usize, range: Range) -> Result<(), Flaw> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(match self.places.get(&anchor) {
                Some(place) => syntax::earlier_anchor(range, Some(*place)),
                None => Flaw::over(
                    Code::Expansion,
                    range,
                    "the alias stands inside of what it names",
                    "write the value out",
                ),
            });
        };
        // Counted before it is copied: a bomb costs its budget and no more.
        let size = node.size;
        let (nodes, unfolded) = (
            self.nodes.saturating_add(size),
            self.unfolded.saturating_add(size),
        );
        if nodes > MAX_NODES || unfolded > MAX_NODES {
            let what = if nodes > MAX_NODES {
                "document"
            } else {
                "file"
            };
            return Err(Flaw::over(
                Code::Expansion,
                range,
                format!("the aliases of this {what} unfold to more than {MAX_NODES} values"),
                "write the values out, or make several smaller documents and files",
            ));
        }
        self.nodes = nodes;
        self.unfolded = unfolded;
        let mut node = node.clone();
        node.comes_through(range);
        self.add(node, range)
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

    fn tell(&mut self, flaw: Flaw) {
        self.is_flawed = true;
        self.flaws.push(flaw);
    }

    fn refuse_tag(&mut self, range: Range) {
        self.tell(Flaw::new(
            Code::Unsupported,
            range.start,
            "the value has a tag (a word that begins with !)",
            "leave the tag out; the kind decides the type, and quotes make a text",
        ));
    }

    fn start(
        &mut self,
        range: Range,
        anchor: usize,
        has_tag: bool,
        content: OpenContent,
    ) -> Result<(), Flaw> {
        self.count(range.start)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(syntax::too_deep(range.start));
        }
        if has_tag {
            self.refuse_tag(range);
        }
        self.open.push(Open {
            range,
            anchor,
            // A bracket takes room; what begins by its indentation does not.
            is_flow: range.end > range.start,
            size: 1,
            content,
        });
        Ok(())
    }

    fn close(&mut self, range: Range) -> Result<(), Flaw> {
        let Some(open) = self.open.pop() else {
            return Err(Flaw::new(
                Code::Syntax,
                range.start,
                "something ends that never began",
                "",
            ));
        };
        let (content, last) = match open.content {
            OpenContent::Sequence(items) => {
                let last = items.last().map(Node::last);
                (Content::Sequence(items), last)
            }
            OpenContent::Mapping { entries, .. } => {
                let last = entries.last().map(|entry| {
                    let value = entry.value.last();
                    value.max(entry.key_range.end)
                });
                (Content::Mapping(entries), last)
            }
        };
        let last = last.unwrap_or(open.range.end);
        let node = Node {
            position: open.range.start,
            end: if open.is_flow {
                last.max(range.end)
            } else {
                last
            },
            through: None,
            size: open.size,
            content,
        };
        self.name(open.anchor, &node)?;
        self.add(node, open.range)
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
            self.places.insert(anchor, node.position);
            self.anchors.insert(anchor, node.clone());
        }
        Ok(())
    }

    /// Puts a finished node where it belongs; `range` is where it was written or named.
    fn add(&mut self, node: Node, range: Range) -> Result<(), Flaw> {
        let Some(open) = self.open.last_mut() else {
            self.documents.push(Document {
                root: node,
                is_flawed: self.is_flawed,
            });
            return Ok(());
        };
        open.size += node.size;
        let mut told = None;
        match &mut open.content {
            OpenContent::Sequence(items) => items.push(node),
            OpenContent::Mapping { entries, seen, key } => match key.take() {
                Some((key, key_range)) => entries.push(Entry {
                    key,
                    key_range,
                    value: node,
                }),
                None => {
                    let Content::Scalar(scalar) = node.content else {
                        return Err(Flaw::new(
                            Code::Unsupported,
                            range.start,
                            "the key of a field is a list or a mapping",
                            "a key is a word; did you mean \"${NAME}\" in quotes, where { stands?",
                        ));
                    };
                    if scalar.is_plain && scalar.text == "<<" {
                        told = Some(Flaw::over(
                            Code::Unsupported,
                            range,
                            "merge keys (<<) are not used in manifests",
                            "write the fields out",
                        ));
                    } else if let Some(first) = seen.get(&scalar.text) {
                        told = Some(
                            Flaw::over(
                                Code::DuplicateKey,
                                range,
                                format!(
                                    "the key \"{}\" stands twice; first at line {}, column {}",
                                    cut(&scalar.text),
                                    first.start.line,
                                    first.start.column
                                ),
                                "keep one of the two",
                            )
                            .with_related(first.start, "it stands here first"),
                        );
                    } else {
                        seen.insert(scalar.text.clone(), range);
                    }
                    *key = Some((scalar.text, range));
                }
            },
        }
        if let Some(flaw) = told {
            self.tell(flaw);
        }
        Ok(())
    }
}

/// What a plain scalar probably means, for documents that the other reader cannot be asked about;
/// it decides everywhere else.
fn guess(text: &str) -> Meaning {
    match text {
        "" | "null" | "Null" | "NULL" | "~" => Meaning::Null,
        "true" | "True" | "TRUE" => Meaning::Bool(true),
        "false" | "False" | "FALSE" => Meaning::Bool(false),
        text if serde_json::from_str::<serde_json::Number>(text).is_ok() => Meaning::Number,
        _ => Meaning::Text,
    }
}
