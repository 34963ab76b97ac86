#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use kelson_kernel_core::command::{Command, FoundCluster};
use kelson_kernel_core::form::{CLUSTER_VERSION, Decoded};
use kelson_kernel_core::{Entry, Reply};
use kelson_model::id::Index;
use kelson_model::principal::Principal;
use kelson_model::request::SetNamespace;
use kelson_model::time::{ClusterTime, WallTime};
use prost::Message;

use super::first::Envelope;
use super::*;

fn entry(command: Command) -> Entry {
    Entry {
        principal: Principal::kernel(),
        at: ClusterTime(5),
        wall: WallTime(7),
        term: 1,
        client: Some(("c".to_owned(), 1)),
        since: None,
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

pub(super) fn unhex(hex: &str) -> Vec<u8> {
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn entries_of_the_first_version_are_read_as_they_were() {
    let lines = include_str!("golden/entries-v1.hex").lines();
    let read: Vec<Decoded> = lines
        .map(|line| decode_entry(&unhex(line)).unwrap())
        .collect();
    let sample = sample().into_iter();
    let wanted: Vec<Decoded> = sample.map(|entry| Decoded { entry, since: 0 }).collect();
    assert_eq!(read, wanted);
}

#[test]
fn entries_and_replies_are_read_back_as_they_were_written() {
    for entry in sample() {
        let bytes = encode_entry(&entry, CLUSTER_VERSION).unwrap();
        assert_eq!(decode_entry(&bytes).unwrap().entry, entry);
    }
    let reply = Reply::Done {
        index: Index(9),
        generation: None,
    };
    let bytes = encode_reply(&reply, CLUSTER_VERSION).unwrap();
    assert_eq!(decode_reply(&bytes).unwrap(), reply);
}

#[test]
fn an_unknown_form_is_an_error() {
    let newer = Envelope {
        version: 2,
        body: Vec::new(),
    };
    let newer = decode_entry(&newer.encode_to_vec());
    assert!(matches!(newer, Err(CodecError::Version(2))));
    // A command that the first version did not have.
    let mut bytes = unhex(
        include_str!("golden/entries-v1.hex")
            .lines()
            .next()
            .unwrap(),
    );
    let name = |window: &[u8]| window == b"foundCluster";
    let at = bytes.windows(12).position(name).unwrap();
    bytes[at] = b'x';
    assert!(matches!(decode_entry(&bytes), Err(CodecError::Body(_))));
    let mut bytes = encode_entry(&sample()[0], 0).unwrap();
    bytes[0] = 3;
    let told = decode_entry(&bytes).unwrap_err().to_string();
    assert_eq!(told, "form 3 is not known to this program");
}

#[test]
fn a_program_of_the_first_version_refuses_what_this_one_writes() {
    for entry in sample() {
        let bytes = encode_entry(&entry, 0).unwrap();
        assert!(Envelope::decode(bytes.as_slice()).is_err());
    }
}
