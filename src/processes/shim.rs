//! `kelson shim` and `kelson gate`: the agent's two modes of this executable that hold a task.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

/// What may be typed behind `shim`.
#[derive(Debug, Args)]
pub(crate) struct Shim {
    /// The task's directory
    directory: PathBuf,
}

/// What may be typed behind `gate`.
#[derive(Debug, Args)]
pub(crate) struct Gate {}

pub(crate) fn run_shim(shim: &Shim) -> ExitCode {
    kelson_agent::run_shim(&shim.directory)
}

pub(crate) fn run_gate(_: &Gate) -> ExitCode {
    kelson_agent::run_gate()
}
