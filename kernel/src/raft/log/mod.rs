//! The write-ahead log: one ordered stream of votes, entries, truncations, purges and commit marks,
//! in segments.
//!
//! *Flow*: `store.rs` is what openraft calls. A call changes the in-memory `index.rs` and appends
//! frames to the queue of `shared.rs`, both under one short lock; the thread of `writer.rs` takes
//! the whole queue, does one write and one fdatasync for all of it, and then completes the
//! callbacks in their order. So votes and entries can never be reordered, and many proposals share
//! one fdatasync without anyone waiting on a timer.
//!
//! *On disk*: `segment.rs` (a file with a header, then frames), `frame.rs` (length, sequence
//! number, CRC-32C), `record.rs` (what a frame says). A new segment starts with the vote, the purge
//! mark and the commit mark, so that a segment whose entries are all gone can simply be unlinked.
//!
//! *Guarantees*: what was acknowledged is there after `kill -9` and after a power cut, if the disk
//! keeps what it synced. Only a record that was never acknowledged is ever cut, and that is logged;
//! any other damage is an error that names file and offset, and the member does not start
//! (`recovery.rs`).
//!
//! *Caveats*: after a power cut on a file system that persists the end of an append before its
//! beginning, an unacknowledged batch may look like damage. The member then refuses to start rather
//! than guess. After a failed write or fdatasync the log is never written again by that process.

mod error;
mod frame;
mod index;
mod record;
mod recovery;
mod segment;
mod shared;
mod store;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod suite_tests;

pub use error::LogError;
pub(crate) use index::Found;
pub(crate) use recovery::{Torn, recover};
pub(crate) use shared::LogOptions;
pub(crate) use store::{LogStore, LogWatch};
