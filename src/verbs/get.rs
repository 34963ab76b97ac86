//! `kelson get`: an object as the kernel has it.

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::target::{Target, query_of, scope};
use super::watching::Watching;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Cell, Palette, Table, say, to_yaml};

/// What may be typed behind `get`.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The object; all of them where it is absent
    #[arg(value_name = "[KIND/]NAME")]
    object: Option<Target>,
    #[command(flatten)]
    watching: Watching,
}

pub(crate) async fn run(arguments: &Get, context: &Context) -> Result<Exit> {
    let client = context.client()?;
    let palette = context.palette();
    let Some(object) = &arguments.object else {
        let limit = context.limit()?;
        let fetch = async || Ok(client.get("/v1/objects", &scope(limit.as_ref())).await?);
        let list = arguments
            .watching
            .show(&client, context, fetch, |list, _| table(list, palette))
            .await?;
        if items(&list).is_empty() {
            say("no objects; -A shows all namespaces");
        }
        return Ok(Exit::Done);
    };
    let key = object.find(&client, context).await?;
    let fetch = async || Ok(client.get("/v1/object", &query_of(&key)).await?);
    arguments
        .watching
        .show(&client, context, fetch, |view, _| document(view))
        .await?;
    Ok(Exit::Done)
}

fn items(list: &Value) -> &[Value] {
    list.get("items")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn table(list: &Value, palette: Palette) -> String {
    let mut table = Table::new([
        "KIND",
        "NAMESPACE",
        "NAME",
        "GENERATION",
        "SYNC",
        "HEALTH",
        "CHANGED BY",
    ]);
    for item in items(list) {
        let generation = item
            .pointer("/status/generation")
            .map_or_else(String::new, ToString::to_string);
        table.push([
            Cell::plain(text(item, "/kind")),
            Cell::plain(text(item, "/metadata/namespace")),
            Cell::plain(text(item, "/metadata/name")),
            generation.into(),
            Cell::plain(text(item, "/status/sync")),
            Cell::plain(text(item, "/status/health")),
            Cell::plain(text(item, "/changedBy/actor")),
        ]);
    }
    table.render(palette)
}

/// One object as the document that a manifest would be, with what the kernel adds below; nothing
/// shows it better, so it is the table as well.
fn document(view: &Value) -> String {
    to_yaml(view).unwrap_or_else(|error| format!("{error:#}\n"))
}
