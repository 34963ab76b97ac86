//! `kelson events`: what has happened.

use anyhow::Result;
use clap::Args;
use kelson_model::object::Namespace;
use kelson_model::view::{EventView, List};
use serde_json::Value;

use super::target::Target;
use crate::client::{Client, WatchBatch};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{
    Cell, Format, Palette, Table, Tint, age, clock, emit, json_line, now, plain, print, say,
    to_yaml,
};

/// What may be typed behind `events`.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only what is about this object
    #[arg(value_name = "[KIND/]NAME")]
    object: Option<Target>,
    /// Only what came after this state
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    since: u64,
    /// Go on (with -o json, a line each)
    #[arg(short, long, short_alias = 'f', alias = "follow")]
    watch: bool,
}

/// What the kernel says has happened, oldest first.
pub(crate) type EventList = List<EventView>;

pub(crate) async fn run(arguments: &Events, context: &Context) -> Result<Exit> {
    let client = context.client().await?;
    let palette = context.palette();
    let limit = context.limit()?;
    if let Some(target) = &arguments.object {
        // Of an object that is gone there may still be events.
        let all: EventList = client.get_as("/v1/events", &[("since", "0")]).await?;
        let is_its = |event: &EventView| is_wanted(event, limit.as_ref(), arguments);
        if !all.items.iter().any(is_its) {
            target.ensure_there(&client, limit.as_ref()).await?;
        }
    }
    if !arguments.watch {
        let list = fetch(&client, context, arguments).await?;
        print(context.format(), &list, |is_wide| {
            table(&list.items, is_wide, palette)
        })?;
        return Ok(Exit::Done);
    }
    let mut batches = client.watch("event", Some(arguments.since)).await?;
    let mut news = News {
        shown: (arguments.since, u32::MAX),
        has_begun: false,
    };
    while let Some(batch) = batches.line::<WatchBatch>().await? {
        if news.has_missed(&batch) {
            say("more has happened at once than the kernel keeps: some events are missing here");
        }
        for row in news.take(batch) {
            let event: EventView = client.parsed("/v1/watch", row)?;
            if is_wanted(&event, limit.as_ref(), arguments) {
                emit(&line(&event, context.format(), palette)?)?;
            }
        }
    }
    Err(Failure::new(
        Exit::NothingListens,
        format!("{} has ended", client.address()),
    )
    .into())
}

/// Which events of a watch have been shown.
struct News {
    /// The newest, by its entry and its place among the events of that entry.
    shown: (u64, u32),
    has_begun: bool,
}

impl News {
    /// Whether the kernel has dropped events before they were seen.
    fn has_missed(&self, batch: &WatchBatch) -> bool {
        batch.restart && self.has_begun
    }

    /// The events of a batch that are new, as JSON, oldest first.
    fn take(&mut self, batch: WatchBatch) -> Vec<Value> {
        self.has_begun |= batch.current;
        let named = batch.rows.into_iter().filter_map(|row| {
            let (index, place) = row.key.split_once('.')?;
            let name = (index.parse::<u64>().ok()?, place.parse::<u32>().ok()?);
            (!row.json.is_null()).then_some((name, row.json))
        });
        let mut new = Vec::new();
        for (name, json) in named {
            if name > self.shown {
                self.shown = name;
                new.push(json);
            }
        }
        new
    }
}

fn is_wanted(event: &EventView, limit: Option<&Namespace>, arguments: &Events) -> bool {
    match (&event.object, &arguments.object) {
        // What is about no object (a revision, an agent) is about every namespace.
        (None, wanted) => wanted.is_none(),
        (Some(object), wanted) => {
            limit.is_none_or(|limit| object.namespace == *limit)
                && wanted
                    .as_ref()
                    .is_none_or(|target| target.is(&object.kind, &object.name))
        }
    }
}

async fn fetch(client: &Client, context: &Context, arguments: &Events) -> Result<EventList> {
    let limit = context.limit()?;
    let since = arguments.since.to_string();
    let mut list: EventList = client.get_as("/v1/events", &[("since", &since)]).await?;
    list.items
        .retain(|event| is_wanted(event, limit.as_ref(), arguments));
    Ok(list)
}

fn line(event: &EventView, format: Format, palette: Palette) -> Result<String> {
    Ok(match format {
        Format::Json => json_line(event)?,
        Format::Yaml => format!("---\n{}", to_yaml(event)?),
        Format::Table | Format::Wide => {
            let object = event
                .object
                .as_ref()
                .map_or_else(String::new, |object| format!(" {object}:"));
            format!(
                "{} {}{object} {}\n",
                palette.paint(Tint::Dim, &clock(&event.at)),
                palette.paint(tint_of(&event.reason), &plain(&event.reason)),
                plain(&event.message)
            )
        }
    })
}

/// The list for people.
pub(crate) fn table(events: &[EventView], is_wide: bool, palette: Palette) -> String {
    let now = now();
    let mut heads = vec!["AGE", "REASON", "OBJECT", "BY"];
    if is_wide {
        heads.insert(0, "INDEX");
    }
    heads.push("MESSAGE");
    let mut table = Table::new(heads);
    for event in events {
        let mut row: Vec<Cell> = vec![
            age(&event.at, now).into(),
            Cell::new(&event.reason, tint_of(&event.reason)),
            Cell::maybe(event.object.as_ref().map(ToString::to_string)),
            event.by.actor.as_str().into(),
            event.message.as_str().into(),
        ];
        if is_wide {
            row.insert(0, event.index.to_string().into());
        }
        table.push(row);
    }
    table.render(palette)
}

/// What an event means.
pub(crate) fn tint_of(reason: &str) -> Tint {
    let has = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if has(&[
        "Refused",
        "Failed",
        "RolledBack",
        "Quarantined",
        "Gone",
        "Lost",
        "Degraded",
        "Fault",
    ]) {
        Tint::Bad
    } else if has(&[
        "Held",
        "Drift",
        "ByHand",
        "Unreachable",
        "Ended",
        "Paused",
        "Missing",
    ]) {
        Tint::Warn
    } else if has(&[
        "Accepted",
        "Healthy",
        "Complete",
        "Healed",
        "Ready",
        "Confirmed",
        "Installed",
    ]) {
        Tint::Good
    } else {
        Tint::Plain
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    fn batch(restart: bool, keys: &[&str]) -> WatchBatch {
        let rows: Vec<Value> = keys
            .iter()
            .map(|key| json!({"kind": "event", "key": key, "json": key}))
            .collect();
        let line = json!({"index": 9, "restart": restart, "current": true, "rows": rows});
        serde_json::from_value(line).unwrap()
    }

    #[test]
    fn an_event_is_shown_once_and_what_was_missed_is_said() {
        let mut news = News {
            shown: (3, u32::MAX),
            has_begun: false,
        };
        let first = batch(true, &["3.0", "4.0", "4.1"]);
        assert!(!news.has_missed(&first), "it is only the beginning");
        assert_eq!(news.take(first), ["4.0", "4.1"]);
        assert_eq!(news.take(batch(false, &["4.2", "10.0"])), ["4.2", "10.0"]);
        let again = batch(true, &["4.2", "10.0", "10.1"]);
        assert!(news.has_missed(&again));
        assert_eq!(news.take(again), ["10.1"]);
    }
}
