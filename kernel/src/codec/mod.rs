//! Bytes: entries and snapshots as they stand on disk.
//!
//! The forms are the core's (`kernel/core/src/form`); this room puts snapshots into a stream of
//! chunks with checksums, and reads what the first version wrote (`first.rs`). Whatever a program
//! does not know, a form, command, table, version or byte, is an error, and the member stops. Old
//! golden files keep decoding.

mod entry;
mod error;
mod first;
mod snapshot;

#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
mod tests;

pub use entry::{decode_entry, decode_reply, encode_entry, encode_reply};
pub use error::CodecError;
pub use snapshot::{read_snapshot, write_snapshot};
