//! Makes a scheduler component out of a Rust package of the workspace.
//!
//! This room decides how a first-party scheduler is compiled: for `wasm32-unknown-unknown`, so that
//! no WASI import can slip in, in the profile `guest`, in a target directory of its own, so that a
//! build script may do it while the outer cargo holds its lock. It never decides which packages are
//! schedulers. The bundle's build script and the tests use it.

mod cargo;
mod component;

pub use component::{BuildError, build_component};
