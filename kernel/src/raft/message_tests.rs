//! The bytes that members send each other: another version must read them.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kelson_proto::v1;
use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, VoteRequest, VoteResponse};
use prost::Message as _;

use super::ClusterId;
use super::message::*;
use super::types::{Entry, Membership, Payload, Peer, TypeConfig, log_id, vote};

fn head() -> v1::Envelope {
    let cluster = ClusterId::from_bytes(*b"0123456789abcdef");
    envelope(cluster, 1, 2, v1::Standing::Voter)
}

fn entry(index: u64, payload: EntryPayload<Payload, u64, Peer>) -> Entry {
    Entry {
        log_id: log_id(3, index),
        payload,
    }
}

fn joint() -> Membership {
    let peer = |id: u64| {
        let address = format!("h{id}:1");
        (id, Peer { address })
    };
    let sets = vec![BTreeSet::from([1]), BTreeSet::from([1, 2])];
    Membership::new(sets, BTreeMap::from([1, 2, 3].map(peer))).unwrap()
}

fn append() -> AppendEntriesRequest<TypeConfig> {
    AppendEntriesRequest {
        vote: vote(3, 1, true),
        prev_log_id: Some(log_id(2, 6)),
        entries: vec![
            entry(7, EntryPayload::Blank),
            entry(8, EntryPayload::Normal(Payload(Bytes::from_static(b"abc")))),
            entry(9, EntryPayload::Membership(joint())),
        ],
        leader_commit: Some(log_id(2, 5)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_request_with_every_kind_of_entry_keeps_its_bytes_and_comes_back_as_it_was() {
    let bytes = put_append(head(), append()).encode_to_vec();
    let envelope = "0a1a0801121030313233343536373839616263646566180120022802";
    let leader = "1206080310011801";
    let (previous, committed) = ("1a0408021006", "220408021005");
    let (blank, payload) = ("2a0408031200", "2a0708031a03616263");
    let members = "2a2d080322290a030a01010a040a02010212080801120468313a3112080802120468323a3112080803120468333a31";
    assert_eq!(
        hex(&bytes),
        [
            envelope, leader, previous, committed, blank, payload, members
        ]
        .concat()
    );
    let message = v1::AppendRequest::decode(bytes.as_slice()).unwrap();
    assert_eq!(message.envelope, Some(head()));
    let read = take_append(message).unwrap();
    assert_eq!(format!("{read:?}"), format!("{:?}", append()));
    assert_eq!(read.entries, append().entries);
}

#[test]
fn an_entry_of_an_unknown_kind_is_refused_and_not_skipped() {
    let mut message = put_append(head(), append());
    for entry in &mut message.entries {
        entry.content = None;
    }
    let refused = take_append(message).err().unwrap();
    assert!(refused.to_string().contains("does not know"), "{refused}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut headless = put_append(head(), append());
    headless.leader = None;
    assert!(take_append(headless).is_err());
    let mut strange = put_append(head(), append());
    let Some(v1::log_entry::Content::Members(sets)) = strange
        .entries
        .last_mut()
        .and_then(|last| last.content.as_mut())
    else {
        unreachable!("the last entry is a membership")
    };
    sets.voters.push(v1::VoterSet { members: vec![9] });
    assert!(take_append(strange).is_err(), "three sets of voters");
    assert!(take_append_result(v1::AppendReply { outcome: None }).is_err());
    assert!(take_vote_reply(&v1::VoteReply::default()).is_err());
}

#[test]
fn outcomes_and_votes_come_back_as_they_were() {
    let results: [AppendResult; 4] = [
        Ok(None),
        Ok(Some(log_id(3, 9))),
        Err(StreamAppendError::Conflict(log_id(2, 4))),
        Err(StreamAppendError::HigherVote(vote(7, 2, false))),
    ];
    for result in results {
        assert_eq!(take_append_result(put_append_result(&result)), Ok(result));
    }
    let mut request = VoteRequest::<TypeConfig>::new(vote(4, 2, false), Some(log_id(3, 9)));
    request.leadership_transfer = true;
    assert_eq!(
        take_vote_request(&put_vote_request(head(), &request)),
        Ok(request)
    );
    let reply = VoteResponse::<TypeConfig>::new(vote(4, 2, false), None, true);
    assert_eq!(take_vote_reply(&put_vote_reply(&reply)), Ok(reply));
}
