//! `kelson why`: why an object is not as it should be, or is not there.

use anyhow::Result;
use clap::Args;
use kelson_model::view::WhyReport;

use super::target::{Target, keys, query_of, status};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Palette, Tint, plain, print};

/// What may be typed behind `why`.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The object, or what a manifest calls one that was never accepted
    #[arg(value_name = "[KIND/]NAME")]
    object: Target,
}

pub(crate) async fn run(arguments: &Why, context: &Context) -> Result<Exit> {
    let target = &arguments.object;
    let client = context.client().await?;
    let limit = context.limit()?;
    let keys = keys(&status(&client, limit.as_ref()).await?)?;
    let missing = || target.missing(limit.as_ref(), &keys);
    let found = target.among(keys.iter().cloned())?;
    let answer: WhyReport = match found {
        Some(key) => client.get_as("/v1/why", &query_of(&key)).await?,
        None => {
            let mut query = vec![("name", target.name.as_str())];
            query.extend(target.kind.as_deref().map(|kind| ("kind", kind)));
            query.extend(limit.iter().map(|limit| ("namespace", limit.as_str())));
            // Whatever the kernel calls it, there is no such object, and no source says why.
            let nothing = |error: Failure| match error.exit {
                Exit::Refused | Exit::Usage => missing(),
                Exit::Done
                | Exit::No
                | Exit::NothingListens
                | Exit::TimedOut
                | Exit::Interrupted => error,
            };
            client.get_as("/v1/why", &query).await.map_err(nothing)?
        }
    };
    let palette = context.palette();
    print(context.format(), &answer, |_| {
        let name = plain(answer.object.to_string().trim_start());
        format!(
            "{}\n{}",
            palette.paint(Tint::Strong, &name),
            lines(&answer, palette)
        )
    })?;
    Ok(Exit::Done)
}

/// The explanation, a line each.
pub(crate) fn lines(answer: &WhyReport, palette: Palette) -> String {
    let mut text = String::new();
    for line in &answer.lines {
        let reason = palette.paint(Tint::Warn, &plain(&line.reason));
        text.push_str(&format!("  {reason}: {}\n", plain(&line.message)));
    }
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn each_reason_has_a_line() {
        let answer = json!({"object": {"kind": "Service", "namespace": "shop", "name": "web"},
            "lines": [{"reason": "NoRoom", "message": "no agent has 4 cpus"}]});
        assert_eq!(
            lines(&serde_json::from_value(answer).unwrap(), Palette::plain()),
            "  NoRoom: no agent has 4 cpus\n"
        );
    }
}
