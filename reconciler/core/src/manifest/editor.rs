//! One schema for editors: all kinds in one, as yaml-language-server reads it.

use serde_json::{Value, json};

use super::envelope::envelope_schema;
use super::kinds::Kinds;
use super::pointer;

/// A JSON Schema (draft 2020-12) of every manifest: the envelope, and for each kind its
/// specification.
pub fn editor_schema(kinds: &Kinds) -> Value {
    let mut root = envelope_schema();
    let mut definitions = serde_json::Map::new();
    let mut branches = Vec::new();
    for (name, kind) in kinds.all() {
        let mut schema = kind.schema.json.clone();
        rebase(&mut schema, &pointer::join("#/$defs", name));
        if let Value::Object(map) = &mut schema {
            map.remove("$schema");
            map.remove("$id");
        }
        definitions.insert(name.to_owned(), schema);
        branches.push(json!({
            "if": {"required": ["kind"], "properties": {"kind": {"const": name}}},
            "then": {"properties": {"spec": {"$ref": pointer::join("#/$defs", name)}}},
        }));
    }
    if let Value::Object(map) = &mut root {
        let names: Vec<&str> = kinds.names().collect();
        map.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        map.insert("title".to_owned(), json!("Kelson manifest"));
        map.insert("$defs".to_owned(), Value::Object(definitions));
        map.insert("allOf".to_owned(), Value::Array(branches));
        if let Some(Value::Object(kind)) = map
            .get_mut("properties")
            .and_then(|all| all.get_mut("kind"))
        {
            kind.insert("enum".to_owned(), json!(names));
        }
    }
    root
}

/// Lets the references of a schema begin where the schema now stands.
fn rebase(schema: &mut Value, base: &str) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match value {
                    Value::String(reference) if key == "$ref" && reference.starts_with('#') => {
                        let path = reference.trim_start_matches('#');
                        *reference = format!("{base}{path}");
                    }
                    value => rebase(value, base),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| rebase(value, base)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
