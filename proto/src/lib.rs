//! The wire: `kelson/v1` protobuf, the code generated from it, and conversions to and from the
//! model.
//!
//! This room decides how things look between processes. It never decides what they mean. Read
//! `kelson/v1/agents.proto` (the session of an agent), `kelson/v1/kernel.proto` (clients of the
//! kernel), `kelson/v1/members.proto` (the members among themselves) and `kelson/v1/relay.proto`
//! (what followers hand to the leader), then `convert.rs`.

mod convert;

pub use convert::{ConvertError, session_end};

/// Largest message that either side accepts, in bytes.
pub const MAX_MESSAGE: usize = 4 << 20;
/// Bytes after which whoever makes a list begins the next message; well below [`MAX_MESSAGE`],
/// since one item may exceed it by its own size, which the log bounds.
pub const PAGE: usize = 1 << 20;
/// Largest piece of a blob in one message, in bytes.
pub const BLOB_CHUNK: usize = 256 << 10;

/// The generated code of package `kelson.v1`.
#[expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code; its documentation stands in the proto files"
)]
pub mod v1 {
    tonic::include_proto!("kelson.v1");
}
