//! Probing a task: over HTTP, over TCP, or by a program.

mod command;
mod http;
mod place;

pub(crate) use place::{Place, probe};
