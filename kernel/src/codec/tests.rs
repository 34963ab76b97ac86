#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use kelson_kernel_core::command::{Command, FoundCluster};
use kelson_kernel_core::{Entry, Reply, State, apply};
use kelson_model::id::Index;
use kelson_model::principal::Principal;
use kelson_model::request::SetNamespace;
use kelson_model::time::{ClusterTime, WallTime};

use prost::Message;

use super::entry::{ENTRY_VERSION, Envelope};
use super::*;

fn entry(command: Command) -> Entry {
    Entry {
        principal: Principal::kernel(),
        at: ClusterTime(5),
        wall: WallTime(7),
        term: 1,
        client: Some(("c".to_owned(), 1)),
        command,
    }
}

fn sample() -> Vec<Entry> {
    vec![
        entry(Command::FoundCluster(FoundCluster {
            cluster: "c1".to_owned(),
        })),
        Entry {
            client: None,
            ..entry(Command::SetNamespace(SetNamespace {
                namespace: "shop/checkout".parse().unwrap(),
                weight: 3,
            }))
        },
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn entries_have_the_bytes_of_their_golden_file() {
    let bytes = sample()
        .iter()
        .map(|entry| hex(&encode_entry(entry).unwrap()))
        .collect::<Vec<_>>()
        .join("\n");
    assert_eq!(bytes.trim(), include_str!("golden/entries-v1.hex").trim());
}

#[test]
fn entries_are_read_back_as_they_were_written() {
    for entry in sample() {
        assert_eq!(decode_entry(&encode_entry(&entry).unwrap()).unwrap(), entry);
    }
}

#[test]
fn an_entry_of_a_newer_version_or_with_an_unknown_command_is_an_error() {
    let newer = Envelope {
        version: ENTRY_VERSION + 1,
        body: Vec::new(),
    }
    .encode_to_vec();
    assert!(matches!(decode_entry(&newer), Err(CodecError::Version(2))));
    let mut bytes = encode_entry(&sample()[0]).unwrap();
    let at = bytes
        .windows(12)
        .position(|window| window == b"foundCluster")
        .unwrap();
    bytes[at] = b'x';
    assert!(matches!(decode_entry(&bytes), Err(CodecError::Body(_))));
}

#[test]
fn a_state_is_read_back_from_its_snapshot_with_the_same_hash() {
    let mut state = State::default();
    for (place, entry) in sample().iter().enumerate() {
        let reply = apply(&mut state, Index(place as u64 + 1), entry);
        assert!(matches!(reply, Reply::Done { .. }));
    }
    let mut bytes = Vec::new();
    write_snapshot(&state, &mut bytes).unwrap();
    let read = read_snapshot(&mut bytes.as_slice()).unwrap();
    assert_eq!(state_hash(&read), state_hash(&state));
    assert_eq!(read.namespaces, state.namespaces);
    assert!(matches!(
        read_snapshot(&mut b"something else".as_slice()),
        Err(CodecError::NotASnapshot)
    ));
}
