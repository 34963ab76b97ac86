//! The loop against real repositories and a kernel of the tests' own.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod bad_commits;
mod branches;
mod connection;
mod drifting;
mod foretold;
mod frameworks;
mod guarding;
mod incremental;
mod kernel;
mod loops;
mod stand;
mod wire;
