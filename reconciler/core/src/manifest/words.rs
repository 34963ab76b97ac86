//! Says what a schema wants, in words.

use serde_json::Value;

/// A schema's `description`.
pub(crate) fn description(schema: &Value) -> Option<String> {
    schema.get("description")?.as_str().map(str::to_owned)
}

/// What a format wants.
pub(crate) fn format(format: &str) -> String {
    match format {
        "cpus" => "a number of cpus with at most 3 decimals, such as 0.5 or 2",
        "bytes" => "an amount with a binary unit, such as 256Mi or 1Gi",
        "duration" => "a duration with a unit, such as 100ms, 30s, 10m or 2h",
        "name" | "port-name" => "a name of 1 to 63 of the characters a-z, 0-9 and -",
        "namespace" => {
            "a namespace: names of a-z, 0-9 and - with / between them, such as shop/checkout"
        }
        "digest" => "a digest: sha256: and 64 lower-case hex digits",
        other => return format!("a text of the form {other}"),
    }
    .to_owned()
}

/// What a schema wants.
pub(crate) fn schema(schema: &Value) -> String {
    if let Some(options) = schema.get("enum").and_then(Value::as_array) {
        return options.iter().map(plain).collect::<Vec<_>>().join(" or ");
    }
    if let Some(value) = schema.get("const") {
        return plain(value);
    }
    if let Some(name) = schema.get("format").and_then(Value::as_str) {
        return format(name);
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(branches) = schema.get(choice).and_then(Value::as_array) {
            return branches
                .iter()
                .map(self::schema)
                .collect::<Vec<_>>()
                .join(", or ");
        }
    }
    let mut wanted = types(schema);
    let number = |key: &str| schema.get(key).filter(|value| value.is_number());
    match (number("minimum"), number("maximum")) {
        (Some(low), Some(high)) => wanted.push_str(&format!(" from {low} to {high}")),
        (Some(low), None) => wanted.push_str(&format!(" of at least {low}")),
        (None, Some(high)) => wanted.push_str(&format!(" of at most {high}")),
        (None, None) => {}
    }
    if let Some(low) = number("exclusiveMinimum") {
        wanted.push_str(&format!(" above {low}"));
    }
    if let Some(high) = number("exclusiveMaximum") {
        wanted.push_str(&format!(" below {high}"));
    }
    let count = |low: &str, high: &str, unit: &str| match (number(low), number(high)) {
        (Some(low), Some(high)) => format!(" of {low} to {high} {unit}"),
        (Some(low), None) if low.as_u64() == Some(1) => " that is not empty".to_owned(),
        (Some(low), None) => format!(" of at least {low} {unit}"),
        (None, Some(high)) => format!(" of at most {high} {unit}"),
        (None, None) => String::new(),
    };
    wanted.push_str(&count("minLength", "maxLength", "characters"));
    wanted.push_str(&count("minItems", "maxItems", "items"));
    wanted.push_str(&count("minProperties", "maxProperties", "fields"));
    if schema.get("uniqueItems") == Some(&Value::Bool(true)) {
        wanted.push_str(" without repetitions");
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        wanted.push_str(&format!(" that matches {pattern}"));
    }
    wanted
}

/// The types of a schema, in words.
pub(crate) fn types(schema: &Value) -> String {
    let word = |name: &str| match name {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a mapping",
        "null" => "empty",
        _ => "something else",
    };
    match schema.get("type") {
        Some(Value::String(name)) => word(name).to_owned(),
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .map(word)
            .collect::<Vec<_>>()
            .join(" or "),
        _ if schema.get("properties").is_some() => "a mapping".to_owned(),
        _ if schema.get("pattern").is_some() => "a text".to_owned(),
        _ => "a value".to_owned(),
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
