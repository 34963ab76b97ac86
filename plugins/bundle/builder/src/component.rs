//! From a package to a component: cargo makes a core module, wit-component wraps it.

use std::path::{Path, PathBuf};

use wit_component::ComponentEncoder;

const TARGET: &str = "wasm32-unknown-unknown";

/// Why a component could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The toolchain lacks the guests' target.
    #[error(
        "the target {TARGET} is not installed: run `rustup target add {TARGET}` and build again"
    )]
    TargetMissing,
    /// The package does not compile.
    #[error("cargo could not build {package}:\n{output}")]
    Cargo {
        /// The package.
        package: String,
        /// What cargo said.
        output: String,
    },
    /// The module is not what the treaty asks for.
    #[error("{package} cannot be made a component: {message}")]
    Encode {
        /// The package.
        package: String,
        /// What is wrong.
        message: String,
    },
    /// A file or program could not be used.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// Builds `package` of the workspace at `workspace` into a component and returns its file.
///
/// `guests` is the inner target directory, `<target>/guests` by custom; the component lands in
/// `<guests>/components/<package>.wasm`. When nothing has changed this costs one look by cargo.
/// Several processes may build at the same time: cargo's lock lines them up.
///
/// # Errors
/// The target is missing, the package does not compile, or it is no scheduler.
pub fn build_component(
    workspace: &Path,
    guests: &Path,
    package: &str,
) -> Result<PathBuf, BuildError> {
    let output = crate::cargo::command(workspace)
        .args([
            "build",
            "--locked",
            "--quiet",
            "--profile",
            "guest",
            "--target",
            TARGET,
        ])
        .args(["--package", package])
        .arg("--target-dir")
        .arg(guests)
        .output()
        .map_err(|source| BuildError::Io {
            what: "cannot run cargo".to_owned(),
            source,
        })?;
    if !output.status.success() {
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_target_missing = output.contains("target may not be installed")
            || output.contains("can't find crate for `core`");
        return Err(if is_target_missing {
            BuildError::TargetMissing
        } else {
            BuildError::Cargo {
                package: package.to_owned(),
                output,
            }
        });
    }
    let module = guests
        .join(TARGET)
        .join("guest")
        .join(format!("{}.wasm", package.replace('-', "_")));
    let module = std::fs::read(&module).map_err(|source| BuildError::Io {
        what: format!("cannot read {}", module.display()),
        source,
    })?;
    let component = encode(&module).map_err(|message| BuildError::Encode {
        package: package.to_owned(),
        message,
    })?;
    write(&guests.join("components"), package, &component)
}

fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| format!("{error:#}"))
}

/// Writes the component, unless the file is the same already: then its time stays, and nobody
/// builds anew because of it.
fn write(folder: &Path, package: &str, component: &[u8]) -> Result<PathBuf, BuildError> {
    let path = folder.join(format!("{package}.wasm"));
    if std::fs::read(&path).is_ok_and(|there| there == component) {
        return Ok(path);
    }
    let part = folder.join(format!(".{package}.{}", std::process::id()));
    let done = std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&part, component))
        .and_then(|()| std::fs::rename(&part, &path));
    match done {
        Ok(()) => Ok(path),
        Err(source) => Err(BuildError::Io {
            what: format!("cannot write {}", path.display()),
            source,
        }),
    }
}
