//! Entries and replies: a protobuf envelope around named MessagePack.

use std::io;

use kelson_kernel_core::{Entry, Reply};
use prost::Message;

/// The version of entries that this program writes; it reads this one and all before it.
pub(super) const ENTRY_VERSION: u32 = 1;
/// Bytes that are no entry, reply or snapshot of a version that this program knows.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The envelope cannot be read.
    #[error("the envelope cannot be read: {0}")]
    Envelope(#[from] prost::DecodeError),
    /// A newer program wrote it.
    #[error("version {0} is newer than this program")]
    Version(u32),
    /// The body has something that this program does not know, or lacks something.
    #[error("the body cannot be read: {0}")]
    Body(#[from] rmp_serde::decode::Error),
    /// The body cannot be written.
    #[error("the body cannot be written: {0}")]
    Write(#[from] rmp_serde::encode::Error),
    /// It is no snapshot at all.
    #[error("this is not a snapshot of a kernel")]
    NotASnapshot,
    /// The file could not be read.
    #[error("the snapshot cannot be read: {0}")]
    Read(#[from] io::Error),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Envelope {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) body: Vec<u8>,
}

fn seal<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let body = rmp_serde::to_vec_named(value)?;
    Ok(Envelope {
        version: ENTRY_VERSION,
        body,
    }
    .encode_to_vec())
}

fn open<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let envelope = Envelope::decode(bytes)?;
    if envelope.version != ENTRY_VERSION {
        return Err(CodecError::Version(envelope.version));
    }
    Ok(rmp_serde::from_slice(&envelope.body)?)
}

/// Writes an entry.
///
/// # Errors
/// The entry holds something that MessagePack has no form for; none of ours does.
pub fn encode_entry(entry: &Entry) -> Result<Vec<u8>, CodecError> {
    seal(entry)
}

/// Reads an entry.
///
/// # Errors
/// See [`CodecError`].
pub fn decode_entry(bytes: &[u8]) -> Result<Entry, CodecError> {
    open(bytes)
}

/// Writes a reply.
///
/// # Errors
/// As [`encode_entry`].
pub fn encode_reply(reply: &Reply) -> Result<Vec<u8>, CodecError> {
    seal(reply)
}

/// Reads a reply.
///
/// # Errors
/// See [`CodecError`].
pub fn decode_reply(bytes: &[u8]) -> Result<Reply, CodecError> {
    open(bytes)
}
