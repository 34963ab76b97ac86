//! The forms of an answer.

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::Serialize;

use super::emit::emit;

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
            let mut text =
                serde_json::to_string_pretty(answer).context("cannot show this as JSON")?;
            text.push('\n');
            emit(&text)
        }
        Format::Yaml => emit(&to_yaml(answer)?),
    }
}

/// A value as YAML, with the end of its last line.
///
/// # Errors
/// When it has keys that are no text.
pub(crate) fn to_yaml(value: &impl Serialize) -> Result<String> {
    serde_yaml::to_string(value).context("cannot show this as YAML")
}

/// What a text means as YAML, as somebody typed it on a command line; nothing where it is no YAML.
pub(crate) fn from_yaml(text: &str) -> Option<serde_json::Value> {
    serde_yaml::from_str(text).ok()
}
