//! The sandbox with real components, compiled from source.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod alike;
mod bench;
mod faults;
mod hostile;
mod loading;
mod service;
mod turns;
