//! Tests of the kernel's pure part: one file per command, then rounds and fair share, then the
//! named properties over random entries.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod assignments;
mod commands;
mod events;
mod explain;
mod fair_share;
mod forms;
mod leader;
mod ports;
mod properties;
mod refusals;
mod repeats;
mod rounds;
mod standing;
mod under_way;
mod views;
mod world;
