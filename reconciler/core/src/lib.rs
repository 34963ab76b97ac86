//! The reconciler's pure part: from the bytes of manifests to what should happen.
//!
//! This room decides what a commit asks for, what is wrong with it, how that differs from what is,
//! in which order the difference is closed, what is held back and why, and what counts as drift. It
//! never reads git, talks to a kernel, looks at a clock or waits: it is handed all of that.
//!
//! The way through: [`manifest`] turns files into desired objects with their positions and faults,
//! [`diff`] compares, [`plan`] orders, [`render`] tells people, and [`drift`] says what left git's
//! word without a commit. The codes of faults stand in `model/src/code.rs`.
//! Read `manifest/load.rs` first, then `plan/make.rs`.

pub mod diff;
pub mod drift;
pub mod guard;
pub mod manifest;
pub mod observed;
pub mod plan;
pub mod render;
