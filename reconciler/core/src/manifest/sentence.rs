//! The sentences of schema faults: what is wrong, and what to do.

use serde_json::Value;

use super::flaw::Flaw;
use super::nearest::{known_elsewhere, nearest};
use super::pointer;
use super::tree::{Content, Meaning, Node, Position, cut};
use super::words;
use crate::codes::Code;

/// A field that is not known, with the field that was probably meant.
pub(crate) fn unknown_field(
    root: &Value,
    around: &Value,
    parent: &str,
    field: &str,
    position: Position,
) -> Flaw {
    let known: Vec<&str> = around
        .get("properties")
        .and_then(Value::as_object)
        .map(|properties| properties.keys().map(String::as_str).collect())
        .unwrap_or_default();
    let shown = cut(field);
    let hint = if let Some(meant) = nearest(field, known.iter().copied()) {
        format!("did you mean `{meant}`?")
    } else if let Some(place) = elsewhere(root, field) {
        format!("`{shown}` stands at {place}")
    } else if let Some(here) = known_elsewhere(field) {
        format!("did you mean {here}?")
    } else if known.is_empty() {
        "leave it out".to_owned()
    } else {
        format!("known here: {}", known.join(", "))
    };
    Flaw::new(
        Code::UnknownField,
        position,
        format!("{parent} has no field `{shown}`"),
        hint,
    )
}

/// Where a schema has a property of this name, dotted: the shallowest place, and of several the one that every object has.
fn elsewhere(root: &Value, field: &str) -> Option<String> {
    let mut level = vec![(root, String::new(), true)];
    for _ in 0..6 {
        let mut next = Vec::new();
        let mut found: Option<(bool, String)> = None;
        for (schema, path, is_needed) in level {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, below) in properties.into_iter().flatten() {
                let path = pointer::join(&path, name);
                if name == field
                    && found
                        .as_ref()
                        .is_none_or(|(needed, _)| is_needed && !needed)
                {
                    found = Some((is_needed, pointer::dotted(&format!("/spec{path}"))));
                }
                let is_needed = is_needed && requires(schema, name);
                next.push((super::normal::resolve(root, below), path, is_needed));
            }
        }
        if let Some((_, place)) = found {
            return Some(place);
        }
        level = next;
    }
    None
}

fn requires(schema: &Value, field: &str) -> bool {
    schema
        .get("required")
        .and_then(Value::as_array)
        .is_some_and(|all| all.iter().any(|name| name == field))
}

/// A value of the wrong type.
pub(crate) fn wrong_type(name: &str, found: Option<&Node>, schema: &Value) -> (String, String) {
    let wanted = words::types(schema);
    let Some(node) = found else {
        return (
            format!("{name} must be {wanted}"),
            format!("write {wanted}"),
        );
    };
    let message = format!("{name} is {}, and must be {wanted}", node.describe());
    let wants = |kind: &str| match schema.get("type") {
        Some(Value::String(one)) => one == kind,
        Some(Value::Array(many)) => many.iter().any(|one| one == kind),
        _ => false,
    };
    let hint = match &node.content {
        Content::Scalar(scalar) => match scalar.meaning {
            Meaning::Null => "give it a value, or leave the field out".to_owned(),
            Meaning::Bool(_) | Meaning::Number if wants("string") => {
                format!("texts need quotes here: write \"{}\"", cut(&scalar.text))
            }
            Meaning::Text
                if (wants("integer") || wants("number")) && scalar.text.parse::<i64>().is_ok() =>
            {
                format!("write {} without quotes", scalar.text)
            }
            Meaning::Text
                if wants("boolean") && matches!(scalar.text.as_str(), "true" | "false") =>
            {
                format!("write {} without quotes", scalar.text)
            }
            Meaning::Bool(_) | Meaning::Number | Meaning::Text if wants("array") => {
                format!("write a list: [{}]", cut(&scalar.text))
            }
            Meaning::Number if wants("integer") => "write a whole number".to_owned(),
            Meaning::Bool(_) | Meaning::Number | Meaning::Text => format!("write {wanted}"),
        },
        Content::Sequence(_) if wants("string") => {
            "write one text, without [ and - ".trim_end().to_owned()
        }
        Content::Sequence(_) if wants("object") => {
            "write fields below it, without the - in front".to_owned()
        }
        Content::Mapping(_) if wants("array") => {
            "write a list: a - in front of each item".to_owned()
        }
        Content::Mapping(_) if wants("string") => {
            "write a text; one with `: ` or { in it needs quotes".to_owned()
        }
        Content::Sequence(_) | Content::Mapping(_) => format!("write {wanted}"),
    };
    (message, hint)
}

/// The fields of `oneOf: [{required: [a]}, {required: [b]}]`, where a schema says that exactly one of them must be there.
pub(crate) fn excluding_fields(choice: &Value) -> Option<Vec<String>> {
    choice
        .as_array()?
        .iter()
        .map(
            |branch| match branch.get("required")?.as_array()?.as_slice() {
                [field] if branch.get("type").is_none_or(|kind| kind == "object") => {
                    field.as_str().map(str::to_owned)
                }
                _ => None,
            },
        )
        .collect()
}

/// None or more than one of some fields.
pub(crate) fn exactly_one(name: &str, fields: &[String], found: Option<&Node>) -> (String, String) {
    let there: Vec<&str> = fields
        .iter()
        .map(String::as_str)
        .filter(|field| found.is_some_and(|node| node.get(field).is_some()))
        .collect();
    let all = fields.join(", ");
    let message = if there.is_empty() {
        format!("{name} has none of {all}, and must have exactly one")
    } else {
        format!(
            "{name} has {}, and must have exactly one of {all}",
            there.join(" and ")
        )
    };
    let hint = if there.is_empty() {
        format!("add one of {all}")
    } else {
        "keep one of them".to_owned()
    };
    (message, hint)
}

/// The option that was probably meant.
pub(crate) fn option_hint(schema: &Value, found: Option<&Node>) -> Option<String> {
    let options = schema.get("enum")?.as_array()?;
    let text = found?.as_text()?;
    nearest(text, options.iter().filter_map(Value::as_str))
        .map(|meant| format!("did you mean {meant}?"))
}
