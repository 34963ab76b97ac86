//! ReportSource: what the reconciler sees of its source.

use kelson_model::request::{Refusal, SourceReport};
use kelson_model::source::{Fault, Held, SourceRecord};

use crate::context::Context;
use crate::reply::Reply;
use crate::state::State;

/// Most faults that are kept of one revision.
const MAX_FAULTS: usize = 1000;
/// Most holds of one revision; there are fewer kinds of them.
const MAX_HOLDS: usize = 8;
/// Most objects of which it is kept why a plan leaves them as they are.
const MAX_KEPT: usize = 300;

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
    let holds: Vec<Held> = match command.holds.as_slice() {
        [] => command.held.iter().cloned().collect(),
        holds => holds.iter().take(MAX_HOLDS).cloned().collect(),
    };
    let mut released = before.released.clone();
    if before.observed == command.observed {
        // A person's word is for what was shown: a hold that is about something else now waits
        // again.
        released.retain(|release| {
            !holds.iter().any(|held| {
                held.reason == release.reason && held.digest.as_ref() != Some(&release.digest)
            })
        });
    } else {
        released.clear();
    }
    let after = SourceRecord {
        name: command.source.clone(),
        branch: command.branch.clone(),
        observed: command.observed.clone(),
        sync: command.sync,
        held: holds.first().cloned(),
        holds,
        released,
        errors: command.errors.iter().take(MAX_FAULTS).cloned().collect(),
        prune_window: command.prune_window.or(before.prune_window),
        kept: command.kept.iter().take(MAX_KEPT).cloned().collect(),
        waiting_more: command.waiting_more,
        observed_by: command.observed_by.clone(),
        applied_by: command.applied_by.clone(),
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
    let keeping = |record: &SourceRecord| -> Vec<Fault> {
        record
            .errors
            .iter()
            .filter(|it| it.keeps_back())
            .cloned()
            .collect()
    };
    let errors = keeping(&after);
    if !errors.is_empty() && errors != keeping(&before) {
        let count = errors.len();
        state.push_event(context.event(
            "RevisionRefused",
            None,
            format!(
                "{revision}has {count} {}; what was running goes on",
                if count == 1 { "error" } else { "errors" }
            ),
        ));
    }
    for held in after
        .holds
        .iter()
        .filter(|held| !before.holds.contains(held))
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
