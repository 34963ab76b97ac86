//! `kelson get`: an object as the kernel has it.

use anyhow::Result;
use clap::Args;
use kelson_model::view::{List, ObjectView};

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
    let client = context.client().await?;
    let palette = context.palette();
    let Some(object) = &arguments.object else {
        let limit = context.limit()?;
        let fetch = async || {
            let list: List<ObjectView> =
                client.get_as("/v1/objects", &scope(limit.as_ref())).await?;
            Ok(list)
        };
        let list = arguments
            .watching
            .show(&client, context, fetch, |list, _| table(list, palette))
            .await?;
        if list.items.is_empty() {
            say("no objects; -A shows all namespaces");
        }
        return Ok(Exit::Done);
    };
    let key = object.find(&client, context).await?;
    let fetch = async || {
        let view: ObjectView = client.get_as("/v1/object", &query_of(&key)).await?;
        Ok(view)
    };
    arguments
        .watching
        .show(&client, context, fetch, |view, _| document(view))
        .await?;
    Ok(Exit::Done)
}

fn table(list: &List<ObjectView>, palette: Palette) -> String {
    let mut table = Table::new([
        "KIND",
        "NAMESPACE",
        "NAME",
        "GENERATION",
        "SYNC",
        "HEALTH",
        "CHANGED BY",
    ]);
    for item in &list.items {
        table.push([
            Cell::plain(&item.kind),
            Cell::plain(item.metadata.namespace.as_str()),
            Cell::plain(&item.metadata.name),
            item.status.generation.to_string().into(),
            Cell::plain(item.status.sync.to_string()),
            Cell::plain(item.status.health.to_string()),
            Cell::plain(&item.changed_by.actor),
        ]);
    }
    table.render(palette)
}

/// One object as the document that a manifest would be, with what the kernel adds below; nothing
/// shows it better, so it is the table as well.
fn document(view: &ObjectView) -> String {
    to_yaml(view).unwrap_or_else(|error| format!("{error:#}\n"))
}
