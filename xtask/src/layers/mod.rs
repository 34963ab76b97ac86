//! `cargo xtask layers`: who may import whom, and what may not stand in a core.
//!
//! Two checks. `imports` reads `cargo metadata`: which package of ours depends on which other, and which rooms may use the dependencies that are
//! kept in one place. `sources` reads the Rust files: paths that only one folder may name, and words that may not stand in a core. The rules
//! themselves are one table, `rooms`.

mod code;
mod imports;
mod metadata;
mod rooms;
mod sources;

use std::fmt;
use std::path::Path;

use anyhow::{Result, bail};

/// One place that breaks one rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    /// A package, or a file with its line.
    pub(crate) place: String,
    /// What is wrong, and what the rule is.
    pub(crate) problem: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// Checks the workspace at `root`; an error names every violation.
pub(crate) fn run(root: &Path) -> Result<()> {
    let packages = metadata::read(root)?;
    let mut violations = imports::violations(&packages);
    let (files, of_sources) = sources::violations(root, &packages)?;
    violations.extend(of_sources);
    violations.sort();
    for violation in &violations {
        eprintln!("{violation}");
    }
    if !violations.is_empty() {
        bail!(
            "{} layer rule(s) broken; the rules are in xtask/src/layers/rooms.rs",
            violations.len()
        );
    }
    println!(
        "layers: {} packages and {files} files keep the rules",
        packages.len()
    );
    Ok(())
}
