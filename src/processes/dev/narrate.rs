//! The live story of a cluster: what happens, and why.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kelson_model::source::{Fault, Held, SourceRecord};
use kelson_reconciler::source::{Change, GitSource};
use serde_json::{Value, json};

use super::voice::Voice;
use crate::client::{Client, WatchBatch};
use crate::exit::Failure;
use crate::output::{Tint, fault};
use crate::verbs::events::{Event, tint_of};

/// Faults shown of one revision.
const FAULTS: usize = 20;
/// How often the working tree is looked at, at the most.
const LOOK: Duration = Duration::from_secs(3);

/// Tells what happens for ever; a kernel that is away is waited for.
///
/// *Guarantees*: everything that the kernel still remembers since `since` is told once. *Caveats*: what it has forgotten while it was not listened to is not told.
pub(crate) async fn run_narrator(client: Arc<Client>, voice: Arc<Voice>, since: Timestamp) {
    let mut narrator = Narrator {
        voice,
        since,
        last: 0,
        told: BTreeSet::new(),
        errors: Vec::new(),
        held: None,
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
}

impl Narrator {
    async fn listen(&mut self, client: &Client, resume: &mut Option<u64>) -> Result<(), Failure> {
        let mut batches = client.watch("event,source", *resume).await?;
        while let Some(batch) = batches.line::<WatchBatch>().await? {
            let (sources, events): (Vec<_>, Vec<_>) =
                batch.rows.into_iter().partition(|row| row.kind == "source");
            for row in events {
                if let Ok(event) = serde_json::from_value::<Event>(row.json) {
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

    fn tell_event(&mut self, event: &Event) {
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
        let message = match &event.object {
            Some(object) => format!("{}/{}: {}", object.namespace, object.name, event.message),
            None => event.message.clone(),
        };
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
                self.voice.tell(
                    Tint::Bad,
                    "Errors",
                    &errors_line(&record),
                    json!({"revision": revision, "errors": record.errors}),
                );
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
            self.errors = record.errors;
        }
        if record.held != self.held {
            if let Some(held) = &record.held {
                self.voice.tell(
                    Tint::Warn,
                    "Held",
                    &format!("held ({}): {}", held.reason, held.message),
                    json!({"held": held}),
                );
                if let Some(confirm) = &held.confirm {
                    self.voice.explain(&format!("release it with: {confirm}"));
                }
            }
            self.held = record.held;
        }
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

/// Mentions manifests of the working tree that were changed and not committed, each once until it is committed.
pub(crate) async fn run_uncommitted(source: Arc<GitSource>, voice: Arc<Voice>) {
    let mut mentioned: BTreeSet<(String, Change)> = BTreeSet::new();
    loop {
        let started = Instant::now();
        let own = Arc::clone(&source);
        let looked = tokio::task::spawn_blocking(move || own.uncommitted()).await;
        // A repository that cannot be read is the reconciler's to tell.
        if let Ok(Ok(files)) = looked {
            let now: BTreeSet<(String, Change)> = files
                .into_iter()
                .map(|file| (file.path, file.change))
                .collect();
            let new: Vec<&str> = now
                .difference(&mentioned)
                .map(|(path, _)| path.as_str())
                .collect();
            if !new.is_empty() {
                let names = new.iter().take(5).copied().collect::<Vec<_>>().join(", ");
                let more = new.len().saturating_sub(5);
                let rest = if more > 0 {
                    format!(" and {more} more")
                } else {
                    String::new()
                };
                voice.tell(
                    Tint::Warn,
                    "Uncommitted",
                    &format!("{names}{rest}: changed and not committed, so it does not count yet"),
                    json!({"files": new}),
                );
            }
            mentioned = now;
        }
        // A large tree is looked at less often.
        tokio::time::sleep(LOOK.max(started.elapsed() * 20)).await;
    }
}
