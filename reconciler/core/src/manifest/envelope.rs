//! The envelope: what every document has around its `spec`.

use std::collections::{BTreeMap, BTreeSet};

use kelson_model::object::{Lifecycle, Namespace, ObjectKey};
use kelson_model::report::API_VERSION;
use serde_json::{Value, json};

use super::flaw::Flaw;
use super::schema::Schema;
use super::tree::{Content, Entry, Node, Position};
use crate::codes::Code;

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
    pub(crate) kind: Option<(String, Position)>,
    pub(crate) flaws: Vec<Flaw>,
}

/// Reads the envelope of a document.
pub(crate) fn open(schema: &Schema, document: &Node, quiet: &BTreeSet<Position>) -> Opened {
    if document.as_mapping().is_none() {
        return Opened {
            flaws: vec![Flaw::new(
                Code::NotAnObject,
                document.position,
                format!(
                    "the document is {}, and must be a mapping",
                    document.describe()
                ),
                "begin with `apiVersion: kelson/v1` and `kind:`; name files that are no manifests otherwise, or put them into .kelsonignore",
            )],
            ..Opened::default()
        };
    }
    let checked = schema.check(&without_spec(document), "", quiet);
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
    let kind = document
        .get("kind")
        .and_then(|entry| Some((entry.value.as_text()?.to_owned(), entry.value.position)));
    let envelope = checked
        .flaws
        .is_empty()
        .then(|| envelope(&checked.value))
        .flatten();
    Opened {
        envelope,
        kind,
        flaws: checked.flaws,
    }
}

/// The document with its specification cut to its outside, which the kind's schema looks into.
fn without_spec(document: &Node) -> Node {
    let outside = |entry: &Entry| match (&*entry.key, &entry.value.content) {
        ("spec", Content::Mapping(_)) => Entry {
            key: entry.key.clone(),
            key_position: entry.key_position,
            value: Node {
                position: entry.value.position,
                size: 1,
                content: Content::Mapping(Vec::new()),
            },
        },
        _ => entry.clone(),
    };
    Node {
        position: document.position,
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
