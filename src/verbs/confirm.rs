//! `kelson confirm`: releases a held revision.

use anyhow::Result;
use clap::Args;
use kelson_model::request::{Confirm as ConfirmRequest, Request};
use serde_json::json;

use super::status::short;
use super::target::status;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{plain, print, say};

/// What may be typed behind `confirm`.
#[derive(Debug, Args)]
pub(crate) struct Confirm {
    /// The revision: at least its first seven digits, as `kelson status` shows it
    revision: String,
}

pub(crate) async fn run(arguments: &Confirm, context: &Context) -> Result<Exit> {
    let revision = arguments.revision.to_ascii_lowercase();
    let is_hex = revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || !(7..=40).contains(&revision.len()) {
        return Err(
            Failure::usage(format!("'{}' is no revision", arguments.revision))
                .with_hint(
                    "write at least its first seven digits; `kelson status` shows the command",
                )
                .into(),
        );
    }
    let client = context.client()?;
    // What goes is shown before it goes.
    if let Some(held) = status(&client, None)
        .await?
        .source
        .and_then(|source| source.held)
    {
        say(&format!(
            "{}: {}",
            plain(&held.reason),
            plain(&held.message)
        ));
        for object in &held.objects {
            say(&format!("  - {object}"));
        }
    }
    client
        .submit(Request::Confirm(ConfirmRequest {
            source: String::new(),
            revision: revision.clone(),
        }))
        .await?;
    print(context.format(), &json!({"revision": revision}), |_| {
        format!("revision {} is released\n", short(&revision))
    })?;
    Ok(Exit::Done)
}
