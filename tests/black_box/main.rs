//! Kelson from outside: real processes, real git, the documented verbs and JSON, and nothing else.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod cluster;
mod command_line;
mod crashes;
mod documents;
mod drift;
mod first_steps;
mod founded;
mod frameworks;
mod git;
mod machine;
mod operate;
mod releases;
mod restarts;
mod servers;
mod storm;
