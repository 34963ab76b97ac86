//! `--watch`: an answer again whenever it has changed.

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::client::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Format, emit, json_line, print, to_yaml};

/// What answers are made of: everything but events.
const ROWS: &str = "object,task,agent,framework,source,drift";

/// Whether to go on.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Watching {
    /// Show the answer again whenever it has changed (with -o json, a line each)
    #[arg(short, long)]
    pub(crate) watch: bool,
}

impl Watching {
    /// Shows what `fetch` returns, once, or again whenever it has changed; returns the last
    /// answer when it is not to go on.
    ///
    /// # Errors
    /// When nothing listens (any more), or the kernel refuses.
    pub(crate) async fn show<T: Serialize>(
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
        let mut changes = client.watch(ROWS, None).await?;
        let mut shown: Option<Value> = None;
        while changes.changed().await? {
            let answer = fetch().await?;
            let content = content(&answer)?;
            if shown.as_ref() != Some(&content) {
                again(context.format(), &answer, &table, shown.is_some())?;
                shown = Some(content);
            }
        }
        Err(Failure::new(
            Exit::NothingListens,
            format!("{} has ended", client.address()),
        )
        .into())
    }
}

/// What an answer says, whatever state it is about: the index alone makes no news.
fn content(answer: &impl Serialize) -> Result<Value> {
    let mut content = serde_json::to_value(answer)?;
    if let Value::Object(fields) = &mut content {
        fields.remove("index");
    }
    Ok(content)
}

fn again<T: Serialize>(
    format: Format,
    answer: &T,
    table: impl Fn(&T, bool) -> String,
    is_again: bool,
) -> Result<()> {
    let gap = if is_again { "\n" } else { "" };
    match format {
        Format::Json => emit(&json_line(answer)?),
        Format::Yaml => emit(&format!("---\n{}", to_yaml(answer)?)),
        Format::Table => emit(&format!("{gap}{}", table(answer, false))),
        Format::Wide => emit(&format!("{gap}{}", table(answer, true))),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn another_index_is_no_news() {
        let one = content(&json!({"index": 1, "items": []})).unwrap();
        let two = content(&json!({"index": 2, "items": []})).unwrap();
        let three = content(&json!({"index": 2, "items": [1]})).unwrap();
        assert_eq!(one, two);
        assert_ne!(two, three);
    }
}
