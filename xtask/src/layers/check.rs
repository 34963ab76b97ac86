//! All checks, one after another.

use std::path::Path;

use anyhow::{Result, bail};

use super::sources::Source;
use super::{housekeeping, imports, lock, metadata, sources, texts};

/// Checks the workspace at `root`; an error follows when anything breaks a rule, after every
/// violation has been printed.
pub(crate) fn run(root: &Path) -> Result<()> {
    let packages = metadata::read(root)?;
    let files = Source::read_all(root, &packages)?;
    let mut violations = imports::violations(&packages);
    violations.extend(lock::violations(&std::fs::read_to_string(
        root.join("Cargo.lock"),
    )?));
    violations.extend(files.iter().flat_map(sources::violations));
    violations.extend(files.iter().flat_map(housekeeping::of_source));
    violations.extend(texts::violations(root)?);
    for package in packages.iter().filter(|package| package.folder != root) {
        let path = package.folder.join("Cargo.toml");
        let name = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .display()
            .to_string();
        violations.extend(housekeeping::of_manifest(
            &name,
            &std::fs::read_to_string(&path)?,
        ));
    }
    violations.sort();
    for violation in &violations {
        eprintln!("{violation}");
    }
    if !violations.is_empty() {
        bail!(
            "{} rule(s) broken; the rules are in xtask/src/layers/rooms.rs and housekeeping.rs",
            violations.len()
        );
    }
    println!(
        "layers: {} packages and {} files keep the rules",
        packages.len(),
        files.len()
    );
    Ok(())
}
