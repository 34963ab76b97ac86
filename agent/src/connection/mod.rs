//! The session with the kernel: one bidirectional stream, attached again whenever it breaks.

mod backoff;
mod channel;
mod logs;
mod orders;
mod session;

pub(crate) use backoff::Backoff;
pub(crate) use channel::channel;
pub(crate) use session::{Attachment, run_connection};
