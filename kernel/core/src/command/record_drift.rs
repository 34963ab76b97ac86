//! RecordDrift: updates the drift ledger: open items, and the newest hundred healed ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use kelson_model::code::Code;
use kelson_model::drift::{DriftItem, DriftState, Plane};
use kelson_model::id::TaskId;
use kelson_model::object::ObjectKey;
use kelson_model::request::{DriftReportUpdate, Refusal};

use crate::context::Context;
use crate::reply::{Reply, refusal};
use crate::state::{State, brief_healed, open_bytes};

/// What an item is about: more than one may differ in their fields.
type About<'a> = (&'a ObjectKey, Option<TaskId>, Plane);

fn about(item: &DriftItem) -> About<'_> {
    (&item.object, item.task, item.plane)
}

/// Items by what they are about.
fn by_subject<'a>(
    items: impl IntoIterator<Item = &'a Arc<DriftItem>>,
) -> BTreeMap<About<'a>, Vec<&'a Arc<DriftItem>>> {
    let mut found: BTreeMap<About<'_>, Vec<&Arc<DriftItem>>> = BTreeMap::new();
    for item in items {
        found.entry(about(item)).or_default().push(item);
    }
    found
}

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &DriftReportUpdate,
) -> Result<Reply, Refusal> {
    let known_open = by_subject(of(state, DriftState::Open));
    let known_healed = by_subject(of(state, DriftState::Healed));
    let told: Vec<Arc<DriftItem>> = command
        .items
        .iter()
        .filter(|item| item.plane != Plane::Agent)
        .map(|item| {
            let mut item = Arc::new(item.clone());
            if item.state == DriftState::Healed {
                // As it is kept, so that it is known when it is told again.
                brief_healed(&mut item);
            }
            item
        })
        .collect();
    let mut open: Vec<Arc<DriftItem>> = Vec::new();
    let mut healed: Vec<Arc<DriftItem>> = of(state, DriftState::Healed).cloned().collect();
    let mut events = Vec::new();
    for item in &told {
        match item.state {
            DriftState::Open => {
                // A field that is new to a difference that goes on is told as well.
                let is_known = known_open.get(&about(item)).is_some_and(|known| {
                    known
                        .iter()
                        .any(|known| known.is_same_as(item) && item.is_covered_by(known))
                });
                if !is_known {
                    events.push(context.event("DriftSeen", Some(&item.object), what(item)));
                }
                open.push(item.clone());
            }
            DriftState::Healed => {
                let is_known = known_healed
                    .get(&about(item))
                    .is_some_and(|known| known.contains(&item));
                if is_known {
                    continue;
                }
                let said = format!("healed: {}", what(item));
                events.push(context.event("DriftHealed", Some(&item.object), said));
                healed.push(item.clone());
            }
        }
    }
    // What agents see on their machines is theirs to close, and other sources see to their own
    // objects.
    let is_others = |item: &DriftItem| {
        let owner = state
            .objects
            .get(&item.object)
            .and_then(|object| object.source.as_ref());
        item.plane == Plane::Agent || owner.is_some_and(|owner| *owner != command.source)
    };
    let told_of = by_subject(&told);
    let is_told = |item: &Arc<DriftItem>| {
        let told = told_of.get(&about(item));
        told.is_some_and(|told| told.iter().any(|told| told.is_same_as(item)))
    };
    open.extend(
        of(state, DriftState::Open)
            .filter(|item| is_others(item) || command.is_delta && !is_told(item))
            .cloned(),
    );
    if open.len() > DriftItem::KEPT_OPEN {
        return Err(refusal(
            Code::TooMuchAtOnce,
            format!(
                "{} things would be listed as drift; at most {} are",
                open.len(),
                DriftItem::KEPT_OPEN
            ),
            "put back some of what was changed by hand, or let git say the same",
        ));
    }
    let bytes = open_bytes(&open);
    // A ledger that is larger already may still shrink.
    if bytes > DriftItem::KEPT_OPEN_BYTES && bytes > open_bytes(state.drift.iter()) {
        return Err(refusal(
            Code::TooMuchAtOnce,
            format!(
                "what would be listed as drift has {bytes} bytes; at most {} are kept",
                DriftItem::KEPT_OPEN_BYTES
            ),
            "tell long values by their beginning, or put back some of what was changed by hand",
        ));
    }
    open.extend(healed);
    state.put_drift(open);
    for event in events {
        state.push_event(event);
    }
    Ok(context.done(None))
}

fn of(state: &State, wanted: DriftState) -> impl Iterator<Item = &Arc<DriftItem>> {
    state.drift.iter().filter(move |item| item.state == wanted)
}

/// An item in a sentence: each field with both values, and who set it.
fn what(item: &DriftItem) -> String {
    let fields: Vec<String> = item
        .fields
        .iter()
        .map(|field| {
            let by = field.changed_by.as_ref().unwrap_or(&item.changed_by);
            format!(
                "{} {} → {} (by {by})",
                field.path, field.desired, field.live
            )
        })
        .collect();
    format!("{}: {}", item.object, fields.join(", "))
}
