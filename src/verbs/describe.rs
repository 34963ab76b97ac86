//! `kelson describe`: everything about an object, for people.

use anyhow::Result;
use clap::Args;
use kelson_model::drift::DriftState;
use kelson_model::object::ObjectKey;
use kelson_model::report::{DriftReport, DriftRow, ObjectStatus, TaskList};
use kelson_model::view::{EventView, ObjectView, WhyReport};
use serde::Serialize;

use super::events::EventList;
use super::target::{Target, query_of, scope, status, tasks};
use super::{drift, events, status as status_verb, tasks as tasks_verb, why};
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Palette, Tint, plain, print, to_yaml};

/// What may be typed behind `describe`.
#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// The object
    #[arg(value_name = "[KIND/]NAME")]
    object: Target,
}

/// Everything about an object.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    object: ObjectView,
    why: WhyReport,
    tasks: TaskList,
    drift: Vec<DriftRow>,
    events: Vec<EventView>,
}

/// Events shown.
const EVENTS: usize = 20;

pub(crate) async fn run(arguments: &Describe, context: &Context) -> Result<Exit> {
    let client = context.client().await?;
    let key = arguments.object.find(&client, context).await?;
    let namespace = Some(&key.namespace);
    let report = status(&client, namespace).await?;
    let row = report
        .objects
        .into_iter()
        .find(|object| object.kind == key.kind && object.name == key.name);
    let mut own_tasks = tasks(&client, namespace).await?;
    own_tasks.items.retain(|task| task.workload == key);
    let all_drift: DriftReport = client.get_as("/v1/drift", &[]).await?;
    let mut happened: EventList = client.get_as("/v1/events", &events_of(&key)).await?;
    happened
        .items
        .retain(|event| event.object.as_ref() == Some(&key));
    let skipped = happened.items.len().saturating_sub(EVENTS);
    let description = Description {
        object: client.get_as("/v1/object", &query_of(&key)).await?,
        why: client.get_as("/v1/why", &query_of(&key)).await?,
        tasks: own_tasks,
        drift: all_drift
            .items
            .into_iter()
            .filter(|item| item.object == key)
            .collect(),
        events: happened.items.split_off(skipped),
    };
    let palette = context.palette();
    print(context.format(), &description, |is_wide| {
        page(&key, row.as_ref(), &description, is_wide, palette)
    })?;
    Ok(Exit::Done)
}

fn events_of(key: &ObjectKey) -> Vec<(&'static str, &str)> {
    let mut query = scope(Some(&key.namespace));
    query.extend([("kind", key.kind.as_str()), ("name", key.name.as_str())]);
    query
}

fn page(
    key: &ObjectKey,
    row: Option<&ObjectStatus>,
    description: &Description,
    is_wide: bool,
    palette: Palette,
) -> String {
    let head = |title: &str| format!("\n{}\n", palette.paint(Tint::Strong, title));
    let mut text = format!("{}\n", palette.paint(Tint::Strong, &key.to_string()));
    if let Some(row) = row {
        let health = status_verb::tint_of_health(row.health);
        let sync = status_verb::tint_of_sync(row.sync);
        text.push_str(&format!(
            "  {} and {}, generation {}, {} of {} tasks healthy\n",
            palette.paint(health, &row.health.to_string()),
            palette.paint(sync, &row.sync.to_string()),
            row.generation,
            row.tasks.healthy,
            row.tasks.desired,
        ));
        if let Some(origin) = &row.origin {
            let revision = row
                .revision
                .as_deref()
                .map_or("no revision", status_verb::short);
            text.push_str(&format!(
                "  from {}:{} at {revision}\n",
                plain(&origin.file),
                origin.line
            ));
        }
    }
    let object = &description.object;
    if !object.changed_by.actor.is_empty() {
        text.push_str(&format!(
            "  last changed by {} {}\n",
            plain(&object.changed_by.to_string()),
            plain(&object.changed_at),
        ));
    }
    text.push_str(&head("Why"));
    text.push_str(&why::lines(&description.why, palette));
    if !description.tasks.items.is_empty() {
        text.push_str(&head("Tasks"));
        text.push_str(&tasks_verb::table(&description.tasks, is_wide, palette));
    }
    if !description.drift.is_empty() {
        text.push_str(&head("Drift"));
        for item in &description.drift {
            let state = match item.state {
                DriftState::Open => palette.paint(Tint::Bad, "open"),
                DriftState::Healed => palette.paint(Tint::Good, "healed"),
            };
            text.push_str(&format!(
                "  {state} {} by {}\n",
                plain(&drift::fields(&item.fields)),
                plain(&item.changed_by.to_string())
            ));
        }
    }
    if !description.events.is_empty() {
        text.push_str(&head("Events"));
        text.push_str(&events::table(&description.events, false, palette));
    }
    text.push_str(&head("Specification, with all defaults"));
    let yaml = to_yaml(&object.spec).unwrap_or_else(|error| format!("{error:#}\n"));
    for line in yaml.lines() {
        text.push_str(&format!("  {line}\n"));
    }
    text
}
