//! Fields that stand beside the one that they belong below: what was meant, and the lines for it.

use serde_json::Value;

use super::flaw::{Flaw, Rewrite};
use super::indent::indented;
use super::lines::Lines;
use super::nearest::nearest;
use super::normal::resolve;
use super::tree::{Content, Entry, Meaning, Node};
use kelson_model::code::Code;

/// How far a field is indented below one that has none.
const STEP: u32 = 2;

/// Whether nothing stands behind the colon of a field.
pub(crate) fn is_empty(entry: &Entry) -> bool {
    matches!(&entry.value.content, Content::Scalar(scalar)
        if scalar.meaning == Meaning::Null && scalar.text.is_empty())
}

/// The schema of a field of a mapping of this schema.
fn field_of<'a>(root: &'a Value, schema: &'a Value, key: &str) -> Option<&'a Value> {
    Some(resolve(root, schema.get("properties")?.get(key)?))
}

/// The lines of an entry with the indentation of the fields of `parent`, whose schema this is.
///
/// Fields of `parent` that stand behind the entry may look like the entry's own; they stay.
pub(crate) fn indented_below(
    entry: &Entry,
    parent: &Entry,
    schema: &Value,
    lines: &Lines<'_>,
) -> Option<Rewrite> {
    let start = entry.key_range.start;
    if start.column != parent.key_range.start.column || parent.value.through.is_some() {
        return None;
    }
    let more = if is_empty(parent) {
        STEP
    } else {
        let field = parent.value.as_mapping()?.first()?.key_range.start;
        let is_block = field.line > parent.key_range.start.line;
        field
            .column
            .checked_sub(start.column)
            .filter(|more| is_block && *more > 0)?
    };
    let own = own_fields(entry, schema);
    let children = last_fields(&entry.value);
    if let Some(others) = children.get(own..)
        && let Some(first) = others.first()
    {
        let fits = |other: &Entry| {
            let is_new = parent.value.get(&other.key).is_none();
            is_new && field_of(schema, schema, &other.key).is_some()
        };
        if first.key_range.start.column != start.column + more || !others.iter().all(fits) {
            return None;
        }
    }
    let last = match own.checked_sub(1).and_then(|at| children.get(at)) {
        Some(child) => last_line(child),
        None if children.is_empty() => last_line(entry),
        None => start.line,
    };
    moved(entry, last, more, lines)
}

/// The fields that a value ends with: its own, or those of its last item.
fn last_fields(value: &Node) -> &[Entry] {
    match &value.content {
        Content::Mapping(entries) => entries,
        Content::Sequence(items) => items.last().and_then(Node::as_mapping).unwrap_or_default(),
        Content::Scalar(_) => &[],
    }
}

/// How many of the last fields of an entry are its own: those before the first that it does not
/// take and `schema`, which takes the entry, does.
fn own_fields(entry: &Entry, schema: &Value) -> usize {
    let children = last_fields(&entry.value);
    let own = field_of(schema, schema, &entry.key).and_then(|own| match entry.value.content {
        Content::Sequence(_) => Some(resolve(schema, own.get("items")?)),
        Content::Mapping(_) | Content::Scalar(_) => Some(own),
    });
    let is_other = |child: &Entry| {
        own.is_some_and(|own| {
            own.get("properties").is_some() && field_of(schema, own, &child.key).is_none()
        }) && field_of(schema, schema, &child.key).is_some()
    };
    let first = children.iter().position(is_other);
    first.unwrap_or(children.len())
}

/// The last line of an entry.
fn last_line(entry: &Entry) -> u32 {
    let start = entry.key_range.start;
    let end = entry.value.last().max(entry.key_range.end);
    // A block of text ends where the next line begins.
    if end.column == 1 && end.line > start.line {
        end.line - 1
    } else {
        end.line
    }
}

fn moved(entry: &Entry, last: u32, more: u32, lines: &Lines<'_>) -> Option<Rewrite> {
    let number = |number: u32| usize::try_from(number).ok();
    let first = number(entry.key_range.start.line)?;
    let (range, text) = indented(lines, first, number(last)?, number(more)?);
    Some(Rewrite::certain(range, text))
}

/// Where a field is empty and those behind it are what it takes: says of each that it belongs below
/// it, in place of what was said of them all.
pub(crate) fn put_below(flaws: &mut Vec<Flaw>, node: &Node, schema: &Value, lines: &Lines<'_>) {
    if flaws.iter().any(|flaw| flaw.code == Code::UnknownField) {
        look(flaws, node, schema, schema, lines);
    }
}

fn look(flaws: &mut Vec<Flaw>, node: &Node, root: &Value, schema: &Value, lines: &Lines<'_>) {
    let entries = node.as_mapping().unwrap_or_default();
    for (at, entry) in entries.iter().enumerate() {
        let Some(field) = field_of(root, schema, &entry.key) else {
            continue;
        };
        if !is_empty(entry) {
            look(flaws, &entry.value, root, field, lines);
            continue;
        }
        let behind = entries.iter().skip(at + 1);
        let meant: Vec<&Entry> = behind
            .take_while(|it| belongs(root, schema, field, it))
            .collect();
        let mut is_any = false;
        for other in meant {
            let is_its = |flaw: &&mut Flaw| {
                flaw.code == Code::UnknownField && flaw.position == other.key_range.start
            };
            let Some(flaw) = flaws.iter_mut().find(is_its) else {
                continue;
            };
            is_any = true;
            let (name, key) = (&entry.key, &other.key);
            flaw.hint = format!("indent it below `{name}:`, which is empty without it: `{key}`");
            flaw.related
                .push((entry.key_range.start, format!("{name} stands here")));
            let is_block = other.key_range.start.column == entry.key_range.start.column
                && other.key_range.start.line > entry.key_range.start.line
                && node.through.is_none();
            flaw.replacement = moved(other, last_line(other), STEP, lines)
                .filter(|_| is_block)
                .map(Box::new);
        }
        if is_any {
            flaws.retain(|flaw| {
                flaw.code != Code::WrongType || flaw.position != entry.value.position
            });
        }
    }
}

/// Whether an entry is none of the mapping of `around` that it stands in, and one of `field`'s.
fn belongs(root: &Value, around: &Value, field: &Value, entry: &Entry) -> bool {
    let known = around.get("properties").and_then(Value::as_object);
    if known.is_none_or(|known| known.contains_key(&entry.key)) {
        return false;
    }
    if field_of(root, field, &entry.key).is_some() {
        return true;
    }
    // Texts of any name, as labels and variables are.
    let takes_texts = field
        .pointer("/additionalProperties/type")
        .is_some_and(|kind| kind == "string");
    let is_slip =
        known.is_some_and(|known| nearest(&entry.key, known.keys().map(String::as_str)).is_some());
    takes_texts && !is_slip && matches!(entry.value.content, Content::Scalar(_))
}
