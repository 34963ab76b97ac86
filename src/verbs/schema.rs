//! `kelson schema`: the JSON Schema of manifests, for editors.

use anyhow::Result;
use clap::Args;
use kelson_reconciler_core::manifest::editor_schema;
use serde_json::Value;

use super::manifests::Schedulers;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Format, emit, print};

/// What may be typed behind `schema`.
#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// Only the specification of this kind
    kind: Option<String>,
}

pub(crate) fn run(arguments: &Schema, context: &Context) -> Result<Exit> {
    let kinds = Schedulers::open()?.kinds();
    let schema = match &arguments.kind {
        None => editor_schema(&kinds),
        Some(kind) => match kinds.find(kind).and_then(|kind| kinds.schema(kind)) {
            Some(schema) => schema.clone(),
            None => {
                let names: Vec<&str> = kinds.names().collect();
                return Err(
                    Failure::new(Exit::Refused, format!("there is no kind {kind}"))
                        .with_hint(format!("there are {}", names.join(", ")))
                        .into(),
                );
            }
        },
    };
    match context.format() {
        Format::Table | Format::Wide => emit(&pretty(&schema)?)?,
        format @ (Format::Json | Format::Yaml) => print(format, &schema, |_| String::new())?,
    }
    Ok(Exit::Done)
}

/// A schema as it stands in a file.
pub(crate) fn pretty(schema: &Value) -> Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(schema)?))
}
