//! The watch: rows of the state as JSON, all of them at first, then each change, with a token to go
//! on from.

use std::iter::Peekable;
use std::sync::Arc;

use kelson_kernel_core::{RowKey, State, report};
use kelson_model::id::Index;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::api::views;
use crate::kernel::Kernel;
use crate::raft::ReadError;

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
    pub(crate) rows: Vec<Line>,
}

/// One row as it is sent. Many wait at a time, and text takes a tenth of what its values take.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// `object`, `task`, …
    pub(crate) kind: &'static str,
    /// Names it within its kind.
    pub(crate) key: String,
    /// JSON text; absent: it is gone.
    pub(crate) json: Option<String>,
}

/// One row.
struct Row {
    kind: &'static str,
    key: String,
    json: Option<Value>,
}

impl From<Row> for Line {
    fn from(row: Row) -> Self {
        Self {
            kind: row.kind,
            key: row.key,
            json: row.json.map(|json| json.to_string()),
        }
    }
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

/// What a watch goes on from.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    /// The index of the last batch; 0: from the beginning.
    pub(crate) index: u64,
    /// The cluster of that batch; empty: not known.
    pub(crate) cluster: String,
}

/// Streams batches of these kinds (none: all) from a token on, whichever member has given it. The
/// sending task ends when the receiver is dropped or the log has stopped.
///
/// # Errors
/// This member has not applied the token's index, and cannot find out whether it will.
pub(crate) async fn open_watch(
    kernel: &Kernel,
    kinds: Vec<String>,
    token: Token,
) -> Result<mpsc::Receiver<Batch>, ReadError> {
    let view = kernel.watch();
    let (known, cluster) = {
        let state = view.borrow();
        (state.index.0, state.cluster.clone())
    };
    // The index of another cluster says nothing about this one.
    let is_own = token.cluster.is_empty() || token.cluster == cluster;
    let resume = if is_own { token.index } else { 0 };
    if resume > known {
        // Another member was ahead, or it is a token of another life: what was committed is
        // applied here first, and then it is clear which.
        kernel.member().read_barrier().await?;
    }
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(run_watch(view, kinds, resume, sender));
    Ok(receiver)
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
        let (mut restart, mut keys): (bool, Vec<RowKey>) = match known {
            Some(keys) => (false, keys),
            None => (true, all_keys(&state)),
        };
        keys.retain(|key| wants(kind_of(key)));
        let mut rows = Lines {
            state: state.clone(),
            keys: keys.into_iter(),
        }
        .peekable();
        let mut next = next_batch(&mut rows);
        if next.is_none() && (is_first || restart) {
            next = Some(Vec::new());
        }
        while let Some(batch) = next {
            next = next_batch(&mut rows);
            let current = next.is_none();
            let batch = Batch {
                // A token counts only once everything before it was sent.
                index: if current { state.index.0 } else { seen.0 },
                restart: std::mem::take(&mut restart),
                current,
                rows: batch,
            };
            if sender.send(batch).await.is_err() {
                return;
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

/// The rows of these keys. They are made as they are taken: all of them at once would be several
/// times as large as the state.
struct Lines {
    state: State,
    keys: std::vec::IntoIter<RowKey>,
}

impl Iterator for Lines {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        let key = self.keys.next()?;
        Some(row(&self.state, &key).into())
    }
}

/// The next rows that fit a message; a single larger row stands alone.
fn next_batch(rows: &mut Peekable<impl Iterator<Item = Line>>) -> Option<Vec<Line>> {
    let size = |row: &Line| row.json.as_ref().map_or(0, String::len);
    let first = rows.next()?;
    let mut bytes = size(&first);
    let mut batch = vec![first];
    while let Some(row) =
        rows.next_if(|row| batch.len() < BATCH && bytes + size(row) <= BATCH_BYTES)
    {
        bytes += size(&row);
        batch.push(row);
    }
    Some(batch)
}

fn all_keys(state: &State) -> Vec<RowKey> {
    let sources = state.sources.keys().cloned();
    let frameworks = state.frameworks.keys().cloned();
    let objects = state.objects.keys().cloned();
    (sources.map(|name| RowKey::Source(Arc::new(name))))
        .chain(frameworks.map(|key| RowKey::Framework(Arc::new(key))))
        .chain(state.agents.keys().copied().map(RowKey::Agent))
        .chain(objects.map(|key| RowKey::Object(Arc::new(key))))
        .chain(state.tasks.ids().map(RowKey::Task))
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
                .get(&**name)
                .map(|object| json!(views::object_row(state, object))),
        },
        RowKey::Task(id) => Row {
            kind,
            key: id.to_string(),
            json: state
                .tasks
                .get(*id)
                .map(|task| json!(report::task_row(state, task))),
        },
        RowKey::Agent(id) => Row {
            kind,
            key: id.to_string(),
            json: state
                .agents
                .get(id)
                .map(|agent| json!(views::agent_view(state, agent))),
        },
        RowKey::Framework(name) => {
            let json = state
                .frameworks
                .get(&**name)
                .map(|framework| json!(views::framework_row(framework)));
            Row {
                kind,
                key: format!("{}/{}", name.namespace, name.name),
                json,
            }
        }
        RowKey::Source(name) => Row {
            kind,
            key: name.to_string(),
            json: state.sources.get(&**name).map(|source| json!(**source)),
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
                json: event.map(|event| json!(views::event_view(event))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_cut_by_rows_and_by_bytes_and_lose_nothing() {
        let row = |size: usize| Line {
            kind: "object",
            key: String::new(),
            json: Some("x".repeat(size)),
        };
        let counts = |rows: Vec<Line>| {
            let mut rows = rows.into_iter().peekable();
            std::iter::from_fn(|| next_batch(&mut rows))
                .map(|batch| batch.len())
                .collect::<Vec<_>>()
        };
        assert_eq!(counts(vec![row(1); 1200]), [500, 500, 200]);
        assert_eq!(counts(vec![row(400 << 10); 5]), [2, 2, 1]);
        assert_eq!(counts(vec![row(2 << 20), row(1)]), [1, 1]);
        assert!(counts(Vec::new()).is_empty());
    }
}
