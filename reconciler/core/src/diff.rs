//! Diff: where what is differs from what git asks, field by field.

use std::collections::BTreeMap;

use kelson_model::drift::FieldDrift;
use kelson_model::object::{DesiredObject, Lifecycle};
use kelson_model::principal::Principal;
use kelson_model::spec::Spec;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::manifest::{Kinds, LoadedObject, Spans, pointer_join as join};
use crate::observed::ObservedObject;

/// One field that differs; at least one of the two values is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Difference {
    /// A JSON pointer into the document: `/spec/instances`. What stands in a list only here or only
    /// there has its place there.
    pub path: String,
    /// The same for people, with the names of a list's elements in place of their numbers:
    /// `spec.ports[http].port`.
    pub at: String,
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
        Some(_) if desired.spec != observed.spec => normal(observed, &observed.spec, kinds),
        _ => observed.spec.clone(),
    };
    let is_same = desired.spec == live
        && desired.labels == observed.labels
        && desired.lifecycle == observed.lifecycle;
    if is_same {
        return Vec::new();
    }
    let mut found = Vec::new();
    compare(
        &Place::default(),
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
    if accepted == live {
        return Vec::new();
    }
    let mut found = Vec::new();
    let place = Place::default().field("spec");
    compare(&place, &accepted.value(), &live.value(), &mut found);
    found
}

/// A specification in the normal form of its kind; as it is where that does not take it.
pub(crate) fn normal(observed: &ObservedObject, spec: &Spec, kinds: Option<&Kinds>) -> Spec {
    let normal = |kinds: &Kinds| kinds.normalise(&observed.key.kind, &spec.value()).ok();
    kinds
        .and_then(normal)
        .map_or_else(|| spec.clone(), Spec::from)
}

/// The fields that a manifest spells out, each with its value: what a person reads of an object
/// that is new.
pub(crate) fn written(object: &LoadedObject) -> Vec<Difference> {
    let desired = &object.desired;
    let mut found = Vec::new();
    spell_out(
        &Place::default(),
        &content(&desired.labels, desired.lifecycle, &desired.spec),
        &object.spans,
        &mut found,
    );
    found
}

fn content(labels: &BTreeMap<String, String>, lifecycle: Lifecycle, spec: &Spec) -> Value {
    let spec = spec.value();
    json!({"metadata": {"labels": labels, "lifecycle": lifecycle}, "spec": spec})
}

/// Where a value stands: as a pointer, and as people write it.
#[derive(Debug, Clone, Default)]
struct Place {
    path: String,
    at: String,
}

impl Place {
    fn field(&self, name: &str) -> Self {
        let dot = if self.at.is_empty() { "" } else { "." };
        Self {
            path: join(&self.path, name),
            at: format!("{}{dot}{name}", self.at),
        }
    }

    fn item(&self, index: usize, name: Option<&str>) -> Self {
        let number = index.to_string();
        Self {
            path: join(&self.path, &number),
            at: format!("{}[{}]", self.at, name.unwrap_or(&number)),
        }
    }

    fn difference(&self, desired: Option<&Value>, live: Option<&Value>) -> Difference {
        Difference {
            path: self.path.clone(),
            at: self.at.clone(),
            desired: desired.cloned(),
            live: live.cloned(),
        }
    }
}

/// The fields by which the elements of a list are told apart, where each has one of its own.
const KEYS: [&str; 2] = ["name", "path"];

fn compare(place: &Place, desired: &Value, live: &Value, found: &mut Vec<Difference>) {
    match (desired, live) {
        (desired, live) if desired == live => {}
        (Value::Object(desired), Value::Object(live)) => {
            for (name, value) in desired {
                match live.get(name) {
                    Some(other) => compare(&place.field(name), value, other, found),
                    None => found.push(place.field(name).difference(Some(value), None)),
                }
            }
            for (name, value) in live {
                if !desired.contains_key(name) {
                    found.push(place.field(name).difference(None, Some(value)));
                }
            }
        }
        (Value::Array(wanted), Value::Array(there)) => {
            let before = found.len();
            let named = |key| keyed(wanted, key).zip(keyed(there, key));
            match KEYS.into_iter().find_map(named) {
                Some((wanted, there)) => compare_keyed(place, &wanted, &there, found),
                None => compare_in_order(place, wanted, there, found),
            }
            // The same elements in another order.
            if found.len() == before {
                found.push(place.difference(Some(desired), Some(live)));
            }
        }
        (desired, live) => found.push(place.difference(Some(desired), Some(live))),
    }
}

/// The elements of a list by their names, each with its number; `None` where they have none, or
/// share one.
fn keyed<'v>(list: &'v [Value], key: &str) -> Option<BTreeMap<&'v str, (usize, &'v Value)>> {
    let mut names = BTreeMap::new();
    for (index, item) in list.iter().enumerate() {
        let name = item.get(key)?.as_str()?;
        if names.insert(name, (index, item)).is_some() {
            return None;
        }
    }
    Some(names)
}

fn compare_keyed(
    place: &Place,
    desired: &BTreeMap<&str, (usize, &Value)>,
    live: &BTreeMap<&str, (usize, &Value)>,
    found: &mut Vec<Difference>,
) {
    // What has another name at the same place was renamed.
    let mut left: BTreeMap<usize, (&str, &Value)> = live
        .iter()
        .filter(|(name, _)| !desired.contains_key(*name))
        .map(|(name, (index, value))| (*index, (*name, *value)))
        .collect();
    for (name, (index, value)) in desired {
        let below = place.item(*index, Some(name));
        let known = live.get(name).map(|(_, other)| *other);
        let other = known.or_else(|| left.remove(index).map(|(_, renamed)| renamed));
        match other {
            Some(other) => compare(&below, value, other, found),
            None => found.push(below.difference(Some(value), None)),
        }
    }
    for (index, (name, value)) in left {
        let below = place.item(index, Some(name));
        found.push(below.difference(None, Some(value)));
    }
}

fn compare_in_order(place: &Place, desired: &[Value], live: &[Value], found: &mut Vec<Difference>) {
    for (index, (value, other)) in desired.iter().zip(live).enumerate() {
        compare(&place.item(index, None), value, other, found);
    }
    for (index, value) in desired.iter().enumerate().skip(live.len()) {
        found.push(place.item(index, None).difference(Some(value), None));
    }
    for (index, value) in live.iter().enumerate().skip(desired.len()) {
        found.push(place.item(index, None).difference(None, Some(value)));
    }
}

fn spell_out(place: &Place, value: &Value, spans: &Spans, found: &mut Vec<Difference>) {
    if !spans.is_written(&place.path) {
        return;
    }
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                spell_out(&place.field(name), value, spans, found);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let names: BTreeMap<usize, &str> = KEYS
                .into_iter()
                .find_map(|key| keyed(items, key))
                .into_iter()
                .flatten()
                .map(|(name, (index, _))| (index, name))
                .collect();
            for (index, value) in items.iter().enumerate() {
                let name = names.get(&index).copied();
                spell_out(&place.item(index, name), value, spans, found);
            }
        }
        value => found.push(place.difference(Some(value), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(desired: &Value, live: &Value) -> Vec<(String, String)> {
        let mut found = Vec::new();
        compare(&Place::default(), desired, live, &mut found);
        let told = |it: Difference| {
            let value = |value: Option<Value>| value.map_or("-".to_owned(), |it| it.to_string());
            (
                it.path,
                format!("{} {} {}", it.at, value(it.live), value(it.desired)),
            )
        };
        found.into_iter().map(told).collect()
    }

    #[test]
    fn elements_with_names_are_compared_by_name_wherever_they_stand() {
        let desired = json!({"ports": [{"name": "admin"}, {"name": "http", "port": 81}]});
        let live = json!({"ports": [{"name": "http", "port": 80}, {"name": "old"}]});
        assert_eq!(
            found(&desired, &live),
            [
                (
                    "/ports/0".to_owned(),
                    r#"ports[admin] - {"name":"admin"}"#.to_owned()
                ),
                (
                    "/ports/1/port".to_owned(),
                    "ports[http].port 80 81".to_owned()
                ),
                (
                    "/ports/1".to_owned(),
                    r#"ports[old] {"name":"old"} -"#.to_owned()
                ),
            ]
        );
    }

    #[test]
    fn another_order_is_a_difference() {
        let (one, two) = (
            json!([{"name": "a"}, {"name": "b"}]),
            json!([{"name": "b"}, {"name": "a"}]),
        );
        assert_eq!(found(&one, &two).len(), 1);
        assert!(found(&one, &one).is_empty());
    }
}
