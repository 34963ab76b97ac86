//! Kelson from outside: real processes, real git, the documented verbs and JSON, and nothing else.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod cluster;
mod command_line;
mod documents;
mod drift;
mod first_steps;
mod git;
mod releases;
mod restarts;
mod servers;
