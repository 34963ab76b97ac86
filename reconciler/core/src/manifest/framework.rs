//! The schema of `kind: Framework`, the one kind that no framework brings.

use std::collections::BTreeMap;

use kelson_model::code::Code;
use kelson_model::framework::serves;
use kelson_model::object::Namespace;
use kelson_model::source::Fault;
use serde::Deserialize;
use serde_json::{Value, json};

use super::kinds::{Kinds, Standing};
use super::load::{Loaded, LoadedObject, fault_at};
use super::schema::Unfit;

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

/// Checks what a schema alone cannot: that a Framework has a name of its own, asks for its own
/// namespaces, that its `spec.config` is what its component takes, and that every other object
/// stands in a namespace which the framework of its kind serves. Decides what of the rest waits for
/// a framework of the commit, and what is at fault.
///
/// A Framework with the name of another one says nothing of where that one's kinds may be used.
///
/// Where a commit pins another component than the one that is described, nothing can be said of its
/// configuration before that one has described itself.
pub fn check_frameworks(mut loaded: Loaded, kinds: &Kinds) -> Loaded {
    let mut faults: Vec<Fault> = Vec::new();
    // What this commit says of a framework wins over how it stands.
    let mut roots: BTreeMap<&str, Standing> = BTreeMap::new();
    for object in &loaded.objects {
        let key = &object.desired.key;
        if key.kind != FRAMEWORK {
            continue;
        }
        let other = kinds.standing_of(&key.name);
        let other = other.or_else(|| roots.get(key.name.as_str()));
        let is_another = |other: &&Standing| other.is_built_in || other.namespace != key.namespace;
        if let Some(other) = other.filter(is_another) {
            faults.push(taken_name(object, other));
            continue;
        }
        let named: Vec<Namespace> = object
            .desired
            .spec
            .pointer("/namespaces")
            .and_then(|named| Vec::deserialize(named).ok())
            .unwrap_or_default();
        for (place, foreign) in named.iter().enumerate() {
            if !foreign.is_within(&key.namespace) {
                faults.push(fault_at(
                    object,
                    &format!("/spec/namespaces/{place}"),
                    Code::BadValue,
                    format!(
                        "a framework of namespace {} serves that one and those below it, and not {foreign}",
                        key.namespace
                    ),
                    format!("give the Framework the namespace {foreign}, or one above it"),
                ));
            }
        }
        faults.append(&mut wrong_config(object, kinds));
        roots.insert(
            &key.name,
            Standing {
                component: None,
                namespace: key.namespace.clone(),
                namespaces: named,
                is_built_in: false,
            },
        );
    }
    for object in &loaded.objects {
        let key = &object.desired.key;
        let Some(framework) = kinds.framework_of(&key.kind) else {
            continue;
        };
        let said = roots.get(framework);
        let Some(standing) = said.or_else(|| kinds.standing_of(framework)) else {
            continue;
        };
        let Standing {
            namespace,
            namespaces,
            is_built_in,
            ..
        } = standing;
        if !serves(namespace, namespaces, *is_built_in, &key.namespace) {
            faults.push(fault_at(
                object,
                "/metadata/namespace",
                Code::UnknownKind,
                format!(
                    "no framework handles {} in namespace {}; {framework}, which brings it, serves {}",
                    key.kind,
                    key.namespace,
                    served(standing)
                ),
                "give the object a namespace that its framework serves".to_owned(),
            ));
        }
    }
    loaded.refuse(faults);
    loaded.settle(kinds);
    loaded
}

/// A Framework whose name another one has.
fn taken_name(object: &LoadedObject, other: &Standing) -> Fault {
    let name = &object.desired.key.name;
    let (owner, hint) = if other.is_built_in {
        let hint = "give the Framework another name";
        ("the one that came in the box".to_owned(), hint)
    } else {
        let hint = "give the Framework another name, or remove the other one first";
        (format!("the one of namespace {}", other.namespace), hint)
    };
    fault_at(
        object,
        "/metadata/name",
        Code::BadValue,
        format!(
            "there is a framework {name} already, {owner}; a framework's name is one in the cluster"
        ),
        hint.to_owned(),
    )
}

fn served(standing: &Standing) -> String {
    match standing.namespaces.as_slice() {
        [] => format!("{} and below", standing.namespace),
        named => {
            let named: Vec<&str> = named.iter().map(Namespace::as_str).collect();
            format!("{} and below", named.join(", "))
        }
    }
}

/// What the component's own schema says of `spec.config`.
fn wrong_config(object: &LoadedObject, kinds: &Kinds) -> Vec<Fault> {
    let name = &object.desired.key.name;
    let spec = object.desired.spec.value();
    let pinned = spec.get("digest").and_then(Value::as_str);
    let standing = kinds.standing_of(name);
    let described = standing
        .and_then(|standing| standing.component.as_ref())
        .map(ToString::to_string);
    let (Some(schema), true) = (kinds.config(name), pinned == described.as_deref()) else {
        return Vec::new();
    };
    let config = spec.get("config").unwrap_or(&Value::Null);
    let problems = schema.problems(config, "/spec/config").into_iter();
    problems
        .map(|(pointer, Unfit { message, hint })| {
            let pointer = format!("/spec/config{pointer}");
            let message = format!("{message}, by the schema that the framework brings");
            fault_at(object, &pointer, Code::Rejected, message, hint)
        })
        .collect()
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
