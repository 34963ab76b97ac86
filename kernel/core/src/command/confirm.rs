//! Confirm: a person releases a held revision.

use kelson_model::request::{Confirm, Refusal};
use kelson_model::source::SourceRecord;

use crate::context::Context;
use crate::reply::{Reply, refusal};
use crate::state::State;

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &Confirm,
) -> Result<Reply, Refusal> {
    let names = |record: &SourceRecord| {
        let is_source = command.source.is_empty() || record.name == command.source;
        let digits = command.revision.as_str();
        let is_named = digits.len() >= 7
            && record
                .observed
                .as_ref()
                .is_some_and(|revision| revision.as_str().starts_with(digits));
        is_source && is_named && record.held.is_some()
    };
    let Some(record) = state.sources.values().find(|record| names(record)) else {
        let held: Vec<&str> = state
            .sources
            .values()
            .filter(|record| record.held.is_some())
            .filter_map(|record| record.observed.as_ref().map(|revision| revision.short()))
            .collect();
        let hint = if held.is_empty() {
            "no revision is held now".to_owned()
        } else {
            format!("held now: {}", held.join(", "))
        };
        return Err(refusal(
            "K0307",
            format!("no held revision begins with '{}'", command.revision),
            hint,
        ));
    };
    let mut record = SourceRecord::clone(record);
    record.confirmed.clone_from(&record.observed);
    let message = format!(
        "{} released revision {}",
        context.principal, command.revision
    );
    state.push_event(context.event("RevisionConfirmed", None, message));
    state.put_source(record);
    Ok(context.done(None))
}
