//! RecordDrift: updates the drift ledger; open items are replaced, healed ones kept, the newest hundred.

use std::sync::Arc;

use imbl::Vector;
use kelson_model::drift::{DriftItem, DriftState};
use kelson_model::request::{DriftReportUpdate, Refusal};

use crate::apply::{Context, Reply};
use crate::state::State;

/// Most open items that are kept.
const MAX_OPEN: usize = 10_000;

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
    for item in &command.items {
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
                events.push(context.event("DriftHealed", Some(&item.object), what));
                healed.push(Arc::new(item.clone()));
            }
        }
    }
    open.truncate(MAX_OPEN);
    let surplus = healed.len().saturating_sub(DriftItem::KEPT_HEALED);
    let ledger: Vector<Arc<DriftItem>> = open
        .into_iter()
        .chain(healed.into_iter().skip(surplus))
        .collect();
    if ledger != state.drift {
        state.put_drift(ledger);
    }
    for event in events {
        state.push_event(event);
    }
    Ok(context.done(None))
}
