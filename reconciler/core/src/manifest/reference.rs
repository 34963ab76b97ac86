//! The manifest reference, written from the schemas.

use serde_json::Value;

use super::envelope::envelope_schema;
use super::kinds::Kinds;
use super::normal::resolve;
use super::words;

/// Deepest nesting that is written out.
const MAX_DEPTH: usize = 12;

/// Markdown: one table of fields for the envelope and one for each kind.
pub fn reference(kinds: &Kinds) -> String {
    let mut page = String::from(
        "# Manifests\n\nWritten from the schemas; do not edit.\n\n\
         Every document of every `.yaml` and `.yml` file has this around its `spec`. A field that is not listed is refused.\n\n",
    );
    let envelope = envelope_schema();
    table(&mut page, &envelope, "");
    for (name, kind) in kinds.all() {
        page.push_str(&format!("\n## {name}\n\n"));
        if let Some(about) = words::description(&kind.schema.json) {
            page.push_str(&format!("{about}\n\n"));
        }
        if let Some(framework) = &kind.framework {
            page.push_str(&format!("Handled by the framework `{framework}`.\n\n"));
        }
        table(&mut page, &kind.schema.json, "spec");
    }
    page
}

fn table(page: &mut String, schema: &Value, prefix: &str) {
    page.push_str("| field | takes | default | |\n|---|---|---|---|\n");
    rows(page, schema, schema, prefix, MAX_DEPTH);
}

fn rows(page: &mut String, root: &Value, schema: &Value, prefix: &str, depth: usize) {
    if depth == 0 {
        return;
    }
    let schema = resolve(root, schema);
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, written) in properties.into_iter().flatten() {
        let below = resolve(root, written);
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        let default = match written.get("default").or_else(|| below.get("default")) {
            Some(Value::Object(map)) if map.is_empty() => String::new(),
            Some(Value::Array(list)) if list.is_empty() => String::new(),
            Some(Value::String(text)) => format!("`{text}`"),
            Some(value) => format!("`{value}`"),
            None if required.contains(&name.as_str()) => "required".to_owned(),
            None => String::new(),
        };
        let about = words::description(written)
            .or_else(|| words::description(below))
            .unwrap_or_default();
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        page.push_str(&format!(
            "| `{path}` | {} | {default} | {} |\n",
            cell(&words::schema(below)),
            cell(&about)
        ));
        rows(page, root, below, &path, depth - 1);
        if let Some(items) = below.get("items") {
            rows(page, root, items, &format!("{path}[]"), depth - 1);
        }
        for choice in ["allOf", "anyOf", "oneOf"] {
            for branch in below
                .get(choice)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                rows(page, root, branch, &path, depth - 1);
            }
        }
    }
}
