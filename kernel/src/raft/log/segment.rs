//! A segment: one file of the log, with a header that says whose it is.
//!
//! ```text
//!  0  u8[8]   "KELSWAL" and zero
//!  8  u32     format version
//! 12  u32     zero
//! 16  u8[16]  cluster id
//! 32  u64     number of the segment, the same as in its name
//! 40  u64     sequence number of its first frame
//! 48  u32     CRC-32C of bytes 0 to 48
//! 52  ...     frames
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use super::error::LogError;
use crate::raft::ClusterId;
use crate::raft::wire::Fields;

/// Length of a segment's header, in bytes.
pub(crate) const SEGMENT_HEADER: usize = 52;
/// The format that this program writes, and the newest that it reads.
pub(crate) const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"KELSWAL\0";

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// The cluster that the log belongs to.
    pub(crate) cluster: ClusterId,
    /// Which segment this is, counted from 1.
    pub(crate) number: u64,
    /// The sequence number of its first frame.
    pub(crate) first_sequence: u64,
}

/// Why a header cannot be believed.
#[derive(Debug)]
pub(crate) enum HeaderFault {
    /// It is cut short or does not match its checksum.
    Damaged(&'static str),
    /// A newer program wrote it.
    Version(u32),
}

impl SegmentHeader {
    /// Gives the header's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEGMENT_HEADER);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend([0; 4]);
        out.extend(self.cluster.to_bytes());
        out.extend(self.number.to_le_bytes());
        out.extend(self.first_sequence.to_le_bytes());
        let checksum = crc32c::crc32c(&out);
        out.extend(checksum.to_le_bytes());
        out
    }

    /// Reads the header at the front of a segment.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, HeaderFault> {
        const SHORT: HeaderFault = HeaderFault::Damaged("the segment's header is incomplete");
        let mut fields = Fields::new(bytes);
        if fields.array::<8>().ok_or(SHORT)? != *MAGIC {
            return Err(HeaderFault::Damaged("this is not a segment of a log"));
        }
        let version = fields.u32().ok_or(SHORT)?;
        let reserved = fields.u32().ok_or(SHORT)?;
        let cluster = ClusterId::from_bytes(fields.array().ok_or(SHORT)?);
        let number = fields.u64().ok_or(SHORT)?;
        let first_sequence = fields.u64().ok_or(SHORT)?;
        let checksum = fields.u32().ok_or(SHORT)?;
        if checksum != crc32c::crc32c(bytes.get(..48).ok_or(SHORT)?) || reserved != 0 {
            return Err(HeaderFault::Damaged(
                "the checksum of the segment's header does not match",
            ));
        }
        if version != VERSION {
            return Err(HeaderFault::Version(version));
        }
        Ok(Self {
            cluster,
            number,
            first_sequence,
        })
    }
}

/// Names the file of a segment.
pub(crate) fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016x}.wal"))
}

/// Lists the numbers of the segments in a directory, in order; files that are not segments are left
/// alone.
pub(crate) fn list_segments(directory: &Path) -> Result<Vec<u64>, LogError> {
    let mut numbers = Vec::new();
    for entry in
        fs::read_dir(directory).map_err(|source| LogError::io("listing", directory, source))?
    {
        let entry = entry.map_err(|source| LogError::io("listing", directory, source))?;
        let name = entry.file_name();
        let Some(stem) = name
            .to_str()
            .and_then(|name| name.strip_suffix(".wal"))
            .filter(|stem| stem.len() == 16)
        else {
            continue;
        };
        if let Ok(number) = u64::from_str_radix(stem, 16) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    const HEADER: SegmentHeader = SegmentHeader {
        cluster: ClusterId::from_bytes(*b"0123456789abcdef"),
        number: 2,
        first_sequence: 300,
    };

    #[test]
    fn the_header_keeps_its_bytes() {
        let mut expected =
            b"KELSWAL\0\x01\0\0\0\0\0\0\x000123456789abcdef\x02\0\0\0\0\0\0\0\x2c\x01\0\0\0\0\0\0"
                .to_vec();
        expected.extend(crc32c::crc32c(&expected).to_le_bytes());
        assert_eq!(HEADER.encode(), expected);
        assert_eq!(expected.len(), SEGMENT_HEADER);
        assert_eq!(SegmentHeader::parse(&expected).unwrap(), HEADER);
    }

    #[test]
    fn any_flipped_bit_of_a_header_is_noticed() {
        let good = HEADER.encode();
        for position in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[position / 8] ^= 1 << (position % 8);
            assert!(SegmentHeader::parse(&bad).is_err(), "bit {position}");
        }
    }
}
