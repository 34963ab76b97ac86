//! How a snapshot lies on disk.
//!
//! ```text
//!  0  u8[8]   "KELSNAP" and zero
//!  8  u32     format version
//! 12  u32     length of the description
//! 16  ...     description: cluster id (16), log id of the last entry (1 or 17),
//!             membership's log id (1 or 17), membership; in version 2 also how many
//!             members have departed (u32) and their ids (8 each)
//!     u32     CRC-32C of all before
//!     ...     the machine's bytes
//!     u64     length of the machine's bytes
//!     u32     CRC-32C of the machine's bytes
//!     u8[4]   "KEND"
//! ```
//!
//! Version 2 is written only where somebody has departed. Numbers are little-endian. Length and
//! checksum come last because the machine's bytes are written as they are made.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use super::directory::SnapshotMeta;
use crate::raft::ClusterId;
use crate::raft::types::{
    StoredMembership, put_membership, put_optional_log_id, take_membership, take_optional_log_id,
};
use crate::raft::wire::Fields;

/// The newest format that this program reads and writes.
pub(crate) const VERSION: u32 = 2;
/// The format without departed members.
const WITHOUT_DEPARTED: u32 = 1;
/// Length of what stands after the machine's bytes.
pub(crate) const FOOTER: usize = 16;

const MAGIC: &[u8; 8] = b"KELSNAP\0";
const END: &[u8; 4] = b"KEND";
/// Longest description that is believed, in bytes.
const MAX_DESCRIPTION: u32 = 1 << 20;

/// Why a snapshot's frame cannot be believed.
#[derive(Debug)]
pub(crate) enum FormatFault {
    /// It is cut short or does not match its checksum.
    Damaged(&'static str),
    /// A newer program wrote it.
    Version(u32),
    /// It could not be read.
    Io(io::Error),
}

/// What stands before the machine's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// The cluster that the snapshot belongs to.
    pub(crate) cluster: ClusterId,
    /// What it covers.
    pub(crate) meta: SnapshotMeta,
    /// Members that were and are no more: their ids are never used again.
    pub(crate) departed: BTreeSet<u64>,
}

impl Header {
    /// Gives the header's bytes; `None` when the membership is impossibly long.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let mut description = Vec::new();
        description.extend(self.cluster.to_bytes());
        put_optional_log_id(&mut description, self.meta.last_log_id.as_ref());
        put_optional_log_id(
            &mut description,
            self.meta.last_membership.log_id().as_ref(),
        );
        put_membership(&mut description, self.meta.last_membership.membership());
        let version = if self.departed.is_empty() {
            WITHOUT_DEPARTED
        } else {
            let count = u32::try_from(self.departed.len()).ok()?;
            description.extend(count.to_le_bytes());
            for member in &self.departed {
                description.extend(member.to_le_bytes());
            }
            VERSION
        };
        let length = u32::try_from(description.len())
            .ok()
            .filter(|length| *length <= MAX_DESCRIPTION)?;
        let mut out = Vec::with_capacity(description.len() + 20);
        out.extend(MAGIC);
        out.extend(version.to_le_bytes());
        out.extend(length.to_le_bytes());
        out.extend(description);
        let checksum = crc32c::crc32c(&out);
        out.extend(checksum.to_le_bytes());
        Some(out)
    }

    /// Reads a header, and says how long it was in bytes.
    pub(crate) fn read(from: &mut impl Read) -> Result<(Self, u64), FormatFault> {
        let mut bytes = vec![0; 16];
        read_all(from, &mut bytes)?;
        let mut fields = Fields::new(&bytes);
        if fields.array::<8>().as_ref() != Some(MAGIC) {
            return Err(FormatFault::Damaged("it does not start as a snapshot does"));
        }
        let version = fields.u32().unwrap_or_default();
        if !(WITHOUT_DEPARTED..=VERSION).contains(&version) {
            return Err(FormatFault::Version(version));
        }
        let length = fields
            .u32()
            .filter(|length| *length <= MAX_DESCRIPTION)
            .ok_or(FormatFault::Damaged("its description is impossibly long"))?;
        let mut description = vec![0; usize::try_from(length).unwrap_or_default()];
        read_all(from, &mut description)?;
        let mut checksum = [0; 4];
        read_all(from, &mut checksum)?;
        if crc32c::crc32c_append(crc32c::crc32c(&bytes), &description)
            != u32::from_le_bytes(checksum)
        {
            return Err(FormatFault::Damaged(
                "the checksum of its header does not match",
            ));
        }
        let header = Self::parse(version, &description)
            .ok_or(FormatFault::Damaged("its description makes no sense"))?;
        Ok((header, 16 + u64::from(length) + 4))
    }

    fn parse(version: u32, description: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(description);
        let cluster = ClusterId::from_bytes(fields.array()?);
        let last_log_id = take_optional_log_id(&mut fields)?;
        let membership_id = take_optional_log_id(&mut fields)?;
        let last_membership = StoredMembership::new(membership_id, take_membership(&mut fields)?);
        let mut departed = BTreeSet::new();
        if version > WITHOUT_DEPARTED {
            for _ in 0..fields.u32()? {
                departed.insert(fields.u64()?);
            }
        }
        fields.is_empty().then_some(Self {
            cluster,
            meta: SnapshotMeta {
                last_log_id,
                last_membership,
            },
            departed,
        })
    }
}

/// Gives what stands after the machine's bytes.
pub(crate) fn encode_footer(length: u64, checksum: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(FOOTER);
    out.extend(length.to_le_bytes());
    out.extend(checksum.to_le_bytes());
    out.extend(END);
    out
}

/// Reads the machine's bytes and what stands after them; says how many bytes the machine's are,
/// once everything matches.
pub(crate) fn verify_body(from: &mut impl Read, remaining: u64) -> Result<u64, FormatFault> {
    const SHORT: FormatFault = FormatFault::Damaged("it is incomplete");
    let length = remaining.checked_sub(FOOTER as u64).ok_or(SHORT)?;
    let mut sum = Checksummed::new(io::sink(), u64::MAX);
    let copied = io::copy(&mut from.by_ref().take(length), &mut sum).map_err(FormatFault::Io)?;
    let mut footer = [0; FOOTER];
    read_all(from, &mut footer)?;
    let mut fields = Fields::new(&footer);
    if copied != length || fields.u64() != Some(length) {
        return Err(SHORT);
    }
    if fields.u32() != Some(sum.checksum) || fields.array::<4>().as_ref() != Some(END) {
        return Err(FormatFault::Damaged(
            "the checksum of its content does not match",
        ));
    }
    Ok(length)
}

fn read_all(from: &mut impl Read, into: &mut [u8]) -> Result<(), FormatFault> {
    from.read_exact(into).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => FormatFault::Damaged("it is incomplete"),
        _ => FormatFault::Io(error),
    })
}

/// Counts and sums what is written through it, and refuses what goes beyond its budget.
pub(crate) struct Checksummed<W> {
    inner: W,
    /// CRC-32C so far.
    pub(crate) checksum: u32,
    /// Bytes so far.
    pub(crate) length: u64,
    budget: u64,
}

impl<W: Write> Checksummed<W> {
    /// Starts at nothing; lets at most `budget` bytes through.
    pub(crate) fn new(inner: W, budget: u64) -> Self {
        Self {
            inner,
            checksum: 0,
            length: 0,
            budget,
        }
    }

    /// Gives the writer back.
    pub(crate) fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for Checksummed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wanted = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.length.saturating_add(wanted) > self.budget {
            let text = format!(
                "a snapshot may take {} bytes now, and this one needs more",
                self.budget
            );
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        }
        let written = self.inner.write(bytes)?;
        self.checksum = crc32c::crc32c_append(self.checksum, bytes.get(..written).unwrap_or(bytes));
        self.length += u64::try_from(written).unwrap_or(u64::MAX);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeMap;

    use super::*;
    use crate::raft::types::{Membership, Peer, log_id};

    fn header() -> Header {
        let membership = Membership::new(
            vec![BTreeSet::from([1])],
            BTreeMap::from([(
                1,
                Peer {
                    address: "a:1".into(),
                },
            )]),
        )
        .unwrap();
        let meta = SnapshotMeta {
            last_log_id: Some(log_id(3, 300)),
            last_membership: StoredMembership::new(Some(log_id(0, 0)), membership),
        };
        Header {
            cluster: ClusterId::from_bytes(*b"0123456789abcdef"),
            meta,
            departed: BTreeSet::new(),
        }
    }

    #[test]
    fn the_header_with_departed_members_keeps_its_bytes() {
        let with = Header {
            departed: BTreeSet::from([2, 0x0102]),
            ..header()
        };
        let bytes = with.encode().unwrap();
        let without = header().encode().unwrap();
        let mut expected = b"KELSNAP\0\x02\0\0\0\x67\0\0\0".to_vec();
        expected.extend(without.get(16..without.len() - 4).unwrap());
        expected.extend(b"\x02\0\0\0\x02\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0");
        expected.extend(crc32c::crc32c(&expected).to_le_bytes());
        assert_eq!(bytes, expected);
        let (read, length) = Header::read(&mut bytes.as_slice()).unwrap();
        assert_eq!((read, length), (with, bytes.len() as u64));
    }

    /// Old snapshots must stay readable: a change of these bytes needs a new format version and a
    /// reader for this one.
    #[test]
    fn the_header_keeps_its_bytes() {
        let bytes = header().encode().unwrap();
        let mut expected = b"KELSNAP\0\x01\0\0\0\x53\0\0\0".to_vec();
        expected.extend(b"0123456789abcdef\x01\x03\0\0\0\0\0\0\0\x2c\x01\0\0\0\0\0\0");
        expected.extend(b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        expected
            .extend(b"\x01\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0\x03\0a:1");
        expected.extend(crc32c::crc32c(&expected).to_le_bytes());
        assert_eq!(bytes, expected);
        let (read, length) = Header::read(&mut bytes.as_slice()).unwrap();
        assert_eq!((read, length), (header(), bytes.len() as u64));
    }

    #[test]
    fn any_flipped_bit_of_a_snapshot_is_noticed() {
        let mut good = header().encode().unwrap();
        let body = b"the machine's bytes";
        good.extend(body);
        good.extend(encode_footer(body.len() as u64, crc32c::crc32c(body)));
        let check = |bytes: &[u8]| {
            let mut from = bytes;
            let (_, length) = Header::read(&mut from)?;
            verify_body(&mut from, bytes.len() as u64 - length)
        };
        assert_eq!(check(&good).unwrap(), body.len() as u64);
        for position in 0..good.len() * 8 {
            let mut bad = good.clone();
            *bad.get_mut(position / 8).unwrap() ^= 1 << (position % 8);
            assert!(check(&bad).is_err(), "bit {position}");
        }
        for cut in 0..good.len() {
            assert!(check(good.get(..cut).unwrap()).is_err(), "cut at {cut}");
        }
    }
}
