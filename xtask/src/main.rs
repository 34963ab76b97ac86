//! `cargo xtask …`: what people and CI do with this workspace.
//!
//! Each task does all of its set-up itself and says what it cannot do, and why. Read next: `layers`
//! (who may import whom), `test`, `demo`, `bench`.

mod bench;
mod demo;
mod layers;
mod packages;
mod setup;
mod shell;
mod storm;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

const HELP: &str = "\
Usage: cargo xtask TASK

  test [FILTER…]        set up what is missing, then run the tests of the whole workspace
  demo [--check]        play the acts on a cluster of its own; then stay up, or with --check end
       [--act NAME]…    play the first act and these only
  storm [--seed N] [--seconds S]
                        kill and stop processes at random among commits; then all must be as git says
  packages              fetch the unmodified servers that some tests start (test does this too)
  layers                check who imports whom, and what stands in a core
  bench [NAME [--quick]]
                        list the benches, or run one (release build)
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<ExitCode> {
    let root = workspace_root()?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["test", filters @ ..] => test::run(&root, filters)?,
        ["demo", rest @ ..] => demo::run(&root, rest)?,
        ["storm", rest @ ..] => storm::run(&root, rest)?,
        ["packages"] => packages::ensure_all(&root)?,
        ["layers"] => layers::run(&root)?,
        ["bench", rest @ ..] => bench::run(&root, rest)?,
        [] | ["help" | "--help" | "-h"] => print!("{HELP}"),
        _ => {
            eprint!("xtask: no such task: {}\n\n{HELP}", args.join(" "));
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The folder of the workspace, which is the one above this package.
fn workspace_root() -> Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    Ok(here
        .parent()
        .context("xtask stands in no workspace")?
        .to_owned())
}
