//! The inner cargo: the same program as the outer one, without what the outer one told the build
//! script about its own package.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// Variables that begin with `CARGO` and are about the machine, not about the package that is being
/// built.
const KEPT: [&str; 6] = [
    "CARGO_HOME",
    "CARGO_MAKEFLAGS",
    "CARGO_NET_",
    "CARGO_HTTP_",
    "CARGO_REGISTR",
    "CARGO_TERM_",
];
/// Variables without that prefix that would change how the guest is compiled: flags and wrappers
/// meant for the outer build (clippy, coverage).
const DROPPED: [&str; 6] = [
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CLIPPY_ARGS",
    "TARGET",
];

/// Returns `cargo`, to be run in `workspace`, with an environment that is the same inside a build
/// script, a test and a shell.
pub(crate) fn command(workspace: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(workspace);
    for (name, _) in std::env::vars_os() {
        if is_dropped(&name) {
            command.env_remove(&name);
        }
    }
    command
}

fn is_dropped(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    if name.starts_with("CARGO") {
        return !KEPT.iter().any(|kept| name.starts_with(kept));
    }
    DROPPED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_outer_build_says_about_its_package_is_dropped() {
        for name in [
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_PKG_NAME",
            "CARGO_TARGET_DIR",
            "RUSTC_WORKSPACE_WRAPPER",
        ] {
            assert!(is_dropped(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn what_is_about_the_machine_is_kept() {
        for name in ["CARGO_HOME", "CARGO_NET_OFFLINE", "PATH", "RUSTUP_HOME"] {
            assert!(!is_dropped(OsStr::new(name)), "{name}");
        }
    }
}
