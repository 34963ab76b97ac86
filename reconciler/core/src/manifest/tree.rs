//! The spanned tree: a YAML document with the position and the spelling of every value.

use serde_json::Value;

use super::pointer;

/// A place in a file; both begin at 1, the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// Which line of the file; lines end with LF, CR LF or CR.
    pub line: u32,
    /// Which character of the line, whatever its bytes or its width.
    pub column: u32,
}

impl Position {
    pub(crate) fn new(line: usize, column: usize) -> Self {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            line: number(line),
            column: number(column),
        }
    }
}

/// Two places: the first character, and the first one behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Range {
    pub(crate) start: Position,
    pub(crate) end: Position,
}

impl Range {
    /// Where something can be put in, and nothing goes.
    pub(crate) fn empty(at: Position) -> Self {
        Self { start: at, end: at }
    }
}

/// One value of a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) position: Position,
    /// The first character behind it.
    pub(crate) end: Position,
    /// The outermost alias that this value comes through.
    pub(crate) through: Option<Range>,
    /// How many nodes this is, itself included, aliases unfolded.
    pub(crate) size: usize,
    pub(crate) content: Content,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// One key with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_range: Range,
    pub(crate) value: Node,
}

/// A scalar: what it was read as, and how it was spelt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scalar {
    /// The text without its quotes.
    pub(crate) text: String,
    pub(crate) is_plain: bool,
    pub(crate) meaning: Meaning,
}

/// What a scalar was read as. A number keeps its spelling only, so that decimals never pass through
/// a float on their way to a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    Null,
    Bool(bool),
    Number,
    Text,
}

impl Node {
    /// A value that no file spells; each of what it holds stands in a line of its own, which is
    /// none of any file.
    pub(crate) fn of_value(value: &Value) -> Self {
        Self::numbered(value, &mut 0)
    }

    fn numbered(value: &Value, line: &mut usize) -> Self {
        *line += 1;
        let position = Position::new(*line, 1);
        let first = *line;
        let scalar = |meaning, text: String| {
            Content::Scalar(Scalar {
                text,
                is_plain: meaning != Meaning::Text,
                meaning,
            })
        };
        let content = match value {
            Value::Null => scalar(Meaning::Null, String::new()),
            Value::Bool(yes) => scalar(Meaning::Bool(*yes), yes.to_string()),
            Value::Number(number) => scalar(Meaning::Number, number.to_string()),
            Value::String(text) => scalar(Meaning::Text, text.clone()),
            Value::Array(items) => {
                let items = items.iter().map(|item| Self::numbered(item, line));
                Content::Sequence(items.collect())
            }
            Value::Object(fields) => {
                let entries = fields.iter().map(|(key, value)| {
                    let value = Self::numbered(value, line);
                    Entry {
                        key: key.clone(),
                        key_range: Range::empty(value.position),
                        value,
                    }
                });
                Content::Mapping(entries.collect())
            }
        };
        Self {
            position,
            end: position,
            through: None,
            size: *line - first + 1,
            content,
        }
    }

    /// The pointer of what begins at a position; the first where several do.
    pub(crate) fn pointer_to(&self, position: Position) -> Option<String> {
        if self.position == position {
            return Some(String::new());
        }
        let below = |part: &str, node: &Node| {
            let pointer = node.pointer_to(position)?;
            Some(format!("{}{pointer}", pointer::join("", part)))
        };
        match &self.content {
            Content::Scalar(_) => None,
            Content::Sequence(items) => items
                .iter()
                .enumerate()
                .find_map(|(index, item)| below(&index.to_string(), item)),
            Content::Mapping(entries) => entries
                .iter()
                .find_map(|entry| below(&entry.key, &entry.value)),
        }
    }

    /// Where it is written.
    pub(crate) fn range(&self) -> Range {
        Range {
            start: self.position,
            end: self.end,
        }
    }

    /// The first place behind it that is its own: the alias's end where it comes through one.
    pub(crate) fn last(&self) -> Position {
        self.through.map_or(self.end, |alias| alias.end)
    }

    /// Says of it and all that it holds that it comes through an alias.
    pub(crate) fn comes_through(&mut self, alias: Range) {
        self.through = Some(alias);
        match &mut self.content {
            Content::Scalar(_) => {}
            Content::Sequence(items) => items.iter_mut().for_each(|it| it.comes_through(alias)),
            Content::Mapping(entries) => entries
                .iter_mut()
                .for_each(|entry| entry.value.comes_through(alias)),
        }
    }

    /// The value in words, for messages; long texts are cut.
    pub(crate) fn describe(&self) -> String {
        match &self.content {
            Content::Sequence(_) => "a list".to_owned(),
            Content::Mapping(_) => "a mapping".to_owned(),
            Content::Scalar(scalar) => match scalar.meaning {
                Meaning::Null => "empty".to_owned(),
                Meaning::Bool(_) => format!("the truth value {}", scalar.text),
                Meaning::Number => format!("the number {}", cut(&scalar.text)),
                Meaning::Text => format!("the text \"{}\"", cut(&scalar.text)),
            },
        }
    }

    pub(crate) fn as_mapping(&self) -> Option<&[Entry]> {
        match &self.content {
            Content::Mapping(entries) => Some(entries),
            Content::Scalar(_) | Content::Sequence(_) => None,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.as_mapping()?.iter().find(|entry| entry.key == key)
    }

    /// The text of a scalar that was read as text.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(scalar) if scalar.meaning == Meaning::Text => Some(&scalar.text),
            Content::Scalar(_) | Content::Sequence(_) | Content::Mapping(_) => None,
        }
    }

    /// The node at a JSON pointer.
    pub(crate) fn at(&self, path: &str) -> Option<&Node> {
        let mut node = self;
        for part in pointer::parts(path) {
            node = match &node.content {
                Content::Mapping(entries) => &entries.iter().find(|entry| entry.key == part)?.value,
                Content::Sequence(items) => items.get(part.parse::<usize>().ok()?)?,
                Content::Scalar(_) => return None,
            };
        }
        Some(node)
    }
}

impl Scalar {
    /// As JSON.
    pub(crate) fn to_json(&self) -> Value {
        match self.meaning {
            Meaning::Null => Value::Null,
            Meaning::Bool(yes) => Value::Bool(yes),
            Meaning::Text => Value::String(self.text.clone()),
            Meaning::Number => number(&self.text),
        }
    }
}

/// A number as JSON, in one form: `3.0` is 3. A whole number beyond 64 bits becomes text, which no
/// schema takes for a number.
fn number(text: &str) -> Value {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.bytes().all(|b| b == b'0') {
        if let Ok(number) = whole.parse::<i64>() {
            return Value::from(number);
        }
        if let Ok(number) = whole.parse::<u64>() {
            return Value::from(number);
        }
        return Value::String(text.to_owned());
    }
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// At most 60 characters of a text.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Where the fields of one object stand: the tree without its values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spans {
    position: Position,
    end: Position,
    /// The alias that it comes through; few do.
    through: Option<Box<Range>>,
    children: Children,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Children {
    #[default]
    None,
    Fields(Vec<(Box<str>, Position, Spans)>),
    Items(Vec<Spans>),
}

impl Spans {
    pub(crate) fn of(node: &Node) -> Self {
        let children = match &node.content {
            Content::Scalar(_) => Children::None,
            Content::Sequence(items) => Children::Items(items.iter().map(Spans::of).collect()),
            Content::Mapping(entries) => Children::Fields(
                entries
                    .iter()
                    .map(|entry| {
                        let key = entry.key.as_str().into();
                        (key, entry.key_range.start, Spans::of(&entry.value))
                    })
                    .collect(),
            ),
        };
        Self {
            position: node.position,
            end: node.end,
            through: node.through.map(Box::new),
            children,
        }
    }

    /// Where the document begins.
    pub fn start(&self) -> Position {
        self.position
    }

    /// Where the value at a JSON pointer (`/spec/instances`) begins; for one that is not written,
    /// where the nearest that holds it begins.
    pub fn value(&self, path: &str) -> Position {
        self.find(path).1.position
    }

    /// Where the key of a JSON pointer stands; for an item of a list, or what is not written, as
    /// [`Spans::value`].
    pub fn key(&self, path: &str) -> Position {
        self.find(path).0
    }

    /// Whether the value at a JSON pointer is written, and is no default.
    pub fn is_written(&self, path: &str) -> bool {
        self.walk(path).2
    }

    /// The range of the value at a JSON pointer or of the nearest that holds it, and the alias that
    /// it comes through.
    pub(crate) fn range(&self, path: &str) -> (Range, Option<Range>) {
        let (_, spans) = self.find(path);
        let range = Range {
            start: spans.position,
            end: spans.end,
        };
        (range, spans.through.as_deref().copied())
    }

    /// The key and the value at a JSON pointer, or the nearest that holds it.
    fn find(&self, path: &str) -> (Position, &Spans) {
        let (key, spans, _) = self.walk(path);
        (key, spans)
    }

    /// The same, and whether it is written itself.
    fn walk(&self, path: &str) -> (Position, &Spans, bool) {
        let mut spans = self;
        let mut key = self.position;
        for part in pointer::parts(path) {
            let next = match &spans.children {
                Children::None => None,
                Children::Fields(fields) => fields
                    .iter()
                    .find(|(name, _, _)| **name == *part)
                    .map(|(_, key, child)| (*key, child)),
                Children::Items(items) => part
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get(index))
                    .map(|child| (child.position, child)),
            };
            let Some((found, child)) = next else {
                return (spans.position, spans, false);
            };
            key = found;
            spans = child;
        }
        (key, spans, true)
    }
}
