//! How one record lies on disk: a header of 20 bytes, then the body.
//!
//! ```text
//!  0  u8[2]  "KL"
//!  2  u8     kind of record
//!  3  u8     zero
//!  4  u32    length of the body
//!  8  u64    sequence number: one more than the frame before it, across segments
//! 16  u32    CRC-32C of bytes 0 to 16 and of the body
//! 20  ...    body
//! ```
//!
//! Numbers are little-endian. The magic and the sequence number let recovery tell a torn tail
//! (nothing of ours follows) from damage (something does).

use crate::raft::wire::Fields;

/// Length of a frame's header, in bytes.
pub(crate) const FRAME_HEADER: usize = 20;
/// Longest body that is written or believed, in bytes; far above the longest entry.
pub(crate) const MAX_BODY: usize = 8 * 1024 * 1024;

const MAGIC: [u8; 2] = *b"KL";

/// One frame as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// What sort of record the body is.
    pub(crate) kind: u8,
    /// Its place in the stream.
    pub(crate) sequence: u64,
    /// The record.
    pub(crate) body: &'a [u8],
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameFault {
    /// The bytes end before the frame does.
    #[error("the record is incomplete")]
    Incomplete,
    /// The first bytes are not a frame's.
    #[error("there is no record where one should start")]
    NotAFrame,
    /// The length cannot be right.
    #[error("the record's length is impossible")]
    BadLength,
    /// The checksum does not match.
    #[error("the record's checksum does not match")]
    BadChecksum,
}

impl<'a> Frame<'a> {
    /// Appends a frame whose body is given in parts.
    pub(crate) fn append(out: &mut Vec<u8>, kind: u8, sequence: u64, body: &[&[u8]]) {
        let length: usize = body.iter().map(|part| part.len()).sum();
        let mut header = Vec::with_capacity(FRAME_HEADER);
        header.extend(MAGIC);
        header.extend([kind, 0]);
        header.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        header.extend(sequence.to_le_bytes());
        let checksum = body.iter().fold(crc32c::crc32c(&header), |sum, part| {
            crc32c::crc32c_append(sum, part)
        });
        header.extend(checksum.to_le_bytes());
        out.extend(header);
        for part in body {
            out.extend(*part);
        }
    }

    /// Reads the frame at the front of `bytes`.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, FrameFault> {
        let mut fields = Fields::new(bytes);
        let magic = fields.array::<2>().ok_or(FrameFault::Incomplete)?;
        if magic != MAGIC {
            return Err(FrameFault::NotAFrame);
        }
        let kind = fields.u8().ok_or(FrameFault::Incomplete)?;
        if fields.u8().ok_or(FrameFault::Incomplete)? != 0 {
            return Err(FrameFault::NotAFrame);
        }
        let length = fields.u32().ok_or(FrameFault::Incomplete)?;
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= MAX_BODY)
            .ok_or(FrameFault::BadLength)?;
        let sequence = fields.u64().ok_or(FrameFault::Incomplete)?;
        let checksum = fields.u32().ok_or(FrameFault::Incomplete)?;
        let body = fields.bytes(length).ok_or(FrameFault::Incomplete)?;
        let covered = bytes.get(..16).ok_or(FrameFault::Incomplete)?;
        if crc32c::crc32c_append(crc32c::crc32c(covered), body) != checksum {
            return Err(FrameFault::BadChecksum);
        }
        Ok(Self {
            kind,
            sequence,
            body,
        })
    }

    /// Length of the whole frame, in bytes.
    pub(crate) fn length(&self) -> usize {
        FRAME_HEADER + self.body.len()
    }
}

/// Looks for a frame of ours anywhere in `bytes`: one that is whole, and whose sequence number can
/// follow `after`.
pub(crate) fn find_frame(bytes: &[u8], after: u64) -> Option<usize> {
    let furthest = after
        .saturating_add(u64::try_from(bytes.len() / FRAME_HEADER).unwrap_or(u64::MAX))
        .saturating_add(1);
    bytes
        .windows(MAGIC.len())
        .enumerate()
        .filter(|(_, window)| *window == MAGIC)
        .map(|(offset, _)| offset)
        .find(|offset| {
            bytes
                .get(*offset..)
                .and_then(|rest| Frame::parse(rest).ok())
                .is_some_and(|frame| frame.sequence >= after && frame.sequence <= furthest)
        })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    fn framed(sequence: u64, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Frame::append(&mut out, 2, sequence, &[body]);
        out
    }

    #[test]
    fn a_frame_comes_back_as_it_was() {
        let bytes = framed(7, b"hello");
        assert_eq!(
            Frame::parse(&bytes),
            Ok(Frame {
                kind: 2,
                sequence: 7,
                body: b"hello"
            })
        );
        assert_eq!(Frame::parse(&bytes).unwrap().length(), bytes.len());
    }

    #[test]
    fn a_body_in_parts_is_the_same_frame_as_a_body_in_one() {
        let mut parts = Vec::new();
        Frame::append(&mut parts, 2, 7, &[b"he", b"", b"llo"]);
        assert_eq!(parts, framed(7, b"hello"));
    }

    #[test]
    fn any_flipped_bit_of_a_frame_is_noticed() {
        let good = framed(7, b"hello");
        for position in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[position / 8] ^= 1 << (position % 8);
            assert!(Frame::parse(&bad).is_err(), "bit {position}");
        }
    }

    #[test]
    fn a_frame_cut_anywhere_is_incomplete() {
        let good = framed(7, b"hello");
        for cut in 0..good.len() {
            assert_eq!(
                Frame::parse(&good[..cut]),
                Err(FrameFault::Incomplete),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn a_later_frame_is_found_behind_garbage_and_an_alien_one_is_not() {
        let mut bytes = b"KLxx garbage".to_vec();
        let offset = bytes.len();
        bytes.extend(framed(9, b"later"));
        assert_eq!(find_frame(&bytes, 8), Some(offset));
        assert_eq!(
            find_frame(&bytes, 10),
            None,
            "a sequence number from the past is not ours"
        );
        assert_eq!(
            find_frame(&framed(1 << 40, b"far"), 8),
            None,
            "nor is one from far away"
        );
    }
}
