//! `kelson logs`: what tasks write.

use anyhow::Result;
use clap::{Args, ValueEnum};
use futures_util::future::try_join_all;
use kelson_model::id::TaskId;
use kelson_model::report::TaskRow;
use kelson_model::task::TaskState;
use serde_json::json;

use super::target::{Target, task, tasks};
use super::tasks::state_word;
use crate::client::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};
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

/// Longest line that is kept together.
const LINE_BYTES: usize = 64 << 10;

pub(crate) async fn run(arguments: &Logs, context: &Context) -> Result<Exit> {
    let client = context.client().await?;
    let rows = find(&client, context, &arguments.what).await?;
    let is_one = rows.len() == 1;
    let streams = arguments
        .stream
        .map_or_else(|| vec![Stream::Stdout, Stream::Stderr], |one| vec![one]);
    if arguments.follow {
        rows.iter()
            .filter_map(unstarted)
            .for_each(|words| say(&words));
    }
    let reads = rows.iter().flat_map(|row| {
        let client = &client;
        streams.iter().map(move |stream| async move {
            let mut printer = Printer {
                row,
                stream: *stream,
                is_prefixed: !is_one,
                format: context.format(),
                rest: Vec::new(),
                is_silent: true,
            };
            follow(client, arguments, &mut printer).await?;
            Ok::<_, anyhow::Error>((row, printer.is_silent))
        })
    });
    let read = if arguments.follow {
        try_join_all(reads).await?
    } else {
        let mut all = Vec::new();
        for read in reads {
            all.push(read.await?);
        }
        all
    };
    for row in &rows {
        let is_silent = |(of, silent): &(&TaskRow, bool)| *silent || of.id != row.id;
        if read.iter().all(is_silent) {
            say(&unstarted(row).unwrap_or_else(|| silence(row, arguments.stream)));
        }
    }
    Ok(Exit::Done)
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

async fn find(client: &Client, context: &Context, what: &str) -> Result<Vec<TaskRow>> {
    if what.starts_with("tsk_") || what.contains('.') {
        let found = task(client, context, what).await;
        if found.is_err() && what.parse::<TaskId>().is_ok() {
            // The kernel knows whether there ever was one of this number.
            client.stream("/v1/logs", &[("task", what)]).await?;
        }
        return Ok(vec![found?]);
    }
    let target: Target = what.parse().map_err(Failure::usage)?;
    let key = target.find(client, context).await?;
    let list = tasks(client, Some(&key.namespace)).await?;
    let own: Vec<TaskRow> = list
        .items
        .into_iter()
        .filter(|task| task.workload == key)
        .collect();
    let live: Vec<TaskRow> = own
        .iter()
        .filter(|task| !task.state.is_terminal())
        .cloned()
        .collect();
    // Of an object whose tasks have all ended, the last one has the answer.
    let chosen = if live.is_empty() {
        own.into_iter().last().into_iter().collect()
    } else {
        live
    };
    if chosen.is_empty() {
        return Err(Failure::new(Exit::Refused, format!("{key} has no tasks"))
            .with_hint(format!("`kelson why {what} -n {}` says why", key.namespace))
            .into());
    }
    Ok(chosen)
}

async fn follow(client: &Client, arguments: &Logs, printer: &mut Printer<'_>) -> Result<()> {
    let tail = arguments.tail.to_string();
    let mut query = vec![
        ("task", printer.row.id.as_str()),
        ("stream", printer.stream.name()),
        ("tail", &tail),
    ];
    if arguments.follow {
        query.push(("follow", "true"));
    }
    let mut stream = client.stream("/v1/logs", &query).await?;
    while let Some(chunk) = stream.chunk().await? {
        printer.take(&chunk)?;
    }
    printer.finish()
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
