//! A finding: a difference, before the ledger has been looked at.

use kelson_model::drift::{DriftItem, DriftState, FieldDrift, Plane};
use kelson_model::object::ObjectKey;
use kelson_model::principal::Principal;
use kelson_model::time::WallTime;
use serde_json::Value;

use crate::observed::ObservedObject;

/// Most fields that one item names, and the bytes that they may have together, as JSON.
const FIELDS: usize = 50;
const FIELD_BYTES: usize = 8 << 10;
/// Longest value that is told whole, in bytes.
const VALUE_BYTES: usize = 1 << 10;

/// One difference, before the ledger has been looked at.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) item: DriftItem,
    /// It has come and gone between two scans.
    pub(super) is_over: bool,
}

/// An open item about an object; `live` says what its lifecycle asks and where git has it, where
/// it is there.
pub(super) fn finding(
    object: &ObjectKey,
    plane: Plane,
    live: Option<&ObservedObject>,
    fields: Vec<FieldDrift>,
    changed_by: Principal,
    now: WallTime,
) -> DriftItem {
    DriftItem {
        object: object.clone(),
        task: None,
        plane,
        state: DriftState::Open,
        policy: live.map_or_else(Default::default, |live| live.lifecycle.drift),
        origin: live.and_then(|live| live.origin.clone()),
        fields: brief(fields),
        changed_by,
        first_seen: now,
        healed_at: None,
        count: 1,
    }
}

/// Nobody can tell who it was.
pub(super) fn unknown(via: &str) -> Principal {
    Principal::new("unknown", via)
}

/// Cuts what an item says to what a ledger of many items can keep: long values are told by their
/// beginning, and of very many fields the first are told, with how many more there are.
fn brief(fields: Vec<FieldDrift>) -> Vec<FieldDrift> {
    let count = fields.len();
    let mut bytes = 0_usize;
    let mut told: Vec<FieldDrift> = Vec::new();
    for mut field in fields.into_iter().take(FIELDS) {
        field.desired = brief_value(field.desired);
        field.live = brief_value(field.live);
        bytes += serde_json::to_vec(&field).map_or(FIELD_BYTES, |json| json.len());
        if bytes > FIELD_BYTES {
            break;
        }
        told.push(field);
    }
    let more = count - told.len();
    if more > 0 {
        told.push(FieldDrift {
            path: "/spec".to_owned(),
            op: "changed".to_owned(),
            desired: Value::Null,
            live: Value::String(format!("{more} more fields differ")),
            changed_by: None,
        });
    }
    told
}

fn brief_value(value: Value) -> Value {
    let text = match &value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.len() <= VALUE_BYTES {
        return value;
    }
    let beginning: String = text.chars().take(80).collect();
    Value::String(format!("{beginning}… ({} bytes)", text.len()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use kelson_model::object::Namespace;
    use serde_json::json;

    fn field(path: &str, live: Value) -> FieldDrift {
        FieldDrift {
            path: path.to_owned(),
            op: "changed".to_owned(),
            desired: json!(1),
            live,
            changed_by: None,
        }
    }

    #[test]
    fn a_long_value_is_told_by_its_beginning_and_its_size() {
        let told = brief(vec![field("/spec/a", json!("x".repeat(200_000)))]);
        let live = told.first().unwrap().live.as_str().unwrap();
        assert!(live.starts_with("xxx") && live.ends_with("(200000 bytes)"));
        assert!(live.len() < 120);
    }

    #[test]
    fn an_item_about_any_difference_is_small() {
        let key = ObjectKey::new("Service", Namespace::default_namespace(), "web");
        let values = [
            json!("x".repeat(400_000)),
            json!({"a": vec!["x".repeat(1_000); 400]}),
            json!("\u{1}".repeat(VALUE_BYTES)),
        ];
        for value in values {
            let many = (0..2 * FIELDS).map(|n| field(&format!("/spec/{n}"), value.clone()));
            let fields = many.collect();
            let who = unknown("api");
            let item = finding(&key, Plane::Specification, None, fields, who, WallTime(1));
            assert!(serde_json::to_vec(&item).unwrap().len() < 10 << 10);
            assert!(!item.fields.is_empty());
        }
    }

    #[test]
    fn of_very_many_fields_the_first_are_told_with_how_many_more_there_are() {
        let many = (0..2 * FIELDS).map(|n| field(&format!("/spec/{n}"), json!(2)));
        let told = brief(many.collect());
        assert_eq!(told.len(), FIELDS + 1);
        assert_eq!(told.last().unwrap().live, json!("50 more fields differ"));
        let long = (0..4).map(|n| field(&format!("/{n}{}", "p".repeat(5_000)), json!(2)));
        let told = brief(long.collect());
        assert_eq!(told.len(), 2);
        assert_eq!(told.last().unwrap().live, json!("3 more fields differ"));
    }
}
