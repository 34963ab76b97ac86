//! The client of the kernel's HTTP API, as the verbs use it.
//!
//! Read `here.rs` (which kernel), `connection.rs` (one request), `api.rs` (what can be asked),
//! `lines.rs` (streams).

mod address;
mod api;
mod connection;
mod credentials;
mod here;
mod lines;

pub(crate) use address::{Address, parse_addresses};
pub(crate) use api::{Client, WatchBatch, user};
pub(crate) use credentials::own_file as own_credentials;
pub(crate) use here::{address_here, dev_here};
