//! The first version, which is read and never written: a protobuf envelope around MessagePack with
//! named fields, of the types of that time, which have only gained fields with defaults since.

use std::io::Read;

use kelson_kernel_core::form::Decoded;
use kelson_kernel_core::{Records, State};
use prost::Message;

use super::CodecError;

/// What the envelope says, and the number in a snapshot's head.
pub(super) const VERSION: u32 = 1;
/// What an envelope begins with.
pub(super) const FIRST_BYTE: u8 = 8;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Envelope {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) body: Vec<u8>,
}

/// Reads an entry.
pub(super) fn decode_entry(bytes: &[u8]) -> Result<Decoded, CodecError> {
    let envelope = Envelope::decode(bytes)?;
    if envelope.version != VERSION {
        return Err(CodecError::Version(envelope.version));
    }
    Ok(Decoded {
        entry: rmp_serde::from_slice(&envelope.body)?,
        since: 0,
    })
}

/// Reads a state, behind the head of its snapshot.
pub(super) fn read_state(from: &mut dyn Read) -> Result<State, CodecError> {
    let records: Records = rmp_serde::from_read(from)?;
    Ok(State::from(records))
}
