//! Builds the first-party schedulers and copies them to where `lib.rs` embeds them from.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kelson_plugins_builder::build_component;

/// The schedulers in the box: the name of each framework and the package that its component is made
/// from.
const SCHEDULERS: [(&str, &str); 1] = [("service", "kelson-plugin-service")];
/// What the schedulers are made from.
const SOURCES: [&str; 5] = [
    "wit",
    "sdk/rust",
    "plugins/service",
    "Cargo.toml",
    "Cargo.lock",
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the first-party schedulers could not be built: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let workspace = here
        .ancestors()
        .nth(2)
        .ok_or("the bundle stands two folders below the workspace")?;
    for source in SOURCES {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(source).display()
        );
    }
    let guests = guests(workspace);
    let mut all = "&[\n".to_owned();
    for (name, package) in SCHEDULERS {
        let component = build_component(workspace, &guests, package)?;
        let file = out.join(format!("{name}.wasm"));
        std::fs::copy(component, &file)?;
        all.push_str(&format!(
            "    Bundled {{ name: {name:?}, component: include_bytes!({file:?}) }},\n"
        ));
    }
    all.push_str("]\n");
    std::fs::write(out.join("all.rs"), all)?;
    Ok(())
}

/// The inner target directory, inside the outer one.
fn guests(workspace: &Path) -> PathBuf {
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.join("target"), |given| workspace.join(given))
        .join("guests")
}
