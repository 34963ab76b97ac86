//! The types that openraft is configured with, and how those that reach the disk become our own
//! bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use openraft::alias::{LogIdOf, StoredMembershipOf, VoteOf};
use openraft::impls::leader_id_std;

use super::machine::Position;
use super::wire::Fields;

openraft::declare_raft_types!(
    /// How Kelson uses openraft: at most one leader per term (so that a term alone fences a
    /// leader), opaque payloads, addresses as members.
    pub(crate) TypeConfig:
        D = Payload,
        R = Reply,
        NodeId = u64,
        Node = Peer,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<Self::Term, Self::NodeId>,
);

/// An entry as openraft hands it to the log.
pub(crate) type Entry = <TypeConfig as openraft::RaftTypeConfig>::Entry;
/// Where an entry stands: term and index.
pub(crate) type LogId = LogIdOf<TypeConfig>;
/// A ballot, given or committed.
pub(crate) type Vote = VoteOf<TypeConfig>;
/// The members, and the entry that made them so.
pub(crate) type StoredMembership = StoredMembershipOf<TypeConfig>;
/// The members alone.
pub(crate) type Membership = openraft::Membership<u64, Peer>;

/// Makes a log id of its two numbers.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId {
        leader_id: term.into(),
        index,
    }
}

/// Gives the two numbers of a log id.
pub(crate) fn position(id: &LogId) -> Position {
    Position {
        term: id.leader_id.term,
        index: id.index,
    }
}

/// Makes a vote of its three facts.
pub(crate) fn vote(term: u64, member: u64, committed: bool) -> Vote {
    Vote {
        leader_id: leader_id_std::LeaderId {
            term,
            voted_for: member,
        },
        committed,
    }
}

/// What a proposal carries: bytes that only the machine understands.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Payload(pub(crate) Bytes);

/// What the machine answered to a payload; empty for entries that never reach it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Reply(pub(crate) Bytes);

/// A member as the others know it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Peer {
    /// Where the member's API listens, as `host:port`; empty when it has not said.
    pub(crate) address: String,
}

// Payloads may hold environment values, so neither of these ever shows its content.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Longest address that is stored or read, in bytes.
pub(crate) const MAX_ADDRESS: usize = 1024;

/// Appends a log id: term, index.
pub(crate) fn put_log_id(out: &mut Vec<u8>, id: &LogId) {
    out.extend(id.leader_id.term.to_le_bytes());
    out.extend(id.index.to_le_bytes());
}

/// Reads what [`put_log_id`] wrote.
pub(crate) fn take_log_id(fields: &mut Fields<'_>) -> Option<LogId> {
    let term = fields.u64()?;
    Some(log_id(term, fields.u64()?))
}

/// Appends an optional log id: one byte that says whether it is there, then the id.
pub(crate) fn put_optional_log_id(out: &mut Vec<u8>, id: Option<&LogId>) {
    match id {
        None => out.push(0),
        Some(id) => {
            out.push(1);
            put_log_id(out, id);
        }
    }
}

/// Reads what [`put_optional_log_id`] wrote; the outer `None` means that the bytes are wrong.
pub(crate) fn take_optional_log_id(fields: &mut Fields<'_>) -> Option<Option<LogId>> {
    match fields.u8()? {
        0 => Some(None),
        1 => take_log_id(fields).map(Some),
        _ => None,
    }
}

/// Appends a membership: the voter sets (two of them while a change is under way), then every
/// member with its address.
pub(crate) fn put_membership(out: &mut Vec<u8>, membership: &Membership) {
    let put_count = |out: &mut Vec<u8>, count: usize| {
        out.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes())
    };
    let sets = membership.get_joint_config();
    put_count(out, sets.len());
    for set in sets {
        put_count(out, set.len());
        for member in set {
            out.extend(member.to_le_bytes());
        }
    }
    put_count(out, membership.nodes().count());
    for (member, peer) in membership.nodes() {
        out.extend(member.to_le_bytes());
        let address = peer.address.as_bytes();
        let address = address.get(..MAX_ADDRESS).unwrap_or(address);
        out.extend(
            u16::try_from(address.len())
                .unwrap_or(u16::MAX)
                .to_le_bytes(),
        );
        out.extend(address);
    }
}

/// Reads what [`put_membership`] wrote.
pub(crate) fn take_membership(fields: &mut Fields<'_>) -> Option<Membership> {
    let mut sets = Vec::new();
    for _ in 0..fields.u32()? {
        let mut set = BTreeSet::new();
        for _ in 0..fields.u32()? {
            set.insert(fields.u64()?);
        }
        sets.push(set);
    }
    let mut peers = BTreeMap::new();
    for _ in 0..fields.u32()? {
        let member = fields.u64()?;
        let length = usize::from(fields.u16()?);
        if length > MAX_ADDRESS {
            return None;
        }
        let address = str::from_utf8(fields.bytes(length)?).ok()?.to_owned();
        peers.insert(member, Peer { address });
    }
    if sets.is_empty() && peers.is_empty() {
        return Some(Membership::default());
    }
    Membership::new(sets, peers).ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_joint_membership_comes_back_as_it_was() {
        let membership = Membership::new(
            vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])],
            BTreeMap::from([1, 2, 3, 4, 9].map(|id| {
                (
                    id,
                    Peer {
                        address: format!("10.0.0.{id}:7780"),
                    },
                )
            })),
        )
        .unwrap();
        let mut bytes = Vec::new();
        put_membership(&mut bytes, &membership);
        let mut fields = Fields::new(&bytes);
        assert_eq!(take_membership(&mut fields), Some(membership));
        assert!(fields.is_empty());
    }

    #[test]
    fn a_membership_cut_anywhere_is_refused() {
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
        let mut bytes = Vec::new();
        put_membership(&mut bytes, &membership);
        for cut in 0..bytes.len() {
            assert_eq!(
                take_membership(&mut Fields::new(bytes.get(..cut).unwrap())),
                None,
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn payloads_and_replies_never_print_their_content() {
        let secret = Payload(Bytes::from_static(b"hunter2"));
        assert_eq!(
            format!(
                "{secret} {secret:?} {:?}",
                Reply(Bytes::from_static(b"hunter2"))
            ),
            "7 bytes 7 bytes 7 bytes"
        );
    }
}
