//! What the drift ledger keeps: it travels as one row, so that the whole of it fits one message.

use std::sync::Arc;

use kelson_model::drift::{DriftItem, DriftState, FieldDrift, Plane};
use serde::Serialize;
use serde_json::Value;

/// Longest value of a healed item that is kept whole, in bytes of text.
const HEALED_VALUE: usize = 1 << 10;
/// How many characters are kept of a longer one; with its size they take less than that.
const BEGINNING: usize = 200;
/// The fields of one healed item together, as JSON; more than a reconciler tells of one.
const HEALED_FIELDS: usize = 10 << 10;
/// The open items of the agent plane together, as JSON.
const AGENT_ITEMS: usize = 512 << 10;

/// Cuts a healed item: long values are told by their beginning and their size, and of too many
/// fields the first are kept. A second cut changes nothing.
pub(crate) fn brief_healed(item: &mut Arc<DriftItem>) {
    let is_long = |field: &FieldDrift| {
        shortened(&field.desired).is_some() || shortened(&field.live).is_some()
    };
    if !item.fields.iter().any(is_long) && fitting(&item.fields) == item.fields.len() {
        return;
    }
    let item = Arc::make_mut(item);
    for field in &mut item.fields {
        if let Some(short) = shortened(&field.desired) {
            field.desired = short;
        }
        if let Some(short) = shortened(&field.live) {
            field.live = short;
        }
    }
    let kept = fitting(&item.fields);
    item.fields.truncate(kept);
}

/// Keeps, of open items of the agent plane, the first ones that fit; they are in the order in
/// which they were seen. Those of other planes all stay.
pub(super) fn keep_fitting(open: &mut Vec<Arc<DriftItem>>) {
    let mut bytes = 0_usize;
    open.retain(|item| {
        if item.plane != Plane::Agent {
            return true;
        }
        let with_it = bytes.saturating_add(size::<DriftItem>(item));
        let is_fitting = with_it <= AGENT_ITEMS;
        if is_fitting {
            bytes = with_it;
        }
        is_fitting
    });
}

/// How many bytes open items have together that are not of the agent plane.
pub(crate) fn open_bytes<'a>(items: impl IntoIterator<Item = &'a Arc<DriftItem>>) -> usize {
    let open = items
        .into_iter()
        .filter(|item| item.state == DriftState::Open && item.plane != Plane::Agent);
    open.map(|item| size::<DriftItem>(item))
        .fold(0, usize::saturating_add)
}

/// What is kept of a value that is too long.
fn shortened(value: &Value) -> Option<Value> {
    let cut = |text: &str| {
        (text.len() > HEALED_VALUE).then(|| {
            let beginning: String = text.chars().take(BEGINNING).collect();
            Value::String(format!("{beginning}… ({} bytes)", text.len()))
        })
    };
    match value {
        Value::String(text) => cut(text),
        Value::Array(_) | Value::Object(_) | Value::Number(_) => cut(&value.to_string()),
        Value::Null | Value::Bool(_) => None,
    }
}

/// How many of the fields fit.
fn fitting(fields: &[FieldDrift]) -> usize {
    let mut bytes = 0_usize;
    fields
        .iter()
        .take_while(|field| {
            bytes = bytes.saturating_add(size::<FieldDrift>(field));
            bytes <= HEALED_FIELDS
        })
        .count()
}

fn size<T: Serialize>(value: &T) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |json| json.len().saturating_add(1))
}
