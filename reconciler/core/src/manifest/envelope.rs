//! The envelope: what every document has around its `spec`.

use std::collections::{BTreeMap, BTreeSet};

use kelson_model::code::Code;
use kelson_model::object::{Lifecycle, Namespace, ObjectKey};
use kelson_model::report::API_VERSION;
use serde_json::{Value, json};

use super::below::{self, indented_below, is_empty};
use super::flaw::{Flaw, Rewrite};
use super::lines::Lines;
use super::normal::Respelt;
use super::schema::{Place, Schema};
use super::syntax;
use super::tree::{Content, Entry, Node, Position, Range};

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
    pub(crate) respelt: BTreeMap<Position, Respelt>,
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
    let metadata = schema.json.pointer("/properties/metadata");
    let mut emptied = BTreeSet::new();
    for flaw in &mut checked.flaws {
        if flaw.code == Code::UnknownField && flaw.replacement.is_none() {
            let parent = belongs_below(flaw, document, around, metadata);
            emptied.extend(parent.filter(|it| is_empty(it)).map(|it| it.value.position));
        } else if flaw.code == Code::MissingField && around.spec.is_some() {
            flaw.replacement = version_above(document).map(Box::new);
        }
    }
    if let (Some(metadata), Some(entry)) = (metadata, document.get("metadata")) {
        below::put_below(&mut checked.flaws, &entry.value, metadata, around.lines);
    }
    // Not empty, but for the fields that were told.
    checked
        .flaws
        .retain(|flaw| flaw.code != Code::WrongType || !emptied.contains(&flaw.position));
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

/// Where a field of the specification or of `metadata` stands beside it: says where that is, and
/// indents it if nothing but its indentation keeps it out. The field that it belongs below, where
/// that is known.
fn belongs_below<'a>(
    flaw: &mut Flaw,
    document: &'a Node,
    around: Around<'_>,
    metadata: Option<&Value>,
) -> Option<&'a Entry> {
    let entries = document.as_mapping()?;
    let at = entries
        .iter()
        .position(|entry| entry.key_range.start == flaw.position)?;
    let entry = entries.get(at)?;
    let takes = |schema: Option<&Value>, key: &str| {
        schema.is_some_and(|schema| {
            let field = schema.get("properties").and_then(|all| all.get(key));
            field.is_some()
        })
    };
    // The last of the document's own fields before it.
    let parent = entries.iter().take(at).rev().find(|entry| {
        matches!(
            entry.key.as_str(),
            "apiVersion" | "kind" | "metadata" | "spec"
        )
    });
    let (parent, is_behind) = match parent {
        Some(parent) if parent.key == "metadata" && takes(metadata, &entry.key) => (parent, true),
        _ if !takes(around.spec, &entry.key) => return None,
        Some(parent) if parent.key == "spec" => (parent, true),
        Some(_) | None => (document.get("spec")?, false),
    };
    let (name, key) = (&parent.key, &entry.key);
    flaw.hint = format!("indent it below `{name}:`: `{key}` is a field of {name}");
    flaw.related
        .push((parent.key_range.start, format!("{name} stands here")));
    if is_behind && parent.value.get(&entry.key).is_none() {
        let schema = match &*parent.key {
            "spec" => around.spec,
            _ => metadata,
        };
        flaw.replacement =
            schema.and_then(|it| Some(Box::new(indented_below(entry, parent, it, around.lines)?)));
    }
    Some(parent)
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
