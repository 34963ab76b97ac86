//! The birds of a later version: a flock may say its song.
//!
//! It exists for upgrades: the same kind, with one field more.

#[path = "../../birds/src/lib.rs"]
mod birds;

pub use birds::Birds;
