//! A harness for real processes: `kelson dev` on a repository of its own, asked only through its
//! command line, as a user or a script would.
//!
//! Used by `tests/` and by the demo. It decides nothing about Kelson and imports nothing of it:
//! what it knows is the documented face (verbs, JSON, exit codes), so it fails when that face
//! changes. Every wait has a deadline and ends with what was last seen; whatever a [`Dev`] started
//! is dead when it is dropped.
//!
//! Read next: [`Dev`] (a running cluster), [`TestRepo`] (a git repository to commit to), [`Cli`]
//! (the verbs), [`Visitor`] (a client that never stops asking), [`storm`] (random faults),
//! [`registers`] (whether what clients saw can have happened).

mod cli;
mod deadline;
mod dev;
mod guardian;
pub mod http;
pub mod lan;
pub mod manifest;
mod ports;
pub mod processes;
pub mod programs;
pub mod registers;
mod repo;
pub mod status;
pub mod storm;
mod visitor;

pub use cli::{Cli, Outcome};
pub use deadline::{Look, wait_for};
pub use dev::{Dev, DevBuilder};
pub use repo::TestRepo;
pub use visitor::{Visitor, Visits, url};
