//! What members send each other, to and from openraft's types. Whatever makes no sense is refused
//! with its name; nothing is guessed.

use std::collections::{BTreeMap, BTreeSet};

use kelson_proto::v1;
use kelson_proto::v1::append_reply::Outcome as AppendOutcome;
use kelson_proto::v1::log_entry::Content;
use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, VoteRequest, VoteResponse};

use super::ClusterId;
use super::types::{
    Entry, LogId, MAX_ADDRESS, Membership, Payload, Peer, TypeConfig, Vote, log_id, vote,
};

/// The protocol that this program speaks, and the newest that it understands.
pub(crate) const PROTOCOL: u32 = 1;
/// Most members that a membership may name: far beyond what a cluster has.
const MAX_MEMBERS: usize = 1_000;

/// What an append came to, as openraft wants it.
pub(crate) type AppendResult = Result<Option<LogId>, StreamAppendError<TypeConfig>>;

/// Why a message makes no sense: which part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message makes no sense: {0}")]
pub(crate) struct Nonsense(pub(crate) &'static str);

/// Makes the head of a message.
pub(crate) fn envelope(
    cluster: ClusterId,
    from: u64,
    to: u64,
    standing: v1::Standing,
) -> v1::Envelope {
    v1::Envelope {
        protocol: PROTOCOL,
        cluster: cluster.to_bytes().to_vec().into(),
        from,
        to,
        standing: standing.into(),
    }
}

pub(crate) fn put_position(id: &LogId) -> v1::LogPosition {
    v1::LogPosition {
        term: id.leader_id.term,
        index: id.index,
    }
}

pub(crate) fn take_position(position: &v1::LogPosition) -> LogId {
    log_id(position.term, position.index)
}

fn put_optional(id: Option<&LogId>) -> Option<v1::LogPosition> {
    id.map(put_position)
}

fn take_optional(position: Option<&v1::LogPosition>) -> Option<LogId> {
    position.map(take_position)
}

pub(crate) fn put_ballot(vote: &Vote) -> v1::Ballot {
    v1::Ballot {
        term: vote.leader_id.term,
        member: vote.leader_id.voted_for,
        is_won: vote.committed,
    }
}

pub(crate) fn take_ballot(ballot: Option<&v1::Ballot>) -> Result<Vote, Nonsense> {
    let ballot = ballot.ok_or(Nonsense("the ballot is missing"))?;
    Ok(vote(ballot.term, ballot.member, ballot.is_won))
}

fn put_members(membership: &Membership) -> v1::MemberSets {
    v1::MemberSets {
        voters: membership
            .get_joint_config()
            .iter()
            .map(|set| v1::VoterSet {
                members: set.iter().copied().collect(),
            })
            .collect(),
        members: membership
            .nodes()
            .map(|(member, peer)| v1::MemberAddress {
                member: *member,
                address: peer.address.clone(),
            })
            .collect(),
    }
}

fn take_members(sets: v1::MemberSets) -> Result<Membership, Nonsense> {
    let is_long = sets.members.len() > MAX_MEMBERS
        || sets.voters.len() > 2
        || sets
            .voters
            .iter()
            .any(|set| set.members.len() > MAX_MEMBERS);
    if is_long {
        return Err(Nonsense("it names too many members"));
    }
    let mut peers = BTreeMap::new();
    for member in sets.members {
        if member.address.len() > MAX_ADDRESS {
            return Err(Nonsense("the address of a member is too long"));
        }
        let peer = Peer {
            address: member.address,
        };
        peers.insert(member.member, peer);
    }
    let voters: Vec<BTreeSet<u64>> = sets
        .voters
        .into_iter()
        .map(|set| set.members.into_iter().collect())
        .collect();
    Membership::new(voters, peers).map_err(|_| Nonsense("its voters are no members"))
}

fn put_entry(entry: Entry) -> v1::LogEntry {
    let content = match entry.payload {
        EntryPayload::Blank => Content::Blank(v1::Blank {}),
        EntryPayload::Normal(Payload(bytes)) => Content::Payload(bytes),
        EntryPayload::Membership(membership) => Content::Members(put_members(&membership)),
    };
    v1::LogEntry {
        term: entry.log_id.leader_id.term,
        content: Some(content),
    }
}

fn take_entry(index: u64, entry: v1::LogEntry) -> Result<Entry, Nonsense> {
    let payload = match entry.content {
        // To skip it would let members drift apart.
        None => {
            return Err(Nonsense(
                "an entry is of a kind that this version does not know",
            ));
        }
        Some(Content::Blank(_)) => EntryPayload::Blank,
        Some(Content::Payload(bytes)) => EntryPayload::Normal(Payload(bytes)),
        Some(Content::Members(sets)) => EntryPayload::Membership(take_members(sets)?),
    };
    Ok(Entry {
        log_id: log_id(entry.term, index),
        payload,
    })
}

/// Writes a request of the leader.
pub(crate) fn put_append(
    envelope: v1::Envelope,
    request: AppendEntriesRequest<TypeConfig>,
) -> v1::AppendRequest {
    v1::AppendRequest {
        envelope: Some(envelope),
        leader: Some(put_ballot(&request.vote)),
        previous: put_optional(request.prev_log_id.as_ref()),
        committed: put_optional(request.leader_commit.as_ref()),
        entries: request.entries.into_iter().map(put_entry).collect(),
    }
}

/// Reads what [`put_append`] wrote.
pub(crate) fn take_append(
    request: v1::AppendRequest,
) -> Result<AppendEntriesRequest<TypeConfig>, Nonsense> {
    let previous = take_optional(request.previous.as_ref());
    let first = previous.map_or(0, |previous| previous.index.saturating_add(1));
    let entries = (first..)
        .zip(request.entries)
        .map(|(index, entry)| take_entry(index, entry))
        .collect::<Result<_, _>>()?;
    Ok(AppendEntriesRequest {
        vote: take_ballot(request.leader.as_ref())?,
        prev_log_id: previous,
        entries,
        leader_commit: take_optional(request.committed.as_ref()),
    })
}

/// Writes what an append came to.
pub(crate) fn put_append_result(result: &AppendResult) -> v1::AppendReply {
    let outcome = match result {
        Ok(upto) => AppendOutcome::Matched(v1::Matched {
            upto: put_optional(upto.as_ref()),
        }),
        Err(StreamAppendError::Conflict(at)) => AppendOutcome::Conflict(put_position(at)),
        Err(StreamAppendError::HigherVote(vote)) => AppendOutcome::Newer(put_ballot(vote)),
    };
    v1::AppendReply {
        outcome: Some(outcome),
    }
}

/// Reads what [`put_append_result`] wrote.
pub(crate) fn take_append_result(reply: v1::AppendReply) -> Result<AppendResult, Nonsense> {
    match reply.outcome {
        None => Err(Nonsense(
            "the outcome is of a kind that this version does not know",
        )),
        Some(AppendOutcome::Matched(matched)) => Ok(Ok(take_optional(matched.upto.as_ref()))),
        Some(AppendOutcome::Conflict(at)) => {
            Ok(Err(StreamAppendError::Conflict(take_position(&at))))
        }
        Some(AppendOutcome::Newer(ballot)) => Ok(Err(StreamAppendError::HigherVote(take_ballot(
            Some(&ballot),
        )?))),
    }
}

/// Writes a request for a vote.
pub(crate) fn put_vote_request(
    envelope: v1::Envelope,
    request: &VoteRequest<TypeConfig>,
) -> v1::VoteRequest {
    v1::VoteRequest {
        envelope: Some(envelope),
        candidate: Some(put_ballot(&request.vote)),
        last: put_optional(request.last_log_id.as_ref()),
        is_hand_over: request.leadership_transfer,
    }
}

/// Reads what [`put_vote_request`] wrote.
pub(crate) fn take_vote_request(
    request: &v1::VoteRequest,
) -> Result<VoteRequest<TypeConfig>, Nonsense> {
    let mut taken = VoteRequest::new(
        take_ballot(request.candidate.as_ref())?,
        take_optional(request.last.as_ref()),
    );
    taken.leadership_transfer = request.is_hand_over;
    Ok(taken)
}

/// Writes an answer to a request for a vote.
pub(crate) fn put_vote_reply(reply: &VoteResponse<TypeConfig>) -> v1::VoteReply {
    v1::VoteReply {
        ballot: Some(put_ballot(&reply.vote)),
        is_granted: reply.vote_granted,
        last: put_optional(reply.last_log_id.as_ref()),
    }
}

/// Reads what [`put_vote_reply`] wrote.
pub(crate) fn take_vote_reply(reply: &v1::VoteReply) -> Result<VoteResponse<TypeConfig>, Nonsense> {
    Ok(VoteResponse::new(
        take_ballot(reply.ballot.as_ref())?,
        take_optional(reply.last.as_ref()),
        reply.is_granted,
    ))
}

/// Writes what the receiver of a snapshot must have, or has.
pub(crate) fn put_matched(upto: Option<&LogId>) -> v1::Matched {
    v1::Matched {
        upto: put_optional(upto),
    }
}

/// Reads what [`put_matched`] wrote.
pub(crate) fn take_matched(matched: &v1::Matched) -> Option<LogId> {
    take_optional(matched.upto.as_ref())
}

/// Reads an optional position.
pub(crate) fn take_last(position: Option<&v1::LogPosition>) -> Option<LogId> {
    take_optional(position)
}

/// Writes an optional position.
pub(crate) fn put_last(id: Option<&LogId>) -> Option<v1::LogPosition> {
    put_optional(id)
}
