//! First-party scheduler components, built from source and embedded in the binary.
//!
//! This room decides which schedulers come in the box and embeds them; the build script lists and
//! makes them, in the way of `kelson-plugins-builder`. It never runs one (that is `plugins/host`)
//! and links none of their code: a scheduler in the box is a component like any other.

mod components;

pub use components::{ALL, Bundled, component};
