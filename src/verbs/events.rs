//! `kelson events`: what has happened.

use anyhow::Result;
use clap::Args;
use kelson_model::object::ObjectKey;
use kelson_model::principal::Principal;
use serde::{Deserialize, Serialize};

use super::target::Target;
use crate::client::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Cell, Format, Palette, Table, Tint, age, clock, emit, now, print, to_yaml};

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

/// What the kernel says has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventList {
    /// Always `kelson/v1`.
    pub(crate) api_version: String,
    /// Always `EventList`.
    pub(crate) kind: String,
    /// Oldest first.
    pub(crate) items: Vec<Event>,
}

/// One thing that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    /// The log entry that made it so.
    pub(crate) index: u64,
    /// RFC 3339.
    pub(crate) at: String,
    /// A short, stable name: `TaskStarted`.
    pub(crate) reason: String,
    /// The object it is about.
    pub(crate) object: Option<ObjectKey>,
    /// A sentence.
    pub(crate) message: String,
    /// Who asked for it.
    pub(crate) by: Principal,
}

pub(crate) async fn run(arguments: &Events, context: &Context) -> Result<Exit> {
    let client = context.client()?;
    let palette = context.palette();
    if !arguments.watch {
        let list = fetch(&client, context, arguments, arguments.since).await?;
        print(context.format(), &list, |is_wide| {
            table(&list.items, is_wide, palette)
        })?;
        return Ok(Exit::Done);
    }
    let mut changes = client.watch("event", None).await?;
    let mut since = arguments.since;
    // Several events may share an index, so those of the newest one are remembered.
    let mut shown: Vec<Event> = Vec::new();
    while changes.changed().await? {
        let list = fetch(&client, context, arguments, since.saturating_sub(1)).await?;
        for event in list.items {
            if event.index < since || shown.contains(&event) {
                continue;
            }
            if event.index > since {
                since = event.index;
                shown.clear();
            }
            emit(&line(&event, context.format(), palette)?)?;
            shown.push(event);
        }
    }
    Err(Failure::new(
        Exit::NothingListens,
        format!("{} has ended", client.address()),
    )
    .into())
}

async fn fetch(
    client: &Client,
    context: &Context,
    arguments: &Events,
    since: u64,
) -> Result<EventList> {
    let limit = context.limit()?;
    let since = since.to_string();
    let mut list: EventList = client.get_as("/v1/events", &[("since", &since)]).await?;
    list.items
        .retain(|event| match (&event.object, &arguments.object) {
            // What is about no object (a revision, an agent) is about every namespace.
            (None, wanted) => wanted.is_none(),
            (Some(object), wanted) => {
                limit
                    .as_ref()
                    .is_none_or(|limit| object.namespace == *limit)
                    && wanted
                        .as_ref()
                        .is_none_or(|target| target.is(&object.kind, &object.name))
            }
        });
    Ok(list)
}

fn line(event: &Event, format: Format, palette: Palette) -> Result<String> {
    Ok(match format {
        Format::Json => format!("{}\n", serde_json::to_string(event)?),
        Format::Yaml => format!("---\n{}", to_yaml(event)?),
        Format::Table | Format::Wide => {
            let object = event
                .object
                .as_ref()
                .map_or_else(String::new, |object| format!(" {object}:"));
            format!(
                "{} {}{object} {}\n",
                palette.paint(Tint::Dim, &clock(&event.at)),
                palette.paint(tint_of(&event.reason), &event.reason),
                crate::output::plain(&event.message)
            )
        }
    })
}

/// The list for people.
pub(crate) fn table(events: &[Event], is_wide: bool, palette: Palette) -> String {
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
