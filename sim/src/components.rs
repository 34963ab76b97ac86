//! Scheduler components for simulated clusters: the one in the box, and those of the tests, built
//! from source.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use kelson_kernel_core::port::SchedulerHost;
use kelson_plugin_host::{HostConfig, WasmHost};
use tempfile::TempDir;

/// A sandbox with its compile cache.
pub struct Components {
    /// The sandbox.
    pub host: Arc<dyn SchedulerHost>,
    _cache: TempDir,
}

impl Components {
    /// Makes a sandbox with an empty cache.
    ///
    /// # Errors
    /// The sandbox or its folder cannot be made.
    pub fn new() -> Result<Self> {
        let cache = tempfile::tempdir()?;
        let mut config = HostConfig::new(cache.path());
        // Fuel decides; the machine may be as busy as it likes.
        config.turn_guard = Duration::from_secs(600);
        config.restore_guard = Duration::from_secs(600);
        let host = WasmHost::new(config)?;
        Ok(Self {
            host: Arc::new(host),
            _cache: cache,
        })
    }
}

/// Builds the component of a guest package of this workspace (`kelson-test-birds`).
///
/// # Errors
/// It does not compile.
pub fn guest(package: &str) -> Result<Vec<u8>> {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let workspace = workspace.canonicalize().context("the workspace is gone")?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.join("target"), PathBuf::from);
    let built =
        kelson_plugins_builder::build_component(&workspace, &target.join("guests"), package)?;
    std::fs::read(&built).with_context(|| format!("{} cannot be read", built.display()))
}
