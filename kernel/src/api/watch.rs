//! The watch: rows of the state as JSON, all of them at first, then each change, with a token to go
//! on from.

use kelson_kernel_core::record::Task;
use kelson_kernel_core::{RowKey, State, report};
use kelson_model::id::Index;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::api::views;
use crate::kernel::Kernel;

/// Rows of one batch, and their bytes as JSON: well below what one message may have.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 1 << 20;
/// Batches that may wait for a slow watcher; the newest states are skipped meanwhile, never a row.
const WAITING: usize = 16;

/// Rows that changed.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// The token.
    pub(crate) index: u64,
    /// Whether what is known must be dropped first.
    pub(crate) restart: bool,
    /// Whether the watcher now knows the state as of `index`.
    pub(crate) current: bool,
    /// The rows.
    pub(crate) rows: Vec<Row>,
}

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// `object`, `task`, …
    pub(crate) kind: &'static str,
    /// Names it within its kind.
    pub(crate) key: String,
    /// Absent: it is gone.
    pub(crate) json: Option<Value>,
}

/// The kinds of rows.
pub(crate) const KINDS: [&str; 7] = [
    "object",
    "task",
    "agent",
    "framework",
    "source",
    "drift",
    "event",
];

/// Streams batches of these kinds (none: all) from `resume` on. The sending task ends when the
/// receiver is dropped or the log has stopped.
pub(crate) fn open_watch(
    kernel: &Kernel,
    kinds: Vec<String>,
    resume: u64,
) -> mpsc::Receiver<Batch> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let view = kernel.watch();
    tokio::spawn(run_watch(view, kinds, resume, sender));
    receiver
}

async fn run_watch(
    mut view: watch::Receiver<State>,
    kinds: Vec<String>,
    resume: u64,
    sender: mpsc::Sender<Batch>,
) {
    let wants = |kind: &str| kinds.is_empty() || kinds.iter().any(|wanted| wanted == kind);
    let mut seen = Index(resume);
    let mut is_first = true;
    loop {
        let state = view.borrow_and_update().clone();
        let is_unknown = is_first && resume == 0
            || seen > state.index
            || wants("event") && !state.knows_events_since(seen);
        let known = if is_unknown {
            None
        } else {
            state.changed_since(seen)
        };
        let (restart, keys): (bool, Vec<RowKey>) = match known {
            Some(keys) => (false, keys.cloned().collect()),
            None => (true, all_keys(&state)),
        };
        let rows: Vec<Row> = keys
            .iter()
            .filter(|key| wants(kind_of(key)))
            .map(|key| row(&state, key))
            .collect();
        if is_first || restart || !rows.is_empty() {
            let mut batches = into_batches(rows);
            if batches.is_empty() {
                batches.push(Vec::new());
            }
            let last = batches.len() - 1;
            for (place, rows) in batches.into_iter().enumerate() {
                let current = place == last;
                // A token counts only once everything before it was sent.
                let index = if current { state.index.0 } else { seen.0 };
                if sender
                    .send(Batch {
                        index,
                        restart: restart && place == 0,
                        current,
                        rows,
                    })
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
        is_first = false;
        seen = state.index;
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            () = sender.closed() => return,
        }
    }
}

/// Cuts rows into batches that fit a message; a single larger row stands alone.
fn into_batches(rows: Vec<Row>) -> Vec<Vec<Row>> {
    let mut batches: Vec<Vec<Row>> = Vec::new();
    let mut bytes = BATCH_BYTES;
    for row in rows {
        let size = row.json.as_ref().map_or(0, |json| json.to_string().len());
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH && bytes + size <= BATCH_BYTES => {
                bytes += size;
                batch.push(row);
            }
            Some(_) | None => {
                bytes = size;
                batches.push(vec![row]);
            }
        }
    }
    batches
}

fn all_keys(state: &State) -> Vec<RowKey> {
    (state.sources.keys().cloned().map(RowKey::Source))
        .chain(state.frameworks.keys().cloned().map(RowKey::Framework))
        .chain(state.agents.keys().copied().map(RowKey::Agent))
        .chain(state.objects.keys().cloned().map(RowKey::Object))
        .chain(state.tasks.keys().copied().map(RowKey::Task))
        .chain([RowKey::Drift])
        .chain(
            state
                .events
                .iter()
                .map(|event| RowKey::Event(event.index.0, event.place)),
        )
        .collect()
}

fn kind_of(key: &RowKey) -> &'static str {
    match key {
        RowKey::Object(_) => "object",
        RowKey::Task(_) => "task",
        RowKey::Agent(_) => "agent",
        RowKey::Framework(_) => "framework",
        RowKey::Source(_) => "source",
        RowKey::Drift => "drift",
        RowKey::Event(..) => "event",
    }
}

fn row(state: &State, key: &RowKey) -> Row {
    let kind = kind_of(key);
    match key {
        RowKey::Object(name) => Row {
            kind,
            key: name.to_string(),
            json: state
                .objects
                .get(name)
                .map(|object| views::object_row(state, object)),
        },
        RowKey::Task(id) => Row {
            kind,
            key: id.to_string(),
            json: state.tasks.get(id).map(|task| task_row(state, task)),
        },
        RowKey::Agent(id) => Row {
            kind,
            key: id.to_string(),
            json: state
                .agents
                .get(id)
                .map(|agent| views::agent_view(state, agent)),
        },
        RowKey::Framework(name) => {
            let json = state
                .frameworks
                .get(name)
                .map(|framework| views::framework_row(framework));
            Row {
                kind,
                key: name.name.clone(),
                json,
            }
        }
        RowKey::Source(name) => Row {
            kind,
            key: name.clone(),
            json: state.sources.get(name).map(|source| json!(**source)),
        },
        RowKey::Drift => Row {
            kind,
            key: String::new(),
            json: Some(json!(
                state.drift.iter().map(|item| &**item).collect::<Vec<_>>()
            )),
        },
        RowKey::Event(index, place) => {
            let event = state.event(Index(*index), *place);
            Row {
                kind,
                key: format!("{index}.{place}"),
                json: event.map(|event| views::event_view(event)),
            }
        }
    }
}

fn task_row(state: &State, task: &Task) -> Value {
    let mut row = json!(report::task_row(state, task));
    if let Value::Object(fields) = &mut row {
        fields.insert(
            "stop".to_owned(),
            task.stop.as_ref().map_or(
                Value::Null,
                |stop| json!({"reason": stop.reason, "by": stop.by}),
            ),
        );
        fields.insert(
            "exitByAgent".to_owned(),
            json!(task.exit.as_ref().is_some_and(|exit| exit.by_agent)),
        );
        fields.insert("isEnded".to_owned(), json!(task.state.is_terminal()));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_cut_by_rows_and_by_bytes_and_lose_nothing() {
        let row = |size: usize| Row {
            kind: "object",
            key: String::new(),
            json: Some(Value::String("x".repeat(size))),
        };
        let counts = |rows: Vec<Row>| into_batches(rows).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(counts(vec![row(1); 1200]), [500, 500, 200]);
        assert_eq!(counts(vec![row(400 << 10); 5]), [2, 2, 1]);
        assert_eq!(counts(vec![row(2 << 20), row(1)]), [1, 1]);
        assert!(counts(Vec::new()).is_empty());
    }
}
