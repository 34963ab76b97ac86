#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::io::{self, Read, Write};

use kelson_kernel_core::command::Command;
use kelson_kernel_core::{Entry, Reply, State, apply};
use kelson_model::id::Index;
use kelson_model::object::{DesiredObject, Lifecycle, ObjectKey, Origin};
use kelson_model::principal::Principal;
use kelson_model::request::Stage;
use kelson_model::time::{ClusterTime, WallTime};
use serde_json::json;

use super::tests::unhex;
use super::*;

fn golden() -> Vec<u8> {
    unhex(include_str!("golden/snapshot-v2.hex").trim())
}

fn read(bytes: &[u8]) -> Result<State, CodecError> {
    read_snapshot(&mut &*bytes)
}

fn written(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_snapshot(state, &mut bytes).unwrap();
    bytes
}

/// A state beside which this many objects of about a KiB lie.
fn large(objects: u64) -> State {
    let mut state = State::default();
    for part in 0..objects / 100 {
        let object = |n: u64| DesiredObject {
            key: ObjectKey::new("Service", "shop".parse().unwrap(), &format!("s{part}-{n}")),
            labels: Default::default(),
            lifecycle: Lifecycle::default(),
            spec: json!({"n": n, "part": part, "text": "x".repeat(1000)}).into(),
            origin: Origin {
                file: "a.yaml".to_owned(),
                line: 1,
                column: None,
            },
            written: None,
        };
        let entry = Entry {
            principal: Principal::kernel(),
            at: ClusterTime(5),
            wall: WallTime(7),
            term: 1,
            client: None,
            since: None,
            command: Command::Stage(Stage {
                source: "dev".to_owned(),
                revision: "0".repeat(40).parse().unwrap(),
                part: u32::try_from(part).unwrap(),
                objects: (0..100).map(object).collect(),
                prune: Vec::new(),
            }),
        };
        let reply = apply(&mut state, Index(part + 1), &entry);
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    }
    state
}

#[test]
fn a_snapshot_has_the_bytes_of_its_golden() {
    let state = read(&golden()).unwrap();
    assert!(!state.tasks.is_empty() && !state.events.is_empty());
    assert!(written(&state) == golden(), "{:02x?}", written(&state));
}

#[test]
fn a_snapshot_that_is_cut_or_changed_anywhere_is_refused() {
    let good = golden();
    for cut in 0..good.len() {
        assert!(read(&good[..cut]).is_err(), "cut at {cut}");
    }
    let mut bad = good.clone();
    for place in 0..good.len() {
        bad[place] ^= 1 << (place % 8);
        assert!(read(&bad).is_err(), "byte {place}");
        bad[place] = good[place];
    }
    bad.push(0);
    let told = read(&bad).unwrap_err();
    assert!(matches!(told, CodecError::Damaged("more follows its end")));
}

#[test]
fn a_chunk_that_is_left_out_or_there_twice_is_noticed() {
    let good = golden();
    let mut starts = vec![12];
    while let Some(start) = starts.last().filter(|start| **start < good.len()) {
        let length = u32::from_le_bytes(good[start + 12..start + 16].try_into().unwrap());
        starts.push(start + 20 + usize::try_from(length).unwrap());
    }
    for chunk in starts.windows(2) {
        let without = [&good[..chunk[0]], &good[chunk[1]..]].concat();
        assert!(read(&without).is_err(), "without the chunk at {}", chunk[0]);
        let twice = [&good[..chunk[1]], &good[chunk[0]..]].concat();
        assert!(read(&twice).is_err(), "the chunk at {} twice", chunk[0]);
    }
}

#[test]
fn what_is_no_snapshot_or_of_another_version_is_told_from_damage() {
    assert!(matches!(
        read(b"something else"),
        Err(CodecError::NotASnapshot)
    ));
    let mut newer = golden();
    newer[8] = 3;
    assert!(matches!(read(&newer), Err(CodecError::Version(3))));
}

/// Remembers the largest piece that it was given.
#[derive(Default)]
struct Pieces {
    bytes: Vec<u8>,
    largest: usize,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.largest = self.largest.max(bytes.len());
        self.bytes.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives a few bytes at a time.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(7);
        self.0.read(&mut into[..most])
    }
}

#[test]
fn a_large_state_is_written_and_read_in_chunks_of_a_mebibyte_at_most() {
    let state = large(4000);
    let mut pieces = Pieces::default();
    write_snapshot(&state, &mut pieces).unwrap();
    assert!(pieces.bytes.len() > 3 << 20);
    assert!(
        pieces.largest <= 1 << 20,
        "{} bytes at once",
        pieces.largest
    );
    assert!(read(&pieces.bytes).unwrap() == state);
    let slow = read_snapshot(&mut Slow(&pieces.bytes)).unwrap();
    assert_eq!(slow.hash(), state.hash());
}
