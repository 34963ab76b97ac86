//! What a frame says: a vote, an entry, a truncation, a purge or a commit mark.

use bytes::Bytes;
use openraft::EntryPayload;

use super::frame::Frame;
use crate::raft::types::{
    Entry, LogId, Payload, Vote, put_log_id, put_membership, put_optional_log_id, take_log_id,
    take_membership, take_optional_log_id, vote,
};
use crate::raft::wire::Fields;

const VOTE: u8 = 1;
const ENTRY: u8 = 2;
const TRUNCATE: u8 = 3;
const PURGE: u8 = 4;
const COMMITTED: u8 = 5;

const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// One record of the log.
#[derive(Debug, Clone)]
pub(crate) enum Record {
    /// The ballot of this member.
    Vote(Vote),
    /// An entry at its index.
    Entry(Entry),
    /// Every entry after this one is void; `None` voids all.
    Truncate(Option<LogId>),
    /// Every entry up to and including this one is in a snapshot.
    Purge(LogId),
    /// Every entry up to and including this one is committed.
    Committed(Option<LogId>),
}

impl Record {
    /// Appends the record as a frame with this sequence number.
    pub(crate) fn append(&self, out: &mut Vec<u8>, sequence: u64) {
        let mut body = Vec::with_capacity(48);
        match self {
            Self::Vote(vote) => {
                body.extend(vote.leader_id.term.to_le_bytes());
                body.extend(vote.leader_id.voted_for.to_le_bytes());
                body.push(u8::from(vote.committed));
                Frame::append(out, VOTE, sequence, &[&body]);
            }
            Self::Entry(entry) => {
                put_log_id(&mut body, &entry.log_id);
                match &entry.payload {
                    EntryPayload::Blank => {
                        body.push(BLANK);
                        Frame::append(out, ENTRY, sequence, &[&body]);
                    }
                    EntryPayload::Normal(Payload(bytes)) => {
                        body.push(NORMAL);
                        Frame::append(out, ENTRY, sequence, &[&body, bytes]);
                    }
                    EntryPayload::Membership(membership) => {
                        body.push(MEMBERSHIP);
                        put_membership(&mut body, membership);
                        Frame::append(out, ENTRY, sequence, &[&body]);
                    }
                }
            }
            Self::Truncate(after) => {
                put_optional_log_id(&mut body, after.as_ref());
                Frame::append(out, TRUNCATE, sequence, &[&body]);
            }
            Self::Purge(upto) => {
                put_log_id(&mut body, upto);
                Frame::append(out, PURGE, sequence, &[&body]);
            }
            Self::Committed(upto) => {
                put_optional_log_id(&mut body, upto.as_ref());
                Frame::append(out, COMMITTED, sequence, &[&body]);
            }
        }
    }

    /// Reads the record of a frame whose checksum matched; `None` when no version of this program
    /// writes such a record.
    pub(crate) fn parse(frame: &Frame<'_>) -> Option<Self> {
        let mut fields = Fields::new(frame.body);
        let record = match frame.kind {
            VOTE => {
                let term = fields.u64()?;
                let member = fields.u64()?;
                let committed = match fields.u8()? {
                    0 => false,
                    1 => true,
                    _ => return None,
                };
                Self::Vote(vote(term, member, committed))
            }
            ENTRY => {
                let log_id = take_log_id(&mut fields)?;
                let payload = match fields.u8()? {
                    BLANK => EntryPayload::Blank,
                    NORMAL => {
                        let payload = Payload(Bytes::copy_from_slice(fields.rest()));
                        return Some(Self::Entry(Entry {
                            log_id,
                            payload: EntryPayload::Normal(payload),
                        }));
                    }
                    MEMBERSHIP => EntryPayload::Membership(take_membership(&mut fields)?),
                    _ => return None,
                };
                Self::Entry(Entry { log_id, payload })
            }
            TRUNCATE => Self::Truncate(take_optional_log_id(&mut fields)?),
            PURGE => Self::Purge(take_log_id(&mut fields)?),
            COMMITTED => Self::Committed(take_optional_log_id(&mut fields)?),
            _ => return None,
        };
        fields.is_empty().then_some(record)
    }
}

/// Says about how many bytes of memory an entry's payload takes.
pub(crate) fn payload_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Blank => 0,
        EntryPayload::Normal(Payload(bytes)) => bytes.len(),
        EntryPayload::Membership(membership) => 64 * membership.nodes().count(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::collections::{BTreeMap, BTreeSet};
    use std::fmt::Write;

    use super::*;
    use crate::raft::types::{Membership, Peer, log_id};

    fn examples() -> Vec<Record> {
        let entry = |index, payload| {
            Record::Entry(Entry {
                log_id: log_id(3, index),
                payload,
            })
        };
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
        vec![
            Record::Vote(vote(3, 1, true)),
            entry(0, EntryPayload::Membership(membership)),
            entry(1, EntryPayload::Blank),
            entry(
                2,
                EntryPayload::Normal(Payload(Bytes::from_static(b"hello"))),
            ),
            Record::Committed(Some(log_id(3, 2))),
            Record::Committed(None),
            Record::Truncate(Some(log_id(3, 1))),
            Record::Truncate(None),
            Record::Purge(log_id(3, 1)),
        ]
    }

    #[test]
    fn every_record_comes_back_as_it_was() {
        for (sequence, record) in (1..).zip(examples()) {
            let mut bytes = Vec::new();
            record.append(&mut bytes, sequence);
            let read = Record::parse(&Frame::parse(&bytes).unwrap()).unwrap();
            assert_eq!(format!("{read:?}"), format!("{record:?}"));
        }
    }

    /// Old logs must stay readable: a change of these bytes needs a new format version and a reader
    /// for this one.
    #[test]
    fn the_records_keep_their_bytes() {
        let mut lines = String::new();
        for (sequence, record) in (1..).zip(examples()) {
            let mut bytes = Vec::new();
            record.append(&mut bytes, sequence);
            for byte in bytes {
                write!(lines, "{byte:02x}").unwrap();
            }
            lines.push('\n');
        }
        assert_eq!(lines, include_str!("golden/records-v1.hex"));
    }

    #[test]
    fn unknown_kinds_and_trailing_bytes_are_refused() {
        assert!(
            Record::parse(&Frame {
                kind: 99,
                sequence: 1,
                body: b""
            })
            .is_none()
        );
        assert!(
            Record::parse(&Frame {
                kind: COMMITTED,
                sequence: 1,
                body: b"\0extra"
            })
            .is_none()
        );
        assert!(
            Record::parse(&Frame {
                kind: ENTRY,
                sequence: 1,
                body: &[0; 17]
            })
            .is_some()
        );
        assert!(
            Record::parse(&Frame {
                kind: ENTRY,
                sequence: 1,
                body: &[9; 17]
            })
            .is_none()
        );
    }
}
