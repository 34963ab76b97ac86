//! Sessions of agents: who is attached, what each has not been told yet, and which outputs are
//! read over them.
//!
//! `registry.rs` holds the sessions, `news.rs` what one of them has not been told, `writer.rs`
//! tells it, in messages that `pages.rs` cuts, `dispatch.rs` finds out what is news for whom,
//! `outputs.rs` takes the output of tasks to those who read it. Nothing here knows the API above
//! it; `api/sessions.rs` is the service that agents attach to.

mod dispatch;
mod news;
mod outputs;
mod pages;
mod registry;
mod writer;

pub(crate) use dispatch::run_dispatch;
pub(crate) use outputs::{Fault, Piece, WINDOW};
pub(crate) use registry::{Ending, Session, Sessions};
pub(crate) use writer::{run_writer, say};
