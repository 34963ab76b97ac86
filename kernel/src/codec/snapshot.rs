//! Snapshots: a magic word, a version, and the state as named MessagePack.

use std::io::{self, Read, Write};

use kelson_kernel_core::{Records, State};

use super::CodecError;

/// The version of snapshots that this program writes.
const SNAPSHOT_VERSION: u32 = 1;
/// What a snapshot begins with.
const SNAPSHOT_MAGIC: &[u8; 8] = b"KELSONST";

/// Writes a snapshot.
///
/// # Errors
/// The writer failed.
pub fn write_snapshot(state: &State, to: &mut dyn Write) -> io::Result<()> {
    to.write_all(SNAPSHOT_MAGIC)?;
    to.write_all(&SNAPSHOT_VERSION.to_le_bytes())?;
    let mut serializer = rmp_serde::Serializer::new(to).with_struct_map();
    let records: &Records = state;
    serde::Serialize::serialize(records, &mut serializer).map_err(io::Error::other)
}

/// Reads a snapshot.
///
/// # Errors
/// See [`CodecError`].
pub fn read_snapshot(from: &mut dyn Read) -> Result<State, CodecError> {
    let mut head = [0u8; 12];
    from.read_exact(&mut head)?;
    let (magic, version) = head.split_at(8);
    if magic != SNAPSHOT_MAGIC {
        return Err(CodecError::NotASnapshot);
    }
    let version = version
        .iter()
        .rev()
        .fold(0u32, |number, byte| (number << 8) | u32::from(*byte));
    if version != SNAPSHOT_VERSION {
        return Err(CodecError::Version(version));
    }
    let records: Records = rmp_serde::from_read(from)?;
    Ok(State::from(records))
}

/// Names the content of a state: equal states have equal hashes on every member. What only counts
/// entries is left out: index and term.
pub fn state_hash(state: &State) -> String {
    let mut content = Records::clone(state);
    content.index = kelson_model::id::Index(0);
    content.term = 0;
    let bytes = rmp_serde::to_vec_named(&content).unwrap_or_default();
    kelson_model::id::Digest::of(&bytes).to_string()
}
