//! Where the programs that tests start are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The `kelson` binary: what cargo or nextest says, else the one beside this program's folder of
/// dependencies.
///
/// # Errors
/// When there is none; it is built by `cargo build`.
pub fn kelson() -> Result<PathBuf> {
    for variable in ["CARGO_BIN_EXE_kelson", "NEXTEST_BIN_EXE_kelson"] {
        if let Some(path) = std::env::var_os(variable) {
            return Ok(path.into());
        }
    }
    find("kelson", "kelson")
}

/// The example HTTP server, built now if it has not been.
///
/// # Errors
/// When it cannot be built.
pub fn example_http() -> Result<PathBuf> {
    find("example-http", "kelson-example-http")
}

/// The folder of all built programs (`target/debug`).
///
/// # Errors
/// When this program does not stand in cargo's target directory.
pub fn folder() -> Result<PathBuf> {
    let here = std::env::current_exe().context("this program has no path")?;
    let folder = here.parent().context("this program stands in no folder")?;
    let folder = if folder.file_name().is_some_and(|name| name == "deps") {
        folder.parent()
    } else {
        Some(folder)
    };
    Ok(folder
        .context("this program stands in no target directory")?
        .to_owned())
}

/// The folder of the workspace, which holds `target`.
///
/// # Errors
/// When this program does not stand below a workspace.
pub fn workspace() -> Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    Ok(here
        .parent()
        .context("the test support stands in no workspace")?
        .to_owned())
}

/// A server of the distribution, unpacked and not installed.
#[derive(Debug, Clone)]
pub struct Package {
    root: PathBuf,
}

impl Package {
    /// The one that is called `name` (`redis-server`, `nginx`), which `cargo xtask test` puts under
    /// `target/test-packages`; `None`, after printing why, where it could not be had.
    ///
    /// # Errors
    /// When it is missing where `CI=true`: there a skipped test is a failure.
    pub fn find(name: &str) -> Result<Option<Package>> {
        let packages = workspace()?.join("target/test-packages");
        let root = packages.join(name);
        if root.join("unpacked").is_file() {
            return Ok(Some(Package { root }));
        }
        let reason = std::fs::read_to_string(packages.join(format!("{name}.reason")))
            .unwrap_or_else(|_| "it was not set up; run `cargo xtask test`".into());
        if std::env::var("CI").is_ok_and(|ci| ci == "true") {
            bail!(
                "the package {name} is missing, and CI must have it: {}",
                reason.trim()
            );
        }
        eprintln!("skipped: the package {name} is missing: {}", reason.trim());
        Ok(None)
    }

    /// The path of one of its files, such as `usr/bin/redis-server`.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// What `LD_LIBRARY_PATH` must be for its programs.
    #[must_use]
    pub fn library_path(&self) -> String {
        let mut folders: Vec<String> = ["usr/lib", "lib"]
            .iter()
            .filter_map(|folder| std::fs::read_dir(self.root.join(folder)).ok())
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().display().to_string()))
            .filter(|path| path.ends_with("-linux-gnu"))
            .collect();
        folders.sort();
        folders.join(":")
    }
}

fn find(program: &str, package: &str) -> Result<PathBuf> {
    let path = folder()?.join(program);
    if path.is_file() {
        return Ok(path);
    }
    build(package)
        .with_context(|| format!("{} is not there and cannot be built", path.display()))?;
    if !path.is_file() {
        bail!("cargo built {package}, but {} is not there", path.display());
    }
    Ok(path)
}

fn build(package: &str) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace: PathBuf = workspace()?;
    let output = Command::new(cargo)
        .args(["build", "--package", package])
        .current_dir(Path::new(&workspace))
        .output()?;
    if !output.status.success() {
        bail!(
            "cargo build --package {package}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
