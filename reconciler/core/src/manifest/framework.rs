//! The schema of `kind: Framework`, the one kind that no framework brings.

use kelson_model::id::Digest;
use kelson_model::source::Fault;
use serde_json::{Value, json};

use super::kinds::Kinds;
use super::load::{Loaded, fault_at};
use crate::codes::Code;

/// The kind's name.
pub const FRAMEWORK: &str = "Framework";

/// The JSON Schema of [`kelson_model::framework::FrameworkSpec`].
pub fn framework_schema() -> Value {
    json!({
        "title": "Framework",
        "description": "A scheduler with the kinds that it handles.",
        "type": "object",
        "additionalProperties": false,
        "required": ["component"],
        "properties": {
            "component": {
                "description": "The scheduler, a WASM component.",
                "type": "object",
                "additionalProperties": false,
                "required": ["path"],
                "properties": {
                    "path": {
                        "description": "A file of the same commit.",
                        "type": "string",
                        "minLength": 1,
                        "maxLength": 1024,
                    },
                },
            },
            "digest": {
                "description": "The sha256 of the component. Without it the commit pins the component; with it another component is refused.",
                "type": "string",
                "format": "digest",
            },
            "namespaces": {
                "description": "The namespaces that it serves, and those below them. Without it: its own.",
                "type": "array",
                "maxItems": 1000,
                "uniqueItems": true,
                "items": {"type": "string", "format": "namespace"},
                "default": [],
            },
            "limits": {
                "description": "What it may use.",
                "type": "object",
                "additionalProperties": false,
                "default": {},
                "properties": {
                    "memory": {
                        "description": "Linear memory of one instance.",
                        "type": "string", "format": "bytes", "default": "64Mi",
                    },
                    "operations": {
                        "description": "Operations of one turn.",
                        "type": "integer", "minimum": 1, "maximum": 1_000_000, "default": 10_000,
                    },
                    "stateWrites": {
                        "description": "State written in one turn.",
                        "type": "string", "format": "bytes", "default": "1Mi",
                    },
                    "state": {
                        "description": "State of one seat (one namespace).",
                        "type": "string", "format": "bytes", "default": "64Mi",
                    },
                },
            },
            "config": {
                "description": "Handed to the component, and checked by the schema that it brings.",
                "type": "object",
                "default": {},
            },
        },
    })
}

/// Checks `spec.config` of Framework objects by the schemas that their components bring.
/// `component_of` names the component that a framework's description is from; where a commit pins
/// another one, nothing can be said before that one has described itself.
pub fn check_configs(
    mut loaded: Loaded,
    kinds: &Kinds,
    mut component_of: impl FnMut(&str) -> Option<Digest>,
) -> Loaded {
    let mut faults: Vec<Fault> = Vec::new();
    let frameworks = loaded.objects.iter();
    for object in frameworks.filter(|object| object.desired.key.kind == FRAMEWORK) {
        let name = &object.desired.key.name;
        let spec = &object.desired.spec;
        let pinned = spec.get("digest").and_then(Value::as_str);
        let described = component_of(name).map(|digest| digest.to_string());
        let (Some(schema), true) = (kinds.config(name), pinned == described.as_deref()) else {
            continue;
        };
        let config = spec.get("config").unwrap_or(&Value::Null);
        for (pointer, message) in schema.problems(config) {
            faults.push(fault_at(
                object,
                &format!("/spec/config{pointer}"),
                Code::Rejected,
                format!("the framework's own schema of its configuration says: {message}"),
                "the framework's author says what its configuration takes".to_owned(),
            ));
        }
    }
    loaded.refuse(faults);
    loaded
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::schema::Schema;
    use super::*;
    use kelson_model::framework::{FrameworkSpec, Limits};

    #[test]
    fn a_normalised_framework_reads_as_the_model_has_it() {
        let schema = Schema::compile(framework_schema()).unwrap();
        let spec = schema
            .check_value(&json!({"component": {"path": "frameworks/birds.wasm"}}))
            .unwrap();
        let spec: FrameworkSpec = serde_json::from_value(spec).unwrap();
        assert_eq!(spec.limits, Limits::default());
        assert_eq!(spec.component.path, "frameworks/birds.wasm");
        assert!(spec.namespaces.is_empty());
    }
}
