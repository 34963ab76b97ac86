//! Diff: where what is differs from what git asks, field by field.

use std::collections::BTreeMap;

use kelson_model::drift::FieldDrift;
use kelson_model::object::{DesiredObject, Lifecycle};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::manifest::pointer_join as join;
use crate::observed::ObservedObject;

/// One field that differs; at least one of the two values is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Difference {
    /// A JSON pointer into the document: `/spec/instances`.
    pub path: String,
    /// What git asks; absent where git does not have the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Value>,
    /// What is; absent where the field is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Value>,
}

impl Difference {
    /// As an item of a drift report: `added` is what somebody added to what git asks, `removed` what somebody took away.
    pub fn as_drift(&self) -> FieldDrift {
        let op = match (&self.desired, &self.live) {
            (Some(_), None) => "removed",
            (None, Some(_)) => "added",
            (Some(_), Some(_)) | (None, None) => "changed",
        };
        FieldDrift {
            path: self.path.clone(),
            op: op.to_owned(),
            desired: self.desired.clone().unwrap_or(Value::Null),
            live: self.live.clone().unwrap_or(Value::Null),
        }
    }
}

/// Compares labels, lifecycle and specification, both in normal form. Equal objects give nothing.
pub fn diff(desired: &DesiredObject, observed: &ObservedObject) -> Vec<Difference> {
    let is_same = desired.spec == observed.spec
        && desired.labels == observed.labels
        && desired.lifecycle == observed.lifecycle;
    if is_same {
        return Vec::new();
    }
    let mut found = Vec::new();
    compare(
        "",
        &content_of_desired(desired),
        &content(&observed.labels, observed.lifecycle, &observed.spec),
        &mut found,
    );
    found
}

/// What git says about an object, in the shape of its document.
pub(crate) fn content_of_desired(object: &DesiredObject) -> Value {
    content(&object.labels, object.lifecycle, &object.spec)
}

fn content(labels: &BTreeMap<String, String>, lifecycle: Lifecycle, spec: &Value) -> Value {
    json!({"metadata": {"labels": labels, "lifecycle": lifecycle}, "spec": spec})
}

fn compare(path: &str, desired: &Value, live: &Value, found: &mut Vec<Difference>) {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => {
            for (name, value) in desired {
                let below = join(path, name);
                match live.get(name) {
                    Some(other) => compare(&below, value, other, found),
                    None => found.push(removed(below, value)),
                }
            }
            for (name, value) in live {
                if !desired.contains_key(name) {
                    found.push(added(join(path, name), value));
                }
            }
        }
        (Value::Array(desired), Value::Array(live)) => {
            for (index, (value, other)) in desired.iter().zip(live).enumerate() {
                compare(&join(path, &index.to_string()), value, other, found);
            }
            for (index, value) in desired.iter().enumerate().skip(live.len()) {
                found.push(removed(join(path, &index.to_string()), value));
            }
            for (index, value) in live.iter().enumerate().skip(desired.len()) {
                found.push(added(join(path, &index.to_string()), value));
            }
        }
        (desired, live) if desired == live => {}
        (desired, live) => found.push(Difference {
            path: path.to_owned(),
            desired: Some(desired.clone()),
            live: Some(live.clone()),
        }),
    }
}

fn removed(path: String, desired: &Value) -> Difference {
    Difference {
        path,
        desired: Some(desired.clone()),
        live: None,
    }
}

fn added(path: String, live: &Value) -> Difference {
    Difference {
        path,
        desired: None,
        live: Some(live.clone()),
    }
}
