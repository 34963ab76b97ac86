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
        "duration" => "a duration with units, such as 100ms, 30s, 1m30s or 2h",
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
        let Some(branches) = schema.get(choice) else {
            continue;
        };
        if let Some(fields) = super::sentence::excluding_fields(branches) {
            return format!("a mapping with exactly one of {}", fields.join(", "));
        }
        let branches = branches.as_array().into_iter().flatten();
        return branches.map(self::schema).collect::<Vec<_>>().join(", or ");
    }
    match schema.get("type") {
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str);
            names
                .map(|name| of_type(schema, name))
                .collect::<Vec<_>>()
                .join(", or ")
        }
        Some(Value::String(name)) => of_type(schema, name),
        _ if schema.get("properties").is_some() => of_type(schema, "object"),
        _ if schema.get("pattern").is_some() || schema.get("minLength").is_some() => {
            of_type(schema, "string")
        }
        _ if schema.get("minimum").is_some() || schema.get("maximum").is_some() => {
            of_type(schema, "number")
        }
        _ => "a value".to_owned(),
    }
}

/// What a schema wants of a value of one type: limits on numbers are not told of texts.
fn of_type(schema: &Value, name: &str) -> String {
    let mut wanted = type_word(name).to_owned();
    let number = |key: &str| schema.get(key).filter(|value| value.is_number());
    let count = |low: &str, high: &str, unit: &str| match (number(low), number(high)) {
        (Some(low), Some(high)) => format!(" of {low} to {high} {unit}"),
        (Some(low), None) if low.as_u64() == Some(1) => " that is not empty".to_owned(),
        (Some(low), None) => format!(" of at least {low} {unit}"),
        (None, Some(high)) => format!(" of at most {high} {unit}"),
        (None, None) => String::new(),
    };
    match name {
        "integer" | "number" => {
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
        }
        "string" => {
            wanted.push_str(&count("minLength", "maxLength", "characters"));
            if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
                wanted.push_str(&format!(" that matches {pattern}"));
            }
        }
        "array" => {
            wanted.push_str(&count("minItems", "maxItems", "items"));
            if schema.get("uniqueItems") == Some(&Value::Bool(true)) {
                wanted.push_str(" without repetitions");
            }
        }
        "object" => wanted.push_str(&count("minProperties", "maxProperties", "fields")),
        _ => {}
    }
    wanted
}

/// The types of a schema, in words.
pub(crate) fn types(schema: &Value) -> String {
    match schema.get("type") {
        Some(Value::String(name)) => type_word(name).to_owned(),
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .map(type_word)
            .collect::<Vec<_>>()
            .join(" or "),
        _ if schema.get("properties").is_some() => "a mapping".to_owned(),
        _ => "a value".to_owned(),
    }
}

fn type_word(name: &str) -> &'static str {
    match name {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a mapping",
        "null" => "empty",
        _ => "something else",
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
