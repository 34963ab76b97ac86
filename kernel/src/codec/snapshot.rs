//! Snapshots: a stream of chunks.
//!
//! ```text
//!  0  u8[8]   "KELSONST"
//!  8  u32     version, 2
//! 12  ...     chunks, table by table, and an end
//!
//! a chunk:
//!  0  u32     number of the table; 0: the end
//!  4  u32     version of the table's form
//!  8  u32     how many rows
//! 12  u32     length of the rows in bytes
//! 16  u32     CRC-32C of what stands before in the chunk, and of the rows
//! 20  ...     rows
//!
//! the rows of the end:
//!     u64     how many chunks came before
//!     u64     how many rows
//!     u64     how many bytes, heads of chunks included
//! ```
//!
//! Numbers are little-endian. A chunk has at most 1 MiB, or one row; no more than one is held,
//! neither in writing nor in reading.

use std::io::{self, Read, Write};

use kelson_kernel_core::State;
use kelson_kernel_core::form::{CHUNK_BYTES, Chunk, MAX_ROW_BYTES, Rebuild, chunks};

use super::{CodecError, first};

/// The version of snapshots that this program writes.
const VERSION: u32 = 2;
/// What a snapshot begins with.
const MAGIC: &[u8; 8] = b"KELSONST";
/// Bytes before the rows of a chunk.
const HEAD: usize = 20;
/// Bytes of the rows of the end.
const END: usize = 24;

/// What stands in a snapshot so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Totals {
    chunks: u64,
    rows: u64,
    bytes: u64,
}

impl Totals {
    fn add(&mut self, chunk: &Chunk) {
        let length = u64::try_from(HEAD + chunk.bytes.len()).unwrap_or(u64::MAX);
        self.chunks = self.chunks.saturating_add(1);
        self.rows = self.rows.saturating_add(chunk.rows.into());
        self.bytes = self.bytes.saturating_add(length);
    }

    /// The chunk that ends a snapshot.
    fn end(self) -> Chunk {
        let numbers = [self.chunks, self.rows, self.bytes];
        Chunk {
            table: 0,
            version: 1,
            rows: 0,
            bytes: numbers.map(u64::to_le_bytes).concat(),
        }
    }
}

/// Writes a snapshot.
///
/// # Errors
/// The writer failed, or a row has no form that the cluster knows.
pub fn write_snapshot(state: &State, to: &mut dyn Write) -> io::Result<()> {
    to.write_all(MAGIC)?;
    to.write_all(&VERSION.to_le_bytes())?;
    let mut totals = Totals::default();
    for chunk in chunks(state) {
        let chunk = chunk.map_err(io::Error::other)?;
        write_chunk(&chunk, to)?;
        totals.add(&chunk);
    }
    write_chunk(&totals.end(), to)
}

fn write_chunk(chunk: &Chunk, to: &mut dyn Write) -> io::Result<()> {
    let length = u32::try_from(chunk.bytes.len()).map_err(io::Error::other)?;
    let numbers = [chunk.table, chunk.version, chunk.rows, length];
    let head = numbers.map(u32::to_le_bytes).concat();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&head), &chunk.bytes);
    to.write_all(&head)?;
    to.write_all(&checksum.to_le_bytes())?;
    to.write_all(&chunk.bytes)
}

/// Reads a snapshot of this version or the first.
///
/// # Errors
/// See [`CodecError`].
pub fn read_snapshot(from: &mut dyn Read) -> Result<State, CodecError> {
    let magic: [u8; 8] = read_array(from)?;
    if magic != *MAGIC {
        return Err(CodecError::NotASnapshot);
    }
    match u32::from_le_bytes(read_array(from)?) {
        first::VERSION => first::read_state(from),
        VERSION => read_chunks(from),
        version => Err(CodecError::Version(version)),
    }
}

fn read_chunks(from: &mut dyn Read) -> Result<State, CodecError> {
    let mut state = Rebuild::default();
    let mut totals = Totals::default();
    loop {
        let chunk = read_chunk(from)?;
        if chunk.table == 0 {
            return if chunk != totals.end() {
                Err(CodecError::Damaged("chunks are missing, or too many"))
            } else if from.read(&mut [0])? > 0 {
                Err(CodecError::Damaged("more follows its end"))
            } else {
                Ok(state.finish()?)
            };
        }
        state.add(&chunk)?;
        totals.add(&chunk);
    }
}

fn read_chunk(from: &mut dyn Read) -> Result<Chunk, CodecError> {
    let head: [u8; HEAD - 4] = read_array(from)?;
    let checksum = u32::from_le_bytes(read_array(from)?);
    let mut numbers = head.chunks_exact(4).map(|bytes| {
        let bytes = bytes.try_into().unwrap_or_default();
        u32::from_le_bytes(bytes)
    });
    let mut next = || numbers.next().unwrap_or_default();
    let (table, version, rows, length) = (next(), next(), next(), next());
    let most = match (table, rows) {
        (0, _) => END,
        (_, 1) => MAX_ROW_BYTES,
        _ => CHUNK_BYTES,
    };
    if usize::try_from(length).is_ok_and(|length| length > most) {
        return Err(CodecError::Damaged("a chunk is longer than any is written"));
    }
    // Room is made as bytes come: the length is not believed before the checksum is.
    let mut bytes = Vec::new();
    from.take(length.into()).read_to_end(&mut bytes)?;
    if u32::try_from(bytes.len()) != Ok(length)
        || crc32c::crc32c_append(crc32c::crc32c(&head), &bytes) != checksum
    {
        return Err(CodecError::Damaged(
            "the checksum of a chunk does not match",
        ));
    }
    Ok(Chunk {
        table,
        version,
        rows,
        bytes,
    })
}

fn read_array<const N: usize>(from: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}
