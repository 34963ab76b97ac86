//! The specification plane: an object differs from what was accepted from git. That it does is a
//! fact that the kernel keeps; here it becomes fields, with both values, place and author.

use kelson_model::drift::{FieldDrift, Plane};
use kelson_model::object::Origin;
use kelson_model::principal::Principal;

use super::finding::{Finding, finding, unknown};
use super::sight::Sight;
use crate::diff::{Difference, diff_by_hand};
use crate::observed::ObservedObject;
use crate::plan::is_ours;

pub(super) fn find(sight: Sight<'_>) -> Vec<Finding> {
    let by_hand = sight
        .observed
        .values()
        .filter(|live| live.by_hand.is_some() && is_ours(live, sight.source));
    by_hand.filter_map(|live| found(live, sight)).collect()
}

fn found(live: &ObservedObject, sight: Sight<'_>) -> Option<Finding> {
    let differences = diff_by_hand(live, sight.kinds);
    let first = differences.first()?;
    let by = last(live, first);
    let fields: Vec<FieldDrift> = differences
        .iter()
        .map(|difference| {
            let other = Some(who(live, &difference.path)).filter(|who| *who != by);
            difference.as_drift(other)
        })
        .collect();
    let mut item = finding(
        &live.key,
        Plane::Specification,
        Some(live),
        fields,
        by,
        sight.now,
    );
    item.origin = place(live, first, sight).or(item.origin);
    Some(Finding {
        item,
        is_over: false,
    })
}

/// Where git says otherwise: the field, where the revision that was accepted can be read.
fn place(live: &ObservedObject, difference: &Difference, sight: Sight<'_>) -> Option<Origin> {
    let object = sight.places?.object(&live.key)?;
    // What somebody added stands nowhere in git.
    let is_added = difference.desired.is_none();
    let pointer = if is_added {
        ""
    } else {
        difference.path.as_str()
    };
    Some(object.origin_of(pointer))
}

fn who(live: &ObservedObject, path: &str) -> Principal {
    let known = live.by_hand.as_ref().and_then(|by_hand| by_hand.who(path));
    known.cloned().unwrap_or_else(|| unknown("api"))
}

/// The last one of those who set what differs.
fn last(live: &ObservedObject, first: &Difference) -> Principal {
    let mut fields = live.by_hand.iter().flat_map(|by_hand| &by_hand.fields);
    match fields.next_back() {
        Some(field) => field.by.clone(),
        None => who(live, &first.path),
    }
}
