//! The live story of a cluster: what happens, and why.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kelson_model::reason::HoldReason;
use kelson_model::source::{Fault, Held, SourceRecord};
use kelson_model::view::EventView;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::voice::Voice;
use crate::client::{Client, WatchBatch};
use crate::exit::Failure;
use crate::output::{Tint, fault, plain};
use crate::processes::kernel::Note;
use crate::verbs::events::tint_of;

/// Faults shown of one revision.
const FAULTS: usize = 20;

/// Tells what happens for ever; a kernel that is away is waited for.
///
/// *Guarantees*: everything that the kernel still remembers since `since` is told once. *Caveats*:
/// what it has forgotten while it was not listened to is not told.
pub(crate) async fn run_narrator(client: Arc<Client>, voice: Arc<Voice>, since: Timestamp) {
    let mut narrator = Narrator {
        voice,
        since,
        last: 0,
        told: BTreeSet::new(),
        errors: Vec::new(),
        held: None,
        is_headed: false,
    };
    let mut resume = None;
    loop {
        if let Err(error) = narrator.listen(&client, &mut resume).await {
            tracing::debug!(%error, "the watch has broken off");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

struct Narrator {
    voice: Arc<Voice>,
    since: Timestamp,
    /// The newest event told, and which of its index were.
    last: u64,
    told: BTreeSet<String>,
    errors: Vec<Fault>,
    held: Option<Held>,
    /// Whether the last event told said already what is explained next.
    is_headed: bool,
}

impl Narrator {
    async fn listen(&mut self, client: &Client, resume: &mut Option<u64>) -> Result<(), Failure> {
        let mut batches = client.watch("event,source", *resume).await?;
        while let Some(batch) = batches.line::<WatchBatch>().await? {
            let (sources, events): (Vec<_>, Vec<_>) =
                batch.rows.into_iter().partition(|row| row.kind == "source");
            for row in events {
                if let Ok(event) = serde_json::from_value::<EventView>(row.json) {
                    self.tell_event(&event);
                }
            }
            // What an event says in a sentence is explained below it.
            for row in sources {
                if let Ok(record) = serde_json::from_value::<SourceRecord>(row.json) {
                    self.tell_source(record);
                }
            }
            *resume = Some(batch.index);
        }
        Ok(())
    }

    fn tell_event(&mut self, event: &EventView) {
        let is_old = event
            .at
            .parse::<Timestamp>()
            .is_ok_and(|at| at < self.since);
        if is_old || event.index < self.last {
            return;
        }
        if event.index > self.last {
            self.last = event.index;
            self.told.clear();
        }
        let key = format!("{} {:?} {}", event.reason, event.object, event.message);
        if !self.told.insert(key) {
            return;
        }
        self.is_headed = matches!(event.reason.as_str(), "RevisionRefused" | "RevisionHeld");
        let message = sentence(event);
        let more = json!({"index": event.index, "object": event.object, "by": event.by});
        self.voice.tell_at(
            &event.at,
            tint_of(&event.reason),
            &event.reason,
            &message,
            more,
        );
    }

    fn tell_source(&mut self, record: SourceRecord) {
        if record.errors != self.errors {
            if !record.errors.is_empty() {
                let revision = record.observed.as_ref().map(ToString::to_string);
                let more = json!({"revision": revision, "errors": record.errors});
                self.head(Tint::Bad, "Errors", &errors_line(&record), more);
                for error in record.errors.iter().take(FAULTS) {
                    self.voice.explain(&fault(error, self.voice.palette()));
                }
                let more = record.errors.len().saturating_sub(FAULTS);
                if more > 0 {
                    self.voice
                        .explain(&format!("and {more} more; see `kelson status -o json`"));
                }
            } else {
                self.voice
                    .tell(Tint::Good, "NoErrors", "the errors are gone", Value::Null);
            }
            self.errors.clone_from(&record.errors);
        }
        if record.held != self.held {
            if let Some(held) = &record.held {
                let message = format!("held ({}): {}", held.reason, held.message);
                self.head(Tint::Warn, "Held", &message, json!({"held": held}));
                if let Some(confirm) = &held.confirm {
                    self.voice
                        .explain(&format!("release it with: {}", plain(confirm)));
                }
            }
            if let Some(over) = self.held.take().filter(|over| is_over(over, &record)) {
                let message = end_of_hold(&over, &record.branch);
                self.voice
                    .tell(Tint::Good, "HoldOver", &message, json!({"held": over}));
            }
            self.held = record.held;
        }
        self.is_headed = false;
    }

    /// Says what is explained next, but to people who have just been told.
    fn head(&self, tint: Tint, event: &str, message: &str, more: Value) {
        if !self.is_headed || self.voice.is_json() {
            self.voice.tell(tint, event, message, more);
        }
    }
}

/// Whether a hold of this kind is one no longer.
fn is_over(held: &Held, record: &SourceRecord) -> bool {
    let mut now = record.holds.iter().chain(&record.held);
    !now.any(|now| now.reason == held.reason)
}

fn end_of_hold(held: &Held, branch: &str) -> String {
    match &held.reason {
        HoldReason::RepositoryMissing => "the repository is there again".to_owned(),
        HoldReason::BranchMissing => format!("the branch {branch} is there again"),
        reason => format!("the hold is over ({reason})"),
    }
}

/// What an event says, with the object that it is about.
fn sentence(event: &EventView) -> String {
    match &event.object {
        Some(object) if event.message.starts_with(&object.to_string()) => event.message.clone(),
        Some(object) => format!("{}/{}: {}", object.namespace, object.name, event.message),
        None => event.message.clone(),
    }
}

fn errors_line(record: &SourceRecord) -> String {
    let count = record.errors.len();
    let noun = if count == 1 { "error" } else { "errors" };
    let revision = record
        .observed
        .as_ref()
        .map_or("the newest revision", |revision| revision.short());
    format!("{revision} has {count} {noun}; what was running goes on")
}

/// Repeats what the kernel's process has to say to a person: manifests that were changed and not
/// committed.
pub(crate) async fn run_notes(mut lines: mpsc::Receiver<String>, voice: Arc<Voice>) {
    while let Some(line) = lines.recv().await {
        if let Ok(note) = serde_json::from_str::<Note>(&line) {
            voice.tell(Tint::Warn, "Note", &note.message, Value::Null);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_message_names_its_object_once() {
        let event = |message: &str| -> EventView {
            serde_json::from_value(json!({"index": 1, "at": "", "reason": "X", "message": message, "by": {"actor": "a", "via": "b"},
                "object": {"kind": "Service", "namespace": "shop", "name": "web"}}))
            .unwrap()
        };
        assert_eq!(sentence(&event("web.0 runs")), "shop/web: web.0 runs");
        assert_eq!(
            sentence(&event("Service shop/web is Healthy")),
            "Service shop/web is Healthy"
        );
    }
}
