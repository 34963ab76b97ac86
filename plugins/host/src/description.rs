//! What `describe` returns: read, and checked before anybody relies on it.

use std::collections::BTreeSet;

use kelson_model::framework::{Description, KindDescription};
use kelson_model::object::is_valid_name;

use crate::limits;

/// Kinds of one framework.
const KINDS: usize = 64;
/// Templates of one kind.
const TEMPLATES: usize = 64;
/// Bytes of a JSON pointer.
const POINTER_BYTES: usize = 256;
/// Bytes of a version.
const VERSION_BYTES: usize = 64;

/// Reads a description; the error says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Description, String> {
    if text.len() > limits::DESCRIPTION_BYTES {
        return Err(format!(
            "it has {} bytes, more than {}",
            text.len(),
            limits::DESCRIPTION_BYTES
        ));
    }
    let description: Description = serde_json::from_str(text).map_err(|error| error.to_string())?;
    check(&description)?;
    Ok(description)
}

fn check(description: &Description) -> Result<(), String> {
    let Description {
        name,
        version,
        kinds,
        config_schema,
    } = description;
    if !is_valid_name(name) {
        return Err(format!(
            "the name '{}' is not [a-z0-9-], 1 to 63 characters",
            crate::text::message(name, 80)
        ));
    }
    if version.is_empty() || version.len() > VERSION_BYTES {
        return Err(format!(
            "the version is not 1 to {VERSION_BYTES} bytes long"
        ));
    }
    if kinds.len() > KINDS {
        return Err(format!("there are more than {KINDS} kinds"));
    }
    if config_schema
        .as_ref()
        .is_some_and(|schema| !schema.is_object())
    {
        return Err("configSchema is not an object".to_owned());
    }
    let mut names = BTreeSet::new();
    for kind in kinds {
        check_kind(kind)?;
        if !names.insert(&kind.kind) {
            return Err(format!("the kind {} stands there twice", kind.kind));
        }
    }
    Ok(())
}

fn check_kind(description: &KindDescription) -> Result<(), String> {
    let KindDescription {
        kind,
        schema,
        templates,
        count,
    } = description;
    if !is_kind(kind) {
        return Err(format!(
            "the kind '{}' is not upper camel case, 1 to 63 letters and digits",
            crate::text::message(kind, 80)
        ));
    }
    if matches!(kind.as_str(), "Framework") {
        return Err(format!("the kind {kind} is the kernel's own"));
    }
    if !schema.is_object() {
        return Err(format!("the schema of {kind} is not an object"));
    }
    if templates.len() > TEMPLATES {
        return Err(format!("{kind} has more than {TEMPLATES} templates"));
    }
    for pointer in templates.iter().chain(count) {
        if !is_pointer(pointer) {
            return Err(format!(
                "{kind}: '{}' is not a JSON pointer",
                crate::text::message(pointer, 80)
            ));
        }
    }
    Ok(())
}

fn is_kind(kind: &str) -> bool {
    kind.len() <= 63
        && kind.starts_with(|c: char| c.is_ascii_uppercase())
        && kind.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Whether `text` is a JSON pointer (RFC 6901).
fn is_pointer(text: &str) -> bool {
    text.len() <= POINTER_BYTES
        && (text.is_empty() || text.starts_with('/'))
        && text
            .split('~')
            .skip(1)
            .all(|rest| rest.starts_with(['0', '1']))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    fn with_kind(kind: serde_json::Value) -> Result<Description, String> {
        parse(&json!({"name": "birds", "version": "1", "kinds": [kind]}).to_string())
    }

    #[test]
    fn a_whole_description_is_taken() {
        let flock =
            json!({"kind": "Flock", "schema": {}, "templates": ["", "/a/b~1c"], "count": "/birds"});
        assert_eq!(with_kind(flock).unwrap().kinds.len(), 1);
    }

    #[test]
    fn what_nobody_could_rely_on_is_refused_with_its_place() {
        let flock = |key: &str, value: serde_json::Value| {
            let mut kind = json!({"kind": "Flock", "schema": {}, "templates": [""]});
            kind.as_object_mut().unwrap().insert(key.to_owned(), value);
            with_kind(kind).unwrap_err()
        };
        assert!(flock("kind", json!("flock")).contains("upper camel case"));
        assert!(flock("kind", json!("Framework")).contains("kernel's own"));
        assert!(flock("schema", json!(true)).contains("not an object"));
        assert!(flock("templates", json!(["run"])).contains("'run' is not a JSON pointer"));
        assert!(flock("count", json!("/a~2")).contains("not a JSON pointer"));
        assert!(flock("colour", json!("red")).contains("colour"));
        assert!(parse(&"x".repeat(300_000)).unwrap_err().contains("bytes"));
        assert!(
            parse(r#"{"name":"B","version":"1"}"#)
                .unwrap_err()
                .contains("'B'")
        );
    }
}
