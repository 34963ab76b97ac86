//! The client of the kernel's HTTP API, as the verbs use it.
//!
//! Read `address.rs` (which kernel), `connection.rs` (one request), `api.rs` (what can be asked),
//! `lines.rs` (streams).

mod address;
mod api;
mod connection;
mod lines;

pub(crate) use address::{Address, dev_here};
pub(crate) use api::{Client, WatchBatch};
