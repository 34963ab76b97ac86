//! `cargo xtask test`: everything a change must pass, on a machine that has rustup, git and a C
//! compiler.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::{packages, setup, shell};

/// Sets up what is missing, builds the programs that tests start, and runs all tests (or those that
/// match the filters).
pub(crate) fn run(root: &Path, filters: &[&str]) -> Result<()> {
    setup::ensure_tools(root)?;
    packages::ensure_all(root)?;
    // Tests start these as processes; `cargo test` builds the programs of a package for that
    // package's tests only.
    setup::build_programs(root)?;
    if has_nextest(root) {
        shell::run(
            root,
            Command::new(shell::cargo())
                .args(["nextest", "run", "--workspace", "--no-fail-fast"])
                .args(filters),
        )?;
        // nextest runs no doc tests.
        if filters.is_empty() {
            shell::run(
                root,
                Command::new(shell::cargo()).args(["test", "--quiet", "--workspace", "--doc"]),
            )?;
        }
        return Ok(());
    }
    eprintln!("cargo-nextest is not installed: cargo test does it too, a little slower");
    shell::run(
        root,
        Command::new(shell::cargo())
            .args(["test", "--workspace", "--no-fail-fast"])
            .args(filters),
    )
}

fn has_nextest(root: &Path) -> bool {
    shell::output(
        root,
        Command::new(shell::cargo()).args(["nextest", "--version"]),
    )
    .is_ok()
}
