//! Diff: where what is differs from what git asks, field by field.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kelson_model::drift::FieldDrift;
use kelson_model::object::{DesiredObject, Lifecycle};
use kelson_model::principal::Principal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::manifest::{Kinds, pointer_join as join};
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
    /// As a field of a drift report, with who set it where the report names somebody else: `added`
    /// is what somebody added to what git asks, `removed` what somebody took away.
    pub fn as_drift(&self, changed_by: Option<Principal>) -> FieldDrift {
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
            changed_by,
        }
    }
}

/// Compares what git asks of an object with what is: labels, lifecycle and specification. What was
/// set by hand is brought into normal form first, as git's word is, so that another spelling is no
/// difference. Equal objects give nothing.
pub fn diff(
    desired: &DesiredObject,
    observed: &ObservedObject,
    kinds: Option<&Kinds>,
) -> Vec<Difference> {
    let live = match &observed.by_hand {
        Some(_) => normal(observed, &observed.spec, kinds),
        None => Cow::Borrowed(&observed.spec),
    };
    let is_same = desired.spec == *live
        && desired.labels == observed.labels
        && desired.lifecycle == observed.lifecycle;
    if is_same {
        return Vec::new();
    }
    let mut found = Vec::new();
    compare(
        "",
        &content(&desired.labels, desired.lifecycle, &desired.spec),
        &content(&observed.labels, observed.lifecycle, &live),
        &mut found,
    );
    found
}

/// Compares what was accepted from git with what is: what was changed by hand and means something
/// else now.
pub fn diff_by_hand(observed: &ObservedObject, kinds: Option<&Kinds>) -> Vec<Difference> {
    let Some(by_hand) = &observed.by_hand else {
        return Vec::new();
    };
    let accepted = normal(observed, &by_hand.accepted, kinds);
    let live = normal(observed, &observed.spec, kinds);
    let mut found = Vec::new();
    compare("/spec", &accepted, &live, &mut found);
    found
}

/// A specification in the normal form of its kind; as it is where that does not take it.
pub(crate) fn normal<'a>(
    observed: &ObservedObject,
    spec: &'a Value,
    kinds: Option<&Kinds>,
) -> Cow<'a, Value> {
    let normal = kinds.and_then(|kinds| kinds.normalise(&observed.key.kind, spec).ok());
    normal.map_or(Cow::Borrowed(spec), Cow::Owned)
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
