//! `kelson logs`: what tasks write.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use futures_util::stream::FuturesUnordered;
use kelson_model::code::Code;
use kelson_model::id::TaskId;
use kelson_model::object::ObjectKey;
use kelson_model::report::TaskRow;
use kelson_model::task::TaskState;
use serde_json::json;

use super::target::{Target, in_order, keys, status, task, tasks};
use super::tasks::{exit_words, state_word};
use crate::client::{Client, WatchBatch};
use crate::context::Context;
use crate::exit::{Exit, Failure, failure_of};
use crate::output::{Format, emit, plain, say};

/// What may be typed behind `logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// A task (tsk_7, web.0), or an object: all its tasks that have not ended
    #[arg(value_name = "TASK|[KIND/]NAME")]
    what: String,
    /// Go on
    #[arg(short, long)]
    follow: bool,
    /// Only this stream
    #[arg(long, value_enum)]
    stream: Option<Stream>,
    /// How many bytes of the end of each stream
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 10)]
    tail: u64,
}

/// One of a task's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stream {
    /// What it prints.
    Stdout,
    /// What it says.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Between two looks at a task whose agent has nothing of it yet.
const UNSTARTED: Duration = Duration::from_millis(200);
/// Longest line that is kept together.
const LINE_BYTES: usize = 64 << 10;

pub(crate) async fn run(arguments: &Logs, context: &Context) -> Result<Exit> {
    let client = context.client().await?;
    let what = &arguments.what;
    if what.starts_with("tsk_") || what.contains('.') {
        let found = task(&client, context, what).await;
        if found.is_err() && what.parse::<TaskId>().is_ok() {
            // The kernel knows whether there ever was one of this number.
            client.stream("/v1/logs", &[("task", what)]).await?;
        }
        let row = found?;
        if arguments.follow {
            unstarted(&row).iter().for_each(|words| say(words));
        }
        let reading = Reading::new(&client, arguments, context, false);
        reading.read(row, Some(arguments.tail)).await?;
        return Ok(Exit::Done);
    }
    let target: Target = what.parse().map_err(Failure::usage)?;
    let key = target.find(&client, context).await?;
    let rows = of_object(&client, &key).await?;
    if rows.is_empty() && !arguments.follow {
        return Err(Failure::new(Exit::Refused, format!("{key} has no tasks"))
            .with_hint(format!("`kelson why {what} -n {}` says why", key.namespace))
            .into());
    }
    let reading = Reading::new(&client, arguments, context, rows.len() != 1);
    if arguments.follow {
        follow_object(&client, &reading, &key, rows).await?;
    } else {
        for row in rows {
            reading.read(row, Some(arguments.tail)).await?;
        }
    }
    Ok(Exit::Done)
}

/// Follows the tasks of an object, and those that come after them, until it is gone and all have
/// ended.
async fn follow_object(
    client: &Client,
    reading: &Reading<'_>,
    key: &ObjectKey,
    first: Vec<TaskRow>,
) -> Result<()> {
    let mut rows = client.watch("task,object", None).await?;
    let mut begun: BTreeSet<String> = BTreeSet::new();
    let mut reads = FuturesUnordered::new();
    for row in first {
        unstarted(&row).iter().for_each(|words| say(words));
        begun.insert(row.id.clone());
        reads.push(reading.follow(row, Some(reading.arguments.tail)));
    }
    loop {
        tokio::select! {
            Some(read) = reads.next(), if !reads.is_empty() => {
                // What goes wrong with one task ends no other's output.
                if let Err(error) = read {
                    say(&plain(&error.to_string()));
                }
            }
            batch = rows.line::<WatchBatch>() => {
                let Some(batch) = batch? else {
                    let ended = format!("{} has ended", client.address());
                    return Err(Failure::new(Exit::NothingListens, ended).into());
                };
                for row in new_tasks(batch, key, &mut begun) {
                    say(&format!("{} ({}) is new", row.name, row.id));
                    // Nothing of it has been shown.
                    reads.push(reading.follow(row, None));
                }
            }
        }
        if reads.is_empty() {
            let there = keys(&status(client, Some(&key.namespace)).await?)?;
            if !there.contains(key) {
                say(&format!("{key} is gone"));
                return Ok(());
            }
        }
    }
}

/// The tasks of an object in a batch that have not ended and have not been begun.
fn new_tasks(batch: WatchBatch, key: &ObjectKey, begun: &mut BTreeSet<String>) -> Vec<TaskRow> {
    let rows = batch.rows.into_iter().filter(|row| row.kind == "task");
    rows.filter_map(|row| serde_json::from_value::<TaskRow>(row.json).ok())
        .filter(|row| row.workload == *key && !row.state.is_terminal())
        .filter(|row| begun.insert(row.id.clone()))
        .collect()
}

/// The tasks of an object that have not ended; where all have, the last one, which has the answer.
async fn of_object(client: &Client, key: &ObjectKey) -> Result<Vec<TaskRow>> {
    let list = tasks(client, Some(&key.namespace)).await?;
    let own = list.items.into_iter().filter(|task| task.workload == *key);
    let (ended, live): (Vec<TaskRow>, Vec<TaskRow>) =
        own.partition(|task| task.state.is_terminal());
    if live.is_empty() {
        Ok(in_order(ended).pop().into_iter().collect())
    } else {
        Ok(live)
    }
}

/// How tasks are read.
struct Reading<'c> {
    client: &'c Client,
    context: &'c Context,
    arguments: &'c Logs,
    is_prefixed: bool,
    format: Format,
}

impl<'c> Reading<'c> {
    fn new(
        client: &'c Client,
        arguments: &'c Logs,
        context: &'c Context,
        is_prefixed: bool,
    ) -> Self {
        Self {
            client,
            context,
            arguments,
            is_prefixed,
            format: context.format(),
        }
    }

    /// Prints what a task writes that may not have begun, as soon as its agent has it.
    async fn follow(&self, mut row: TaskRow, tail: Option<u64>) -> Result<()> {
        loop {
            let id = row.id.clone();
            let Err(error) = self.read(row, tail).await else {
                return Ok(());
            };
            row = task(self.client, self.context, &id).await?;
            let code = failure_of(&error).and_then(|failure| failure.code.clone());
            let is_to_come = code == Some(Code::OutputAway.into()) && !row.state.is_terminal();
            if !is_to_come {
                return never_ran(&row, error);
            }
            tokio::time::sleep(UNSTARTED).await;
        }
    }

    /// Prints what a task writes, the end of what it has written first; says so where there is
    /// nothing.
    async fn read(&self, row: TaskRow, tail: Option<u64>) -> Result<()> {
        let one = self.arguments.stream;
        let streams = one.map_or_else(|| vec![Stream::Stdout, Stream::Stderr], |one| vec![one]);
        let reads = streams.into_iter().map(|stream| {
            let mut printer = Printer {
                row: &row,
                stream,
                is_prefixed: self.is_prefixed,
                format: self.format,
                rest: Vec::new(),
                is_silent: true,
            };
            async move {
                self.print(&mut printer, tail).await?;
                Ok::<_, anyhow::Error>(printer.is_silent)
            }
        });
        let read = if self.arguments.follow {
            try_join_all(reads).await
        } else {
            // One after the other, so that the two do not mix.
            let mut silent = Vec::new();
            for read in reads {
                match read.await {
                    Ok(is_silent) => silent.push(is_silent),
                    Err(error) => return never_ran(&row, error),
                }
            }
            Ok(silent)
        };
        match read {
            Err(error) => never_ran(&row, error),
            Ok(silent) => {
                // Whoever wants nothing of the past is not told that there was nothing.
                if silent.iter().all(|is_silent| *is_silent) && tail != Some(0) {
                    say(&unstarted(&row).unwrap_or_else(|| silence(&row, one)));
                }
                Ok(())
            }
        }
    }

    async fn print(&self, printer: &mut Printer<'_>, tail: Option<u64>) -> Result<()> {
        let tail = tail.map(|tail| tail.to_string());
        let mut query = vec![
            ("task", printer.row.id.as_str()),
            ("stream", printer.stream.name()),
        ];
        query.extend(tail.as_deref().map(|tail| ("tail", tail)));
        if self.arguments.follow {
            query.push(("follow", "true"));
        }
        let mut stream = self.client.stream("/v1/logs", &query).await?;
        while let Some(chunk) = stream.chunk().await? {
            printer.take(&chunk)?;
        }
        printer.finish()
    }
}

/// Says of a task without output that it never ran, and why; that of any other is gone.
fn never_ran(row: &TaskRow, error: anyhow::Error) -> Result<()> {
    let code = failure_of(&error).and_then(|failure| failure.code.clone());
    let is_gone = code == Some(Code::OutputGone.into());
    if !(is_gone && row.state.is_terminal() && row.started_at.is_none()) {
        return Err(error);
    }
    say(&unwritten(row));
    Ok(())
}

fn unwritten(row: &TaskRow) -> String {
    let why = exit_words(&row.exit);
    let why = if why.is_empty() {
        String::new()
    } else {
        format!(": {}", plain(&why))
    };
    format!(
        "{} ({}) never ran, and wrote nothing{why}",
        row.name, row.id
    )
}

/// Says of a task that has not started that it cannot have written anything, and why it has not.
fn unstarted(row: &TaskRow) -> Option<String> {
    let what = match row.state {
        TaskState::Staging => "waits for its agent",
        TaskState::Starting => "is being started",
        TaskState::Running
        | TaskState::Stopping
        | TaskState::Finished
        | TaskState::Failed
        | TaskState::Killed
        | TaskState::Lost => return None,
    };
    let why = row.message.as_deref().filter(|it| !it.is_empty());
    let why = why.map_or_else(String::new, |why| format!(": {}", plain(why)));
    Some(format!(
        "{} ({}) has written nothing yet: it {what}{why}",
        row.name, row.id
    ))
}

/// Says of a task that nothing of what it wrote is there, and how it ended if it did.
fn silence(row: &TaskRow, stream: Option<Stream>) -> String {
    let place = stream.map_or_else(String::new, |stream| format!(" to {}", stream.name()));
    let (name, id) = (&row.name, &row.id);
    if !row.state.is_terminal() {
        return format!(
            "{name} ({id}) has written nothing{place} yet; it is {}",
            state_word(row.state)
        );
    }
    let reason = row.exit.reason.as_deref().filter(|it| !it.is_empty());
    let reason = reason.map_or_else(String::new, |reason| format!(": {}", plain(reason)));
    format!(
        "{name} ({id}) has written nothing{place}; it is {}{reason}",
        state_word(row.state)
    )
}

/// Prints one stream of one task, in whole lines.
struct Printer<'r> {
    row: &'r TaskRow,
    stream: Stream,
    is_prefixed: bool,
    format: Format,
    rest: Vec<u8>,
    /// Whether nothing has come yet.
    is_silent: bool,
}

impl Printer<'_> {
    fn take(&mut self, chunk: &[u8]) -> Result<()> {
        self.is_silent &= chunk.is_empty();
        self.rest.extend_from_slice(chunk);
        while let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=at).collect();
            self.print(line.strip_suffix(b"\n").unwrap_or(&line))?;
        }
        if self.rest.len() > LINE_BYTES {
            self.finish()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() {
            Ok(())
        } else {
            self.print(&rest)
        }
    }

    fn print(&self, line: &[u8]) -> Result<()> {
        emit(&self.shown(&String::from_utf8_lossy(line)))
    }

    fn shown(&self, line: &str) -> String {
        match self.format {
            Format::Json | Format::Yaml => {
                let shown = json!({"task": self.row.id, "name": self.row.name, "stream": self.stream.name(), "line": line});
                format!("{shown}\n")
            }
            Format::Wide => format!(
                "{} {} {} | {line}\n",
                self.row.name,
                self.row.id,
                self.stream.name()
            ),
            Format::Table if self.is_prefixed => format!("{} | {line}\n", self.row.name),
            Format::Table => format!("{line}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn row(rest: &str) -> TaskRow {
        let workload = r#"{"kind": "Service", "namespace": "shop", "name": "web"}"#;
        let row = format!(r#"{{"id": "tsk_1", "name": "web.0", "workload": {workload}, {rest}}}"#);
        serde_json::from_str(&row).unwrap()
    }

    #[test]
    fn a_task_that_has_not_started_says_why() {
        let waits = row(r#""state": "staging", "message": "the blob is fetched""#);
        assert_eq!(
            unstarted(&waits).unwrap(),
            "web.0 (tsk_1) has written nothing yet: it waits for its agent: the blob is fetched"
        );
        assert_eq!(unstarted(&row(r#""state": "running""#)), None);
    }

    #[test]
    fn a_task_that_never_ran_says_so_and_why() {
        let gone = || {
            Failure::new(Exit::Refused, "gone")
                .with_code(Code::OutputGone)
                .into()
        };
        let exit = r#""state": "failed", "exit": {"oom": false, "reason": "port 80 is taken"}"#;
        let failed = row(exit);
        assert!(never_ran(&failed, gone()).is_ok());
        assert_eq!(
            unwritten(&failed),
            "web.0 (tsk_1) never ran, and wrote nothing: port 80 is taken"
        );
        let ran = row(&format!(r#"{exit}, "startedAt": "2026-01-01T00:00:00Z""#));
        assert!(never_ran(&ran, gone()).is_err());
    }

    #[test]
    fn a_task_that_comes_after_those_that_are_followed_is_followed_once() {
        let key = row(r#""state": "running""#).workload;
        let batch = |id: &str, state: &str, name: &str| -> WatchBatch {
            let workload = json!({"kind": "Service", "namespace": "shop", "name": name});
            let task = json!({"id": id, "name": "web.0", "workload": workload, "state": state});
            let rows = json!([{"kind": "task", "key": id, "json": task},
                {"kind": "task", "key": "tsk_1", "json": null}, {"kind": "object", "key": "x", "json": {}}]);
            serde_json::from_value(json!({"index": 1, "rows": rows})).unwrap()
        };
        let mut begun = BTreeSet::from(["tsk_1".to_owned()]);
        let mut new = |id, state, name| new_tasks(batch(id, state, name), &key, &mut begun).len();
        assert_eq!(new("tsk_1", "running", "web"), 0);
        assert_eq!(new("tsk_2", "failed", "web"), 0);
        assert_eq!(new("tsk_3", "staging", "api"), 0);
        assert_eq!(new("tsk_4", "staging", "web"), 1);
        assert_eq!(new("tsk_4", "running", "web"), 0);
    }

    #[test]
    fn a_task_that_wrote_nothing_says_how_it_stands() {
        assert_eq!(
            silence(&row(r#""state": "running""#), Some(Stream::Stderr)),
            "web.0 (tsk_1) has written nothing to stderr yet; it is running"
        );
        let failed =
            row(r#""state": "failed", "exit": {"oom": false, "reason": "no program 'x'"}"#);
        assert_eq!(
            silence(&failed, None),
            "web.0 (tsk_1) has written nothing; it is failed: no program 'x'"
        );
    }
}
