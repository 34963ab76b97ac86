//! `kelson logs`: what tasks write.

use anyhow::Result;
use clap::{Args, ValueEnum};
use futures_util::future::try_join_all;
use kelson_model::report::TaskRow;
use serde_json::json;

use super::target::{Target, task, tasks};
use crate::client::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Format, emit};

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
    let client = context.client()?;
    let rows = find(&client, context, &arguments.what).await?;
    let is_one = rows.len() == 1;
    let streams = arguments
        .stream
        .map_or_else(|| vec![Stream::Stdout, Stream::Stderr], |one| vec![one]);
    let reads = rows.iter().flat_map(|row| {
        let client = &client;
        streams.iter().map(move |stream| async move {
            let mut printer = Printer {
                row,
                stream: *stream,
                is_prefixed: !is_one,
                format: context.format(),
                rest: Vec::new(),
            };
            follow(client, arguments, &mut printer).await
        })
    });
    if arguments.follow {
        try_join_all(reads).await?;
    } else {
        for read in reads {
            read.await?;
        }
    }
    Ok(Exit::Done)
}

async fn find(client: &Client, context: &Context, what: &str) -> Result<Vec<TaskRow>> {
    if what.starts_with("tsk_") || what.contains('.') {
        return Ok(vec![task(client, context, what).await?]);
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
}

impl Printer<'_> {
    fn take(&mut self, chunk: &[u8]) -> Result<()> {
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
