//! A fault before it knows its file.

use kelson_model::code::Code;
use kelson_model::source::{Fault, Related, Replacement};

use super::lines::Lines;
use super::tree::{Entry, Node, Position, Range};

/// Most faults that are told of one commit; the last one then says how many more there are.
pub const MAX_FAULTS: usize = 1000;

/// What is wrong at a place of some file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) code: Code,
    /// Where it is told.
    pub(crate) position: Position,
    /// The first character behind it, where that is known.
    pub(crate) end: Option<Position>,
    pub(crate) message: String,
    pub(crate) hint: String,
    /// Other places that have to do with it, and what stands there.
    pub(crate) related: Vec<(Position, String)>,
    pub(crate) replacement: Option<Box<Rewrite>>,
    /// Where the value is written, if an alias stands at `position`.
    written: Option<Position>,
}

/// What to write in place of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rewrite {
    pub(crate) range: Range,
    pub(crate) text: String,
    pub(crate) is_certain: bool,
}

impl Flaw {
    /// At a place whose end is not known.
    pub(crate) fn new(
        code: Code,
        position: Position,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            code,
            position,
            end: None,
            message: message.into(),
            hint: hint.into(),
            related: Vec::new(),
            replacement: None,
            written: None,
        }
    }

    /// At a range.
    pub(crate) fn over(
        code: Code,
        range: Range,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            end: (range.end > range.start).then_some(range.end),
            ..Self::new(code, range.start, message, hint)
        }
    }

    /// At a value; where it comes through an alias, at the alias, naming where it is written.
    pub(crate) fn at_value(
        code: Code,
        node: &Node,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::over(code, node.range(), message, hint).through(node, "the value is written here")
    }

    /// At the key of a field of a mapping.
    pub(crate) fn at_key(
        code: Code,
        parent: &Node,
        entry: &Entry,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::over(code, entry.key_range, message, hint)
            .through(parent, "the field is written here")
    }

    /// Moves to the alias that a value comes through.
    fn through(mut self, node: &Node, what: &str) -> Self {
        if let Some(alias) = node.through {
            self.related.push((self.position, what.to_owned()));
            self.written = Some(self.position);
            self.position = alias.start;
            self.end = Some(alias.end);
        }
        self
    }

    pub(crate) fn with_related(mut self, position: Position, what: impl Into<String>) -> Self {
        self.related.push((position, what.into()));
        self
    }

    /// Says what to write instead; not where the value comes through an alias, since other places
    /// name it as well.
    pub(crate) fn with_rewrite(mut self, rewrite: Option<Rewrite>) -> Self {
        let fits = |rewrite: &Rewrite| rewrite.text.len() <= Replacement::MAX_TEXT;
        if self.written.is_none() {
            self.replacement = rewrite.filter(fits).map(Box::new);
        }
        self
    }

    /// Where what is wrong is written.
    pub(crate) fn written(&self) -> Position {
        self.written.unwrap_or(self.position)
    }

    /// The fault in a file of these lines.
    pub(crate) fn in_file(self, file: &str, lines: &Lines<'_>) -> Fault {
        let excerpt = lines.excerpt(self.position);
        let end = self.end.unwrap_or_default();
        let related = self.related.into_iter().take(Fault::MAX_RELATED);
        Fault {
            code: self.code.into(),
            file: file.to_owned(),
            line: self.position.line,
            column: self.position.column,
            message: self.message,
            hint: self.hint,
            source_line: excerpt.text,
            source_column: excerpt.column,
            end_line: end.line,
            end_column: end.column,
            related: related
                .map(|(position, message)| Related {
                    file: file.to_owned(),
                    line: position.line,
                    column: position.column,
                    message,
                })
                .collect(),
            replacement: self.replacement.map(|rewrite| Replacement {
                line: rewrite.range.start.line,
                column: rewrite.range.start.column,
                end_line: rewrite.range.end.line,
                end_column: rewrite.range.end.column,
                text: rewrite.text,
                certain: rewrite.is_certain,
            }),
        }
    }
}

impl Rewrite {
    pub(crate) fn certain(range: Range, text: impl Into<String>) -> Self {
        Self {
            range,
            text: text.into(),
            is_certain: true,
        }
    }

    pub(crate) fn likely(range: Range, text: impl Into<String>) -> Self {
        Self {
            is_certain: false,
            ..Self::certain(range, text)
        }
    }
}

/// Orders faults by file and place, drops repetitions, and cuts at [`MAX_FAULTS`], saying how many
/// were cut.
pub fn tidy(mut faults: Vec<Fault>) -> Vec<Fault> {
    faults.sort_by(|a, b| {
        let place = |fault: &Fault| (fault.line, fault.column);
        a.file
            .cmp(&b.file)
            .then_with(|| place(a).cmp(&place(b)))
            .then_with(|| a.cmp(b))
    });
    faults.dedup();
    if faults.len() > MAX_FAULTS {
        let more = faults.len() - (MAX_FAULTS - 1);
        faults.truncate(MAX_FAULTS - 1);
        faults.push(Fault::of_file(
            Code::TooManyFaults,
            "",
            format!("there are {more} more faults"),
            "mend the ones above first; the others are told then",
        ));
    }
    faults
}
