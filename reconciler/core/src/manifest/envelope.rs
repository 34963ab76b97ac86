//! The envelope: what every document has around its `spec`.

use std::collections::{BTreeMap, BTreeSet};

use kelson_model::object::{Lifecycle, Namespace, ObjectKey};
use kelson_model::report::API_VERSION;
use serde_json::{Value, json};

use super::flaw::{Flaw, Rewrite};
use super::lines::Lines;
use super::schema::{Place, Schema};
use super::syntax;
use super::tree::{Content, Entry, Node, Position, Range};
use kelson_model::code::Code;

/// The JSON Schema of a document, whatever its kind.
pub(crate) fn envelope_schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"description": "The version of this form.", "const": API_VERSION},
            "kind": {"description": "What the object is.", "type": "string"},
            "metadata": {
                "description": "What names the object, and how it is treated.",
                "type": "object",
                "additionalProperties": false,
                "required": ["name"],
                "properties": {
                    "name": {"description": "Unique in its kind and namespace.", "type": "string", "format": "name"},
                    "namespace": {
                        "description": "A path of names, such as shop/checkout.",
                        "type": "string", "format": "namespace", "default": "default",
                    },
                    "labels": {
                        "description": "For people and for searching.",
                        "type": "object",
                        "maxProperties": 64,
                        "propertyNames": {"minLength": 1, "maxLength": 128, "pattern": "^[A-Za-z0-9][A-Za-z0-9._/-]*$"},
                        "additionalProperties": {"type": "string", "maxLength": 256},
                        "default": {},
                    },
                    "lifecycle": {
                        "description": "What happens to the object without a manifest, and after a change by hand.",
                        "type": "object",
                        "additionalProperties": false,
                        "default": {},
                        "properties": {
                            "prune": {
                                "description": "What happens when no manifest wants the object any more: it goes, it goes once a person has confirmed, or it stays.",
                                "type": "string", "enum": ["auto", "confirm", "never"], "default": "auto",
                            },
                            "drift": {
                                "description": "What happens when the object is changed by hand: it is undone, or reported.",
                                "type": "string", "enum": ["enforce", "report"], "default": "enforce",
                            },
                        },
                    },
                },
            },
            "spec": {"description": "What is asked for.", "type": "object"},
        },
    })
}

/// What an envelope says.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) key: ObjectKey,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) lifecycle: Lifecycle,
}

/// What was found of an envelope: enough for further checks even where it has flaws.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    pub(crate) envelope: Option<Envelope>,
    /// The kind, if it is a text.
    pub(crate) kind: Option<String>,
    pub(crate) flaws: Vec<Flaw>,
    /// What to write for values that readers differ on, by their place.
    pub(crate) respelt: BTreeMap<Position, Rewrite>,
}

/// What is known around a document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around<'a> {
    pub(crate) lines: &'a Lines<'a>,
    /// Where something has been told already.
    pub(crate) quiet: &'a BTreeSet<Position>,
    /// The schema of the specification of the document's kind, where that is known.
    pub(crate) spec: Option<&'a Value>,
}

/// Reads the envelope of a document.
pub(crate) fn open(schema: &Schema, document: &Node, around: Around<'_>) -> Opened {
    if document.as_mapping().is_none() {
        return Opened {
            flaws: vec![not_a_mapping(document)],
            ..Opened::default()
        };
    }
    let place = Place {
        base: "",
        quiet: around.quiet,
        spec: around.spec,
    };
    let mut checked = schema.check(&without_spec(document), place);
    let has_other_version = checked
        .flaws
        .iter()
        .find(|flaw| flaw.code == Code::ApiVersion);
    if let Some(flaw) = has_other_version {
        // Made for another program: nothing else in it can be judged.
        return Opened {
            flaws: vec![flaw.clone()],
            ..Opened::default()
        };
    }
    for flaw in &mut checked.flaws {
        if flaw.code == Code::UnknownField && flaw.replacement.is_none() {
            belongs_below(flaw, document, around);
        } else if flaw.code == Code::MissingField && around.spec.is_some() {
            flaw.replacement = version_above(document).map(Box::new);
        }
    }
    let kind = document
        .get("kind")
        .and_then(|entry| Some(entry.value.as_text()?.to_owned()));
    let envelope = checked
        .flaws
        .is_empty()
        .then(|| envelope(&checked.value))
        .flatten();
    Opened {
        envelope,
        kind,
        flaws: checked.flaws,
        respelt: checked.respelt,
    }
}

fn not_a_mapping(document: &Node) -> Flaw {
    if let Content::Scalar(scalar) = &document.content
        && scalar.is_plain
        && let Some((word, _)) = syntax::glued_key(&scalar.text)
    {
        return syntax::glued(word, document);
    }
    let found = document.describe();
    Flaw::at_value(
        Code::NotAnObject,
        document,
        format!("the document is {found}, and must be a mapping"),
        "begin with `apiVersion: kelson/v1` and `kind:`; name files that are no manifests \
         otherwise, or put them into .kelsonignore",
    )
}

/// Where a field of the specification stands beside `spec`: says where that is, and indents it if
/// nothing but its indentation keeps it out.
fn belongs_below(flaw: &mut Flaw, document: &Node, around: Around<'_>) {
    let Some(entries) = document.as_mapping() else {
        return;
    };
    let Some(at) = entries
        .iter()
        .position(|entry| entry.key_range.start == flaw.position)
    else {
        return;
    };
    let (Some(entry), Some(spec)) = (entries.get(at), document.get("spec")) else {
        return;
    };
    let is_of_spec = |key: &str| {
        around
            .spec
            .and_then(|schema| schema.get("properties")?.get(key))
            .is_some()
    };
    if !is_of_spec(&entry.key) {
        return;
    }
    flaw.hint = format!(
        "indent it below `spec:`: `{}` is a field of spec",
        entry.key
    );
    flaw.related
        .push((spec.key_range.start, "spec stands here".to_owned()));
    let follows_spec = entries
        .iter()
        .take(at)
        .rev()
        .find(|entry| !is_of_spec(&entry.key))
        .is_some_and(|entry| entry.key == "spec");
    if follows_spec && spec.value.get(&entry.key).is_none() {
        flaw.replacement = indented(entry, spec, around.lines).map(Box::new);
    }
}

/// The lines of an entry with the indentation of the fields of `spec`.
fn indented(entry: &Entry, spec: &Entry, lines: &Lines<'_>) -> Option<Rewrite> {
    let field = spec.value.as_mapping()?.first()?.key_range.start;
    let start = entry.key_range.start;
    let is_block = field.line > spec.key_range.start.line && spec.value.through.is_none();
    if !is_block || field.column <= start.column || start.column != spec.key_range.start.column {
        return None;
    }
    let end = entry.value.last().max(entry.key_range.end);
    // A block of text ends where the next line begins.
    let last = if end.column == 1 && end.line > start.line {
        end.line - 1
    } else {
        end.line
    };
    let more = " ".repeat(usize::try_from(field.column - start.column).ok()?);
    let mut text = Vec::new();
    for number in start.line..=last {
        let line = lines.get(usize::try_from(number).ok()?);
        text.push(if line.trim().is_empty() {
            line.to_owned()
        } else {
            format!("{more}{line}")
        });
    }
    let behind = lines.get(usize::try_from(last).ok()?).chars().count() + 1;
    let range = Range {
        start: Position {
            line: start.line,
            column: 1,
        },
        end: Position {
            line: last,
            column: u32::try_from(behind).ok()?,
        },
    };
    Some(Rewrite::certain(range, text.join("\n")))
}

/// The line that is missing above a document that is one of ours otherwise.
fn version_above(document: &Node) -> Option<Rewrite> {
    let entries = document.as_mapping()?;
    let first = entries.first()?.key_range.start;
    let is_block = document.position == first && first.column == 1;
    let is_ours = document.get("apiVersion").is_none() && document.get("spec").is_some();
    (is_block && is_ours)
        .then(|| Rewrite::certain(Range::empty(first), format!("apiVersion: {API_VERSION}\n")))
}

/// The document with its specification cut to its outside, which the kind's schema looks into.
fn without_spec(document: &Node) -> Node {
    let outside = |entry: &Entry| match (&*entry.key, &entry.value.content) {
        ("spec", Content::Mapping(_)) => Entry {
            key: entry.key.clone(),
            key_range: entry.key_range,
            value: Node {
                position: entry.value.position,
                end: entry.value.end,
                through: entry.value.through,
                size: 1,
                content: Content::Mapping(Vec::new()),
            },
        },
        _ => entry.clone(),
    };
    Node {
        position: document.position,
        end: document.end,
        through: document.through,
        size: document.size,
        content: Content::Mapping(
            document
                .as_mapping()
                .unwrap_or_default()
                .iter()
                .map(outside)
                .collect(),
        ),
    }
}

fn envelope(value: &Value) -> Option<Envelope> {
    let metadata = value.get("metadata")?;
    let namespace: Namespace = metadata.get("namespace")?.as_str()?.parse().ok()?;
    let labels = metadata.get("labels")?.as_object()?;
    Some(Envelope {
        key: ObjectKey::new(
            value.get("kind")?.as_str()?,
            namespace,
            metadata.get("name")?.as_str()?,
        ),
        labels: labels
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect(),
        lifecycle: serde_json::from_value(metadata.get("lifecycle")?.clone()).ok()?,
    })
}
