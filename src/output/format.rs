//! The forms of an answer.

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::Serialize;

use super::emit::emit;
use super::text::{has_hidden, json_shown, masked, unmasked};

/// In which form an answer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For scripts; a line each where the answer goes on.
    Json,
    /// For people and scripts.
    Yaml,
    /// For people with a wide screen.
    Wide,
}

/// What may be typed behind `-o`: the forms of every answer, and those of one verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    #[value(alias = "text")]
    Table,
    /// For scripts; a line each where the answer goes on.
    Json,
    /// For people and scripts.
    Yaml,
    /// For people with a wide screen.
    Wide,
    /// For tools that show faults beside the code (`validate` only).
    #[value(hide = true)]
    Sarif,
    /// For a workflow of GitHub (`validate` only).
    #[value(hide = true)]
    Github,
}

impl Output {
    /// The form of an answer; `None` for what only `validate` prints.
    pub(crate) fn format(self) -> Option<Format> {
        match self {
            Self::Table => Some(Format::Table),
            Self::Json => Some(Format::Json),
            Self::Yaml => Some(Format::Yaml),
            Self::Wide => Some(Format::Wide),
            Self::Sarif | Self::Github => None,
        }
    }
}

/// Shows an answer on stdout: as JSON, as YAML, or as what `table` makes of it.
///
/// # Errors
/// When nobody reads it any more.
pub(crate) fn print(
    format: Format,
    answer: &impl Serialize,
    table: impl FnOnce(bool) -> String,
) -> Result<()> {
    match format {
        Format::Table => emit(&table(false)),
        Format::Wide => emit(&table(true)),
        Format::Json => {
            let text = serde_json::to_string_pretty(answer).context("cannot show this as JSON")?;
            emit(&json_shown(text + "\n"))
        }
        Format::Yaml => emit(&to_yaml(answer)?),
    }
}

/// A value as JSON on one line, with its end.
///
/// # Errors
/// When it has keys that are no text.
pub(crate) fn json_line(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(value).context("cannot show this as JSON")?;
    Ok(json_shown(text + "\n"))
}

/// A value as YAML, with the end of its last line; what is hidden in its texts is spelled out.
///
/// # Errors
/// When it has keys that are no text.
pub(crate) fn to_yaml(value: &impl Serialize) -> Result<String> {
    const CANNOT: &str = "cannot show this as YAML";
    let text = serde_yaml::to_string(value).context(CANNOT)?;
    if !has_hidden(&text) {
        return Ok(text);
    }
    let mut tree = serde_yaml::to_value(value).context(CANNOT)?;
    mask(&mut tree);
    Ok(unmasked(&serde_yaml::to_string(&tree).context(CANNOT)?))
}

fn mask(value: &mut serde_yaml::Value) {
    use serde_yaml::Value;
    match value {
        Value::String(text) => *text = masked(text),
        Value::Sequence(items) => items.iter_mut().for_each(mask),
        Value::Mapping(fields) => {
            let all = std::mem::take(fields);
            for (mut name, mut value) in all {
                mask(&mut name);
                mask(&mut value);
                fields.insert(name, value);
            }
        }
        Value::Tagged(tagged) => mask(&mut tagged.value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What a text means as YAML, as somebody typed it on a command line; nothing where it is no YAML.
pub(crate) fn from_yaml(text: &str) -> Option<serde_json::Value> {
    serde_yaml::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn yaml_shows_nothing_hidden_and_means_the_same() {
        let value = json!({"a": "x\u{202e}y", "b\u{200b}": ["1\n2\u{e0041}\t3", "plain"], "c": 7});
        let shown = to_yaml(&value).unwrap();
        assert!(!has_hidden(&shown), "{shown}");
        assert_eq!(from_yaml(&shown), Some(value));
    }
}
