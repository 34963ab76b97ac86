//! Confirm: a person releases one hold of a revision.

use kelson_model::code::Code;
use kelson_model::id::{Digest, Revision};
use kelson_model::request::{Confirm, Refusal};
use kelson_model::source::{Held, Release, SourceRecord};

use crate::context::Context;
use crate::reply::{Reply, refusal};
use crate::state::State;

/// Most confirmations that are kept of one revision; there are fewer kinds of holds.
const MAX_RELEASED: usize = 8;

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &Confirm,
) -> Result<Reply, Refusal> {
    let named = state.sources.values().find_map(|record| {
        let is_source = command.source.is_empty() || record.name == command.source;
        let digits = command.revision.as_str();
        let observed = record.observed.as_ref()?;
        let is_named = digits.len() >= 7 && observed.as_str().starts_with(digits);
        (is_source && is_named && record.held.is_some()).then_some((record, observed))
    });
    let Some((record, revision)) = named else {
        return Err(refusal(
            Code::NotHeld,
            format!("no held revision begins with '{}'", command.revision),
            held_now(state),
        ));
    };
    let release = chosen(record, revision, &command.hold)?;
    let mut record = SourceRecord::clone(record);
    let message = format!(
        "{} released revision {} from {}",
        context.principal, command.revision, release.reason
    );
    record
        .released
        .retain(|known| known.reason != release.reason);
    record.released.push(release);
    let surplus = record.released.len().saturating_sub(MAX_RELEASED);
    record.released.drain(..surplus);
    state.push_event(context.event("RevisionConfirmed", None, message));
    state.put_source(record);
    Ok(context.done(None))
}

fn held_now(state: &State) -> String {
    let held: Vec<&str> = state
        .sources
        .values()
        .filter(|record| record.held.is_some())
        .filter_map(|record| record.observed.as_ref().map(|revision| revision.short()))
        .collect();
    if held.is_empty() {
        "no revision is held now".to_owned()
    } else {
        format!("held now: {}", held.join(", "))
    }
}

/// The hold that is meant; of several, one has to be named.
fn chosen(record: &SourceRecord, revision: &Revision, hold: &str) -> Result<Release, Refusal> {
    let holds: Vec<Release> = holds(record)
        .filter_map(|held| {
            Some(Release {
                reason: held.reason.clone(),
                digest: digest(held, revision)?,
            })
        })
        .collect();
    let reasons: Vec<&str> = holds.iter().map(|hold| hold.reason.word()).collect();
    match holds.as_slice() {
        [] => Err(refusal(
            Code::NotHeld,
            format!(
                "revision {} is held by something that no confirmation ends",
                revision.short()
            ),
            holds_messages(record),
        )),
        [only] if hold.is_empty() => Ok(only.clone()),
        [_, ..] if hold.is_empty() => Err(refusal(
            Code::NotHeld,
            format!(
                "revision {} is held for {} reasons: {}",
                revision.short(),
                reasons.len(),
                reasons.join(", ")
            ),
            format!(
                "each is released by itself: `kelson confirm {} --hold {}`",
                revision.short(),
                reasons.join("|")
            ),
        )),
        [_, ..] => holds
            .iter()
            .find(|known| known.reason.word() == hold || known.digest.to_string() == hold)
            .cloned()
            .ok_or_else(|| {
                refusal(
                    Code::NotHeld,
                    format!(
                        "revision {} is not held by '{hold}', or that hold is about something else now",
                        revision.short()
                    ),
                    format!("it is held by {}", reasons.join(", ")),
                )
            }),
    }
}

/// All holds; of a record from before there was more than one, that one.
fn holds(record: &SourceRecord) -> impl Iterator<Item = &Held> {
    let only = record.held.iter().filter(|_| record.holds.is_empty());
    record.holds.iter().chain(only)
}

/// What a confirmation of the hold names; `None` where none releases it.
fn digest(held: &Held, revision: &Revision) -> Option<Digest> {
    let is_older = held.digest.is_none() && held.confirm.is_some();
    is_older
        .then(|| Held::digest_of(&held.reason, revision, &held.objects))
        .or_else(|| held.digest.clone())
}

fn holds_messages(record: &SourceRecord) -> String {
    let messages: Vec<&str> = holds(record).map(|held| held.message.as_str()).collect();
    messages.join("; ")
}
