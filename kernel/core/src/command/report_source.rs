//! ReportSource: what the reconciler sees of its source.

use kelson_model::request::{Refusal, SourceReport};
use kelson_model::source::SourceRecord;

use crate::context::Context;
use crate::reply::Reply;
use crate::state::State;

/// Most faults that are kept of one revision.
const MAX_FAULTS: usize = 1000;

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &SourceReport,
) -> Result<Reply, Refusal> {
    let before = state
        .sources
        .get(&command.source)
        .map(|record| SourceRecord::clone(record))
        .unwrap_or_default();
    let after = SourceRecord {
        name: command.source.clone(),
        branch: command.branch.clone(),
        observed: command.observed.clone(),
        sync: command.sync,
        held: command.held.clone(),
        errors: command.errors.iter().take(MAX_FAULTS).cloned().collect(),
        ..before.clone()
    };
    if after == before {
        return Ok(context.done(None));
    }
    let revision = command
        .observed
        .as_ref()
        .map_or_else(String::new, |revision| {
            format!("revision {} ", revision.short())
        });
    if after.errors != before.errors && !after.errors.is_empty() {
        let count = after.errors.len();
        state.push_event(context.event(
            "RevisionRefused",
            None,
            format!(
                "{revision}has {count} {}; what was running goes on",
                if count == 1 { "error" } else { "errors" }
            ),
        ));
    }
    if after.held != before.held
        && let Some(held) = &after.held
    {
        state.push_event(context.event(
            "RevisionHeld",
            None,
            format!("{revision}is held ({}): {}", held.reason, held.message),
        ));
    }
    state.put_source(after);
    Ok(context.done(None))
}
