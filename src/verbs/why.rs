//! `kelson why`: why an object is not as it should be.

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::target::{Target, query_of};
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Palette, Tint, plain, print};

/// What may be typed behind `why`.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The object
    #[arg(value_name = "[KIND/]NAME")]
    object: Target,
}

pub(crate) async fn run(arguments: &Why, context: &Context) -> Result<Exit> {
    let client = context.client()?;
    let key = arguments.object.find(&client, context).await?;
    let answer = client.get("/v1/why", &query_of(&key)).await?;
    let palette = context.palette();
    print(context.format(), &answer, |_| {
        format!(
            "{}\n{}",
            palette.paint(Tint::Strong, &key.to_string()),
            lines(&answer, palette)
        )
    })?;
    Ok(Exit::Done)
}

/// The explanation, a line each.
pub(crate) fn lines(answer: &Value, palette: Palette) -> String {
    let word = |line: &Value, name: &str| {
        plain(line.get(name).and_then(Value::as_str).unwrap_or_default())
    };
    let mut text = String::new();
    for line in answer
        .get("lines")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let reason = palette.paint(Tint::Warn, &word(line, "reason"));
        text.push_str(&format!("  {reason}: {}\n", word(line, "message")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_reason_has_a_line() {
        let answer = json!({"lines": [{"reason": "NoRoom", "message": "no agent has 4 cpus"}]});
        assert_eq!(
            lines(&answer, Palette::plain()),
            "  NoRoom: no agent has 4 cpus\n"
        );
    }
}
