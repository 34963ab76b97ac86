//! Forms: how entries, replies and rows of the state stand as bytes.
//!
//! *What it decides:* one strict, positional, little binary form for everything that outlives the
//! program that wrote it. Numbers are varints, lists and texts say their length, and a short text
//! that came before in the same piece is told by its number. Nothing is skipped: an unknown number,
//! version or byte, and bytes behind the end, are errors.
//!
//! *How a form is stated:* apart from the type, field by field (`form!`), and taking the type apart
//! completely, so that a new field does not compile until somebody has decided about it.
//!
//! *How a form changes:* it does not, once a version of the program was released. What is new has
//! a level, the cluster version since which members know it. Commands (`command.rs`), heads of
//! entries (`entry.rs`), replies (`reply.rs`) and tables (`table.rs`) have versions, each with its
//! level; a field that came later is stated with `since` and stands only where the level has it.
//!
//! Read `statement.rs` first, then `entry.rs` and `table.rs`. Files and streams around the bytes
//! are the shell's.

#[macro_use]
mod statement;

mod access;
mod columns;
mod command;
mod entry;
mod error;
mod hash;
mod ids;
mod machine;
mod object;
mod reader;
mod rebuild;
mod reply;
mod source;
mod table;
mod task;
mod turn;
mod version;
mod writer;

#[cfg(test)]
mod size_tests;

pub(crate) use command::first_since;
pub use command::{COMMANDS, CommandForm, allow, command_form};
pub use entry::{Decoded, decode_entry, encode_entry};
pub use error::FormError;
pub(crate) use hash::Hashes;
pub use hash::StateHash;
pub use rebuild::Rebuild;
pub use reply::{decode_reply, encode_reply};
pub use table::{CHUNK_BYTES, Chunk, MAX_ROW_BYTES, TABLES, Table, TableForm, chunks};
pub use version::{CLUSTER_VERSION, FORM};
