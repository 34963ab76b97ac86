//! Real certificates, files and handshakes.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod certificates;
mod handshakes;
mod stage;
