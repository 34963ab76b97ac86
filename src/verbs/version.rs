//! `kelson version`.

use anyhow::Result;
use clap::Args;
use kelson_model::view::VersionAnswer;

use crate::context::Context;
use crate::exit::Exit;
use crate::output::print;

/// The version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What may be typed behind `version`.
#[derive(Debug, Args)]
pub(crate) struct Version {}

pub(crate) fn run(_: &Version, context: &Context) -> Result<Exit> {
    let answer = VersionAnswer {
        version: VERSION.to_owned(),
    };
    print(context.format(), &answer, |_| format!("kelson {VERSION}\n"))?;
    Ok(Exit::Done)
}
