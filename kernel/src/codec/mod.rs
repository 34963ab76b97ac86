//! Bytes: entries and snapshots as they stand on disk.
//!
//! An entry is a protobuf envelope (version, body); the body is MessagePack with named fields, so
//! that a reader knows what it does not know: an unknown command, field or version is an error, and
//! the member stops. A snapshot begins with a magic word and a version. Old golden files keep
//! decoding.

mod entry;
mod snapshot;

#[cfg(test)]
mod size_tests;
#[cfg(test)]
mod tests;

pub use entry::{CodecError, decode_entry, decode_reply, encode_entry, encode_reply};
pub use snapshot::{read_snapshot, state_hash, write_snapshot};
