//! `kelson shim`, `kelson gate` and `kelson check`: the agent's modes of this executable that hold
//! a task and look after it.

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

/// What may be typed behind `check`.
#[derive(Debug, Args)]
pub(crate) struct Check {}

pub(crate) fn run_shim(shim: &Shim) -> ExitCode {
    kelson_agent::run_shim(&shim.directory)
}

pub(crate) fn run_gate(_: &Gate) -> ExitCode {
    kelson_agent::run_gate()
}

pub(crate) fn run_check(_: &Check) -> ExitCode {
    kelson_agent::run_check()
}
