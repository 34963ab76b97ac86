//! The bytes of each version of each form. A line of a golden file is a name, a version and bytes;
//! a line that was released is never changed.

use std::collections::BTreeMap;

use kelson_kernel_core::form::{
    CLUSTER_VERSION, COMMANDS, Chunk, Rebuild, TABLES, Table, TableForm, chunks, command_form,
    decode_entry, decode_reply, encode_entry, encode_reply,
};

use super::samples;

/// The lines of a golden file by name and version.
fn lines(text: &str) -> BTreeMap<(String, u32), String> {
    let line = |line: &str| {
        let parts: Vec<&str> = line.split_whitespace().collect();
        let [name, version, bytes] = parts[..] else {
            panic!("not a line: {line}");
        };
        (
            (name.to_owned(), version.parse().unwrap()),
            bytes.to_owned(),
        )
    };
    text.lines().map(line).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// Compares what is written now with the lines of a file, and says which lines are missing or
/// would be others.
fn assert_lines(written: &BTreeMap<(String, u32), String>, golden: &str) {
    let golden = lines(golden);
    let others: Vec<String> = written
        .iter()
        .filter(|(key, bytes)| golden.get(*key) != Some(*bytes))
        .map(|((name, version), bytes)| format!("{name} {version} {bytes}\n"))
        .collect();
    assert!(others.is_empty(), "no golden says:\n{}", others.concat());
}

#[test]
fn each_command_has_the_bytes_of_its_golden_and_none_has_none() {
    let golden = include_str!("golden/entries.hex");
    let mut written = BTreeMap::new();
    for command in samples::commands() {
        let form = command_form(&command);
        let entry = samples::entry(command);
        let level = *form.since.last().unwrap();
        let bytes = encode_entry(&entry, level).unwrap();
        let decoded = decode_entry(&bytes).unwrap();
        assert_eq!((&decoded.entry, decoded.since), (&entry, level));
        let version = u32::try_from(form.since.len()).unwrap();
        written.insert((form.name.to_owned(), version), hex(&bytes));
    }
    assert_lines(&written, golden);
    let golden = lines(golden);
    for form in COMMANDS {
        for version in 1..=u32::try_from(form.since.len()).unwrap() {
            let bytes = golden.get(&(form.name.to_owned(), version));
            let bytes = bytes.unwrap_or_else(|| panic!("{} {version} has no golden", form.name));
            decode_entry(&unhex(bytes)).unwrap();
        }
    }
}

#[test]
fn each_reply_has_the_bytes_of_its_golden() {
    let mut written = BTreeMap::new();
    for (name, reply) in samples::replies() {
        let bytes = encode_reply(&reply, CLUSTER_VERSION).unwrap();
        assert_eq!(decode_reply(&bytes).unwrap(), reply);
        written.insert((name.to_owned(), 1), hex(&bytes));
    }
    assert_lines(&written, include_str!("golden/replies.hex"));
}

/// The chunks of the golden state: of each table those in the newest version.
fn golden_chunks() -> Vec<Chunk> {
    let golden = lines(include_str!("golden/tables.hex"));
    let chunk = |table: &Table| {
        let TableForm {
            number,
            name,
            since,
        } = table.form();
        let version = u32::try_from(since.len()).unwrap();
        let line = golden.get(&(name.replace(' ', "-"), version))?;
        let (rows, bytes) = line.split_once(':').unwrap();
        Some(Chunk {
            table: number,
            version,
            rows: rows.parse().unwrap(),
            bytes: unhex(bytes),
        })
    };
    let known: Option<Vec<Chunk>> = TABLES.iter().map(chunk).collect();
    known.unwrap_or_else(|| {
        let state = samples::state();
        let line = |(table, chunk): (&Table, Result<Chunk, _>)| {
            let chunk: Chunk = chunk.unwrap();
            let (name, rows) = (table.form().name.replace(' ', "-"), chunk.rows);
            format!("{name} {} {rows}:{}\n", chunk.version, hex(&chunk.bytes))
        };
        let lines: String = TABLES.iter().zip(chunks(&state)).map(line).collect();
        panic!("a table has no golden; the sample has\n{lines}")
    })
}

#[test]
fn the_rows_of_each_table_are_read_and_written_as_their_golden_has_them() {
    let golden = golden_chunks();
    let mut state = Rebuild::default();
    for chunk in &golden {
        assert!(chunk.rows > 0, "table {} has no row", chunk.table);
        state.add(chunk).unwrap();
    }
    let state = state.finish().unwrap();
    let written: Vec<Chunk> = chunks(&state).map(Result::unwrap).collect();
    assert_eq!(written, golden);
}

#[test]
fn a_state_with_rows_in_every_table_is_read_back_as_it_was() {
    let state = samples::state();
    let tables: Vec<u32> = chunks(&state).map(|chunk| chunk.unwrap().table).collect();
    let all: Vec<u32> = TABLES.iter().map(|table| table.form().number).collect();
    assert_eq!(tables, all);
    assert!(crate::world::through_snapshot(&state) == state);
}
