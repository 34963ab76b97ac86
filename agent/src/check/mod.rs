//! Probing a task: over HTTP, over TCP, or by a program.

mod command;
mod http;
mod prober;

pub(crate) use prober::Prober;
