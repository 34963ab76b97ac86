//! What a fresh machine lacks.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// What the schedulers are compiled to.
const GUEST_TARGET: &str = "wasm32-unknown-unknown";

/// Checks for git and a C compiler, and adds the target of the schedulers where it is missing.
pub(crate) fn ensure_tools(root: &Path) -> Result<()> {
    if !shell::has("git") {
        bail!("git is not on PATH; install it (Debian: apt-get install git)");
    }
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    if !shell::has(&compiler) {
        bail!(
            "{compiler} is not on PATH; libgit2 is built from source and needs a C compiler (Debian: apt-get install gcc libc6-dev)"
        );
    }
    ensure_guest_target(root)
}

/// Builds what is started as a process: `kelson` and the example server. Says how long it takes
/// where nothing has been built yet.
pub(crate) fn build_programs(root: &Path) -> Result<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |given| root.join(given));
    if !target.join("debug/kelson").is_file() {
        eprintln!(
            "building kelson and the libraries it stands on, once: about five minutes on two cores (the compiler of the sandbox takes a\n\
             third of that; where cargo seems to rest at kelson-plugins-bundle, it builds the schedulers in the box)"
        );
    }
    shell::run(
        root,
        Command::new(shell::cargo()).args([
            "build",
            "--package",
            "kelson",
            "--package",
            "kelson-example-http",
        ]),
    )
}

fn ensure_guest_target(root: &Path) -> Result<()> {
    let libraries = shell::output(
        root,
        Command::new("rustc").args(["--print", "target-libdir", "--target", GUEST_TARGET]),
    )?;
    if has_std(Path::new(libraries.trim())) {
        return Ok(());
    }
    if !shell::has("rustup") {
        bail!(
            "the target {GUEST_TARGET} is not installed, and rustup, which could add it, is not on PATH (https://rustup.rs)"
        );
    }
    shell::run(root, Command::new("rustup").args(["target", "add", GUEST_TARGET]))
        .with_context(|| format!("the target {GUEST_TARGET} is needed to build the schedulers; without a network it cannot be added"))
}

/// Does the folder hold a compiled standard library?
fn has_std(libraries: &Path) -> bool {
    std::fs::read_dir(libraries).is_ok_and(|mut entries| {
        entries.any(|e| e.is_ok_and(|e| e.file_name().to_string_lossy().starts_with("libstd-")))
    })
}
