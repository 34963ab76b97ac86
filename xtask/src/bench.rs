//! `cargo xtask bench`: runs one workload in a release build. The workloads are the binaries of the
//! package `kelson-bench`; each writes its figures to `bench/results/NAME.json` and its plot to
//! `bench/results/NAME.svg`.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::shell;

/// Lists the workloads, or runs one; `--quick` is a scaled-down form that ends in 20 s.
pub(crate) fn run(root: &Path, args: &[&str]) -> Result<()> {
    let names = workloads(root)?;
    let (name, rest) = match args {
        [] => {
            if names.is_empty() {
                println!("there are no benches yet");
            }
            names.iter().for_each(|name| println!("{name}"));
            return Ok(());
        }
        [name, rest @ ..] => (*name, rest),
    };
    if let Some(unknown) = rest.iter().find(|arg| **arg != "--quick") {
        bail!("bench takes a name and --quick, not {unknown}");
    }
    if !names.iter().any(|known| known == name) {
        bail!("no bench {name}; there are: {}", names.join(", "));
    }
    crate::setup::ensure_tools(root)?;
    // Together, so that both are made from the same dependencies, and nothing is built twice.
    let mut build = Command::new(shell::cargo());
    build.args(["build", "--release", "--package", "kelson"]);
    build.args(["--package", "kelson-bench"]);
    shell::run(root, &mut build)?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |given| root.join(given));
    let mut command = Command::new(target.join("release").join(name));
    command.args(rest);
    shell::run(root, &mut command)
}

fn workloads(root: &Path) -> Result<Vec<String>> {
    let metadata = shell::output(
        root,
        Command::new(shell::cargo()).args(["metadata", "--no-deps", "--format-version", "1"]),
    )?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let mut names: Vec<String> = list(metadata.get("packages"))
        .iter()
        .filter(|package| package.get("name").and_then(Value::as_str) == Some("kelson-bench"))
        .flat_map(|package| list(package.get("targets")))
        .filter(|target| list(target.get("kind")).iter().any(|kind| kind == "bin"))
        .filter_map(|target| Some(target.get("name")?.as_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}
