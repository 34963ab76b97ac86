//! `--watch`: an answer again whenever it has changed.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::client::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Format, emit, print, to_yaml};

/// Whether to go on.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Watching {
    /// Show the answer again whenever it has changed (with -o json, a line each)
    #[arg(short, long)]
    pub(crate) watch: bool,
}

impl Watching {
    /// Shows what `fetch` returns, once, or again whenever it has changed; returns the last answer when it is not to go on.
    ///
    /// # Errors
    /// When nothing listens (any more), or the kernel refuses.
    pub(crate) async fn show<T: Serialize + PartialEq>(
        self,
        client: &Client,
        context: &Context,
        fetch: impl AsyncFn() -> Result<T>,
        table: impl Fn(&T, bool) -> String,
    ) -> Result<T> {
        if !self.watch {
            let answer = fetch().await?;
            print(context.format(), &answer, |is_wide| table(&answer, is_wide))?;
            return Ok(answer);
        }
        // First the watch, then the answer: what changes in between is seen.
        let mut changes = client.watch("", None).await?;
        let mut shown: Option<T> = None;
        while changes.changed().await? {
            let answer = fetch().await?;
            if shown.as_ref() != Some(&answer) {
                again(context.format(), &answer, &table, shown.is_some())?;
                shown = Some(answer);
            }
        }
        Err(Failure::new(
            Exit::NothingListens,
            format!("{} has ended", client.address()),
        )
        .into())
    }
}

fn again<T: Serialize>(
    format: Format,
    answer: &T,
    table: impl Fn(&T, bool) -> String,
    is_again: bool,
) -> Result<()> {
    let gap = if is_again { "\n" } else { "" };
    match format {
        Format::Json => emit(&format!("{}\n", serde_json::to_string(answer)?)),
        Format::Yaml => emit(&format!("---\n{}", to_yaml(answer)?)),
        Format::Table => emit(&format!("{gap}{}", table(answer, false))),
        Format::Wide => emit(&format!("{gap}{}", table(answer, true))),
    }
}
