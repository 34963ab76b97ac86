//! Snapshots: the machine's whole state in one file, so that the log before it can go.
//!
//! *Flow*: `directory.rs` writes a file under a temporary name, syncs it, renames it, syncs the
//! directory; then older ones go, all but one. `format.rs` says what is in a file; `incoming.rs`
//! holds what is on its way from another member. *Guarantees*: a
//! file with its final name is whole, or damaged by something else than a crash, and its checksums
//! tell. When the newest does not match its checksum it is set aside and the one before it is used:
//! the log still holds everything since that one.

mod directory;
mod error;
mod format;
mod incoming;

pub(crate) use directory::{Snapshot, SnapshotDirectory, SnapshotFile, SnapshotMeta, body_of};
pub use error::SnapshotError;
pub(crate) use incoming::{Incoming, Offered, name_checksum};
