#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use kelson_model::code::Code;
use kelson_model::id::Index;
use proptest::prelude::*;

use super::*;
use crate::reply::refusal;

const SMALL: Limits = Limits {
    clients: 3,
    bytes: 64 * 40,
    bytes_of_one: 64 * 20,
};

/// One request: which client, how far from its newest sequence, and whether time goes on before it.
#[derive(Debug, Clone)]
struct Sent {
    client: u8,
    from_newest: i64,
    ticks: bool,
    /// The client begins anew under another name.
    begins: bool,
    is_refused: bool,
}

fn sent() -> impl Strategy<Value = Sent> {
    let window = i64::try_from(Submission::WINDOW).unwrap();
    let from_newest = prop_oneof![4 => Just(1), 3 => -6..6i64, 1 => -window - 4..window + 4];
    let one_in = |times: u32| prop_oneof![1 => Just(true), times - 1 => Just(false)];
    let flags = (any::<bool>(), one_in(20), any::<bool>());
    (0u8..5, from_newest, flags).prop_map(|(client, from_newest, (ticks, begins, is_refused))| {
        Sent {
            client,
            from_newest,
            ticks,
            begins,
            is_refused,
        }
    })
}

/// A client as it knows itself.
#[derive(Debug, Clone)]
struct Own {
    name: String,
    since: ClusterTime,
    newest: u64,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_request_is_carried_out_once_and_a_forgotten_client_is_never_taken_for_new(
        requests in prop::collection::vec(sent(), 1..300)
    ) {
        let mut state = State::default();
        let mut own: BTreeMap<u8, Own> = BTreeMap::new();
        let mut names = 0;
        let mut done: BTreeMap<(String, u64), Reply> = BTreeMap::new();
        let mut dropped: BTreeSet<String> = BTreeSet::new();
        for (place, request) in (1u64..).zip(requests) {
            let time = ClusterTime(state.time.0 + u64::from(request.ticks));
            if request.begins || !own.contains_key(&request.client) {
                names += 1;
                // Told by a member: the time of the newest entry that it has applied.
                let begun = Own { name: format!("c{names}"), since: state.time, newest: 0 };
                own.insert(request.client, begun);
            }
            let client = own.get_mut(&request.client).unwrap();
            let sequence = client.newest.saturating_add_signed(request.from_newest).max(1);
            let is_ahead = sequence > client.newest;
            client.newest = client.newest.max(sequence);
            state.begin_entry(Index(place), time);
            let before = state.clients.clone();
            let key = (client.name.clone(), sequence);
            match state.standing(&client.name, sequence, Some(client.since)) {
                Standing::New => {
                    prop_assert!(!done.contains_key(&key), "{key:?} is carried out twice");
                    prop_assert!(!dropped.contains(&client.name), "{} was forgotten", client.name);
                    let reply = if request.is_refused {
                        Reply::Refused(refusal(Code::NoSuchTask, "no", "x".repeat(100)))
                    } else {
                        Reply::Done { index: Index(place), generation: None }
                    };
                    state.remember_within(SMALL, &client.name, sequence, Some(client.since), &reply);
                    done.insert(key, reply);
                }
                Standing::Answered(reply) => prop_assert_eq!(done.get(&key), Some(&reply)),
                Standing::TooLate(newest) => prop_assert!(newest > sequence && !is_ahead),
                // Its time may have come although it is new; it begins anew then.
                Standing::Forgotten => prop_assert!(Some(client.since) <= state.forgotten),
            }
            dropped.extend(before.keys().filter(|name| !state.clients.contains_key(*name)).cloned());
            prop_assert!(state.clients.len() <= SMALL.clients);
            prop_assert!(state.client_index.bytes <= SMALL.bytes);
            prop_assert!(state.client_index == ClientIndex::of(&state.clients));
        }
    }
}

fn ask(state: &mut State, name: &str, sequence: u64) -> Standing {
    let standing = state.standing(name, sequence, Some(ClusterTime(0)));
    if standing == Standing::New {
        let index = state.index;
        state.begin_entry(Index(index.0 + 1), ClusterTime(state.time.0 + 1));
        let reply = Reply::Done {
            index,
            generation: None,
        };
        state.remember(name, sequence, Some(ClusterTime(0)), &reply);
    }
    standing
}

#[test]
fn requests_within_the_window_may_come_in_any_order_and_are_answered_again() {
    let mut state = State::default();
    let window = Submission::WINDOW;
    for sequence in (1..=window).rev() {
        assert_eq!(ask(&mut state, "c", sequence), Standing::New, "{sequence}");
    }
    for sequence in 1..=window {
        let Standing::Answered(_) = ask(&mut state, "c", sequence) else {
            panic!("request {sequence} is not known any more")
        };
    }
    assert_eq!(ask(&mut state, "c", window + 1), Standing::New);
    assert_eq!(ask(&mut state, "c", 1), Standing::TooLate(window + 1));
}

#[test]
fn a_request_that_never_came_is_too_late_once_it_is_behind_the_window() {
    let mut state = State::default();
    assert_eq!(ask(&mut state, "c", 1), Standing::New);
    assert_eq!(ask(&mut state, "c", 3), Standing::New);
    let newest = 3 + Submission::WINDOW;
    assert_eq!(ask(&mut state, "c", newest), Standing::New);
    assert_eq!(ask(&mut state, "c", 2), Standing::TooLate(newest));
    assert_eq!(ask(&mut state, "c", 4), Standing::New);
}

#[test]
fn what_the_version_before_wrote_remembers_the_newest_request_alone() {
    let mut state = State::default();
    for sequence in [1, 5] {
        state.begin_entry(Index(sequence), ClusterTime(1));
        let reply = Reply::Done {
            index: Index(sequence),
            generation: None,
        };
        state.remember("old", sequence, None, &reply);
    }
    for sequence in [1, 4] {
        assert_eq!(state.standing("old", sequence, None), Standing::TooLate(5));
    }
    let json = serde_json::to_string(&state.clients).unwrap();
    assert!(
        !json.contains("gaps") && !json.contains("earlier"),
        "{json}"
    );
}
