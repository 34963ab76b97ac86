//! Entries and replies.

use kelson_kernel_core::form::{self, Decoded};
use kelson_kernel_core::{Entry, Reply};

use super::{CodecError, first};

/// Writes an entry, as a cluster of this version knows it.
///
/// # Errors
/// Such a cluster does not know it.
pub fn encode_entry(entry: &Entry, cluster_version: u32) -> Result<Vec<u8>, CodecError> {
    Ok(form::encode_entry(entry, cluster_version)?)
}

/// Reads an entry.
///
/// # Errors
/// See [`CodecError`].
pub fn decode_entry(bytes: &[u8]) -> Result<Decoded, CodecError> {
    match bytes.first() {
        Some(&first::FIRST_BYTE) => first::decode_entry(bytes),
        _ => Ok(form::decode_entry(bytes)?),
    }
}

/// Writes a reply, as a cluster of this version knows it.
///
/// # Errors
/// As [`encode_entry`].
pub fn encode_reply(reply: &Reply, cluster_version: u32) -> Result<Vec<u8>, CodecError> {
    Ok(form::encode_reply(reply, cluster_version)?)
}

/// Reads a reply.
///
/// # Errors
/// See [`CodecError`].
pub fn decode_reply(bytes: &[u8]) -> Result<Reply, CodecError> {
    Ok(form::decode_reply(bytes)?)
}
