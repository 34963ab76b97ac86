//! RecordDrift: updates the drift ledger; open items are replaced, healed ones kept, the newest hundred.

use std::sync::Arc;

use kelson_model::drift::{DriftItem, DriftState, Plane};
use kelson_model::request::{DriftReportUpdate, Refusal};

use crate::context::Context;
use crate::reply::Reply;
use crate::state::State;

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &DriftReportUpdate,
) -> Result<Reply, Refusal> {
    let was_open = |item: &DriftItem| {
        state
            .drift
            .iter()
            .any(|known| known.state == DriftState::Open && known.is_same_as(item))
    };
    let mut open: Vec<Arc<DriftItem>> = Vec::new();
    let mut healed: Vec<Arc<DriftItem>> = state
        .drift
        .iter()
        .filter(|item| item.state == DriftState::Healed)
        .cloned()
        .collect();
    let mut events = Vec::new();
    for item in command
        .items
        .iter()
        .filter(|item| item.plane != Plane::Agent)
    {
        let fields = item
            .fields
            .iter()
            .map(|field| format!("{} {} → {}", field.path, field.desired, field.live))
            .collect::<Vec<_>>();
        let what = format!(
            "{}: {} (by {})",
            item.object,
            fields.join(", "),
            item.changed_by
        );
        match item.state {
            DriftState::Open => {
                if !was_open(item) {
                    events.push(context.event("DriftSeen", Some(&item.object), what));
                }
                open.push(Arc::new(item.clone()));
            }
            DriftState::Healed => {
                if healed.iter().any(|known| **known == *item) {
                    continue;
                }
                let said = format!("healed: {what}");
                events.push(context.event("DriftHealed", Some(&item.object), said));
                healed.push(Arc::new(item.clone()));
            }
        }
    }
    // What agents see on their machines is theirs to close, and other sources see to their own objects.
    let is_others = |item: &DriftItem| {
        let owner = state
            .objects
            .get(&item.object)
            .and_then(|object| object.source.as_ref());
        item.plane == Plane::Agent || owner.is_some_and(|owner| *owner != command.source)
    };
    open.extend(
        state
            .drift
            .iter()
            .filter(|item| item.state == DriftState::Open && is_others(item))
            .cloned(),
    );
    open.extend(healed);
    state.put_drift(open);
    for event in events {
        state.push_event(event);
    }
    Ok(context.done(None))
}
