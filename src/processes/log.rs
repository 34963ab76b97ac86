//! The log of a process, on stderr.

use std::io::IsTerminal as _;

use anyhow::Result;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::exit::Failure;

/// What is logged when KELSON_LOG says nothing. openraft warns of every beat that a member which is
/// away does not answer; the raft room says once that it is away.
const DEFAULT: &str = "info,openraft=error";

/// Starts the log as KELSON_LOG says: a level, or `target=level,…`.
///
/// # Errors
/// When KELSON_LOG says something else.
pub(crate) fn start() -> Result<()> {
    let wanted = std::env::var("KELSON_LOG").unwrap_or_default();
    let text = if wanted.is_empty() { DEFAULT } else { &wanted };
    let targets: Targets = text.parse().map_err(|error| {
        Failure::usage(format!("KELSON_LOG is '{text}': {error}"))
            .with_hint("write a level (error, warn, info, debug, trace), or TARGET=LEVEL,…")
    })?;
    let is_coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(is_coloured);
    tracing_subscriber::registry()
        .with(targets)
        .with(lines)
        .init();
    Ok(())
}
