//! What `cargo metadata` says, cut down to what the rules ask about.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A package of the workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// The folder of its Cargo.toml.
    pub(crate) folder: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a package's dependencies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// In which table the dependency stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Build,
    Dev,
}

/// Asks cargo about the workspace at `root`.
pub(crate) fn read(root: &Path) -> Result<Vec<Package>> {
    let output =
        std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(root)
            .output()
            .context("cannot start cargo")?;
    if !output.status.success() {
        bail!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    parse(&serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?)
}

/// Reads metadata of format version 1.
pub(crate) fn parse(metadata: &Value) -> Result<Vec<Package>> {
    let packages = metadata
        .get("packages")
        .and_then(Value::as_array)
        .context("no packages in cargo's metadata")?;
    packages.iter().map(parse_package).collect()
}

fn parse_package(package: &Value) -> Result<Package> {
    let manifest = Path::new(text(package, "manifest_path")?);
    Ok(Package {
        name: text(package, "name")?.to_owned(),
        folder: manifest
            .parent()
            .context("a manifest without a folder")?
            .to_owned(),
        dependencies: package
            .get("dependencies")
            .and_then(Value::as_array)
            .context("a package without dependencies")?
            .iter()
            .map(|dependency| {
                let kind = match dependency.get("kind").and_then(Value::as_str) {
                    Some("dev") => Kind::Dev,
                    Some("build") => Kind::Build,
                    _ => Kind::Normal,
                };
                Ok(Dependency {
                    name: text(dependency, "name")?.to_owned(),
                    kind,
                })
            })
            .collect::<Result<_>>()?,
    })
}

fn text<'v>(value: &'v Value, key: &str) -> Result<&'v str> {
    value
        .get(key)
        .and_then(Value::as_str)
        .with_context(|| format!("no {key} in cargo's metadata"))
}
