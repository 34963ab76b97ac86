//! Who belongs to the cluster, and who once did: as of what is applied here.
//!
//! An id that belonged to a member is never used again, so everybody whose id is known as departed
//! can be told so for good.

use std::collections::BTreeSet;

use kelson_proto::v1::Standing;

use super::types::{LogId, Membership, StoredMembership};

/// The members and those that were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Roster {
    members: StoredMembership,
    departed: BTreeSet<u64>,
}

impl Roster {
    /// Takes the next membership; whoever is in it no more has departed.
    pub(crate) fn follow(&mut self, at: LogId, membership: Membership) {
        for (member, _) in self.members.nodes() {
            if membership.get_node(member).is_none() {
                self.departed.insert(*member);
            }
        }
        self.members = StoredMembership::new(Some(at), membership);
    }

    /// Takes what a snapshot says, whatever happened in between.
    pub(crate) fn take_over(&mut self, members: StoredMembership, departed: BTreeSet<u64>) {
        for (member, _) in self.members.nodes() {
            if members.membership().get_node(member).is_none() {
                self.departed.insert(*member);
            }
        }
        self.departed.extend(departed);
        self.members = members;
    }

    /// The members, and the entry that made them so.
    pub(crate) fn stored(&self) -> &StoredMembership {
        &self.members
    }

    /// The members.
    pub(crate) fn membership(&self) -> &Membership {
        self.members.membership()
    }

    /// The ids that are never used again.
    pub(crate) fn departed(&self) -> &BTreeSet<u64> {
        &self.departed
    }

    /// Says whether an id belonged to a member that is gone.
    pub(crate) fn has_departed(&self, member: u64) -> bool {
        self.departed.contains(&member)
    }

    /// Says whether an id belongs to a member.
    pub(crate) fn has(&self, member: u64) -> bool {
        self.members.membership().get_node(&member).is_some()
    }

    /// Says what a member is.
    pub(crate) fn standing(&self, member: u64) -> Standing {
        if self.members.voter_ids().any(|voter| voter == member) {
            Standing::Voter
        } else if self.has(member) {
            Standing::Learner
        } else {
            Standing::Unknown
        }
    }

    /// Says whether this is the only voter.
    pub(crate) fn is_alone(&self, member: u64) -> bool {
        self.members.voter_ids().eq([member])
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::raft::types::{Peer, log_id};

    fn membership(voters: &[u64], learners: &[u64]) -> Membership {
        let peers = voters
            .iter()
            .chain(learners)
            .map(|id| (*id, Peer::default()));
        Membership::new(
            vec![voters.iter().copied().collect()],
            peers.collect::<std::collections::BTreeMap<_, _>>(),
        )
        .unwrap()
    }

    #[test]
    fn whoever_left_has_departed_for_good_and_a_voter_made_learner_has_not() {
        let mut roster = Roster::default();
        roster.follow(log_id(0, 0), membership(&[1], &[]));
        roster.follow(log_id(1, 1), membership(&[1], &[2, 3]));
        assert_eq!(roster.standing(2), Standing::Learner);
        roster.follow(log_id(1, 2), membership(&[1, 2], &[3]));
        assert_eq!(roster.standing(2), Standing::Voter);
        roster.follow(log_id(1, 3), membership(&[2], &[1]));
        assert!(roster.is_alone(2) && roster.has(1) && !roster.has_departed(1));
        assert!(roster.has_departed(3) && !roster.has(3));
        roster.follow(log_id(1, 4), membership(&[2], &[]));
        assert_eq!(roster.departed(), &BTreeSet::from([1, 3]));
    }
}
