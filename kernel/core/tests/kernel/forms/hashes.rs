//! The hash of a state: equal where the states are, and a way to what differs where they are not.

use kelson_kernel_core::State;
use kelson_kernel_core::command::{Command, SetClusterVersion};
use kelson_kernel_core::form::Table;
use kelson_model::id::Index;
use kelson_model::request::SetNamespace;
use kelson_model::task::TaskState;

use super::samples;
use crate::world::{World, ns, service, spec};

/// Of two states, the tables and the names of rows that differ.
fn differences(one: &State, other: &State) -> Vec<(Table, Vec<String>)> {
    let tables = one.table_hashes().zip(other.table_hashes());
    let differ = tables.filter(|(one, other)| one != other);
    differ
        .map(|((table, _), _)| {
            let (these, those) = (one.row_hashes(table), other.row_hashes(table));
            let only = these.iter().filter(|row| !those.contains(row));
            (table, only.map(|(name, _)| name.clone()).collect())
        })
        .collect()
}

#[test]
fn a_difference_is_narrowed_to_its_rows() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    world.serve(&service("web"), spec("a", 2));
    let first = world.launch(&service("web"), 0, agent);
    world.launch(&service("web"), 1, agent);
    let before = world.state.clone();
    assert_eq!(before.hash(), world.state.hash());
    world.say(first, TaskState::Starting);
    let after = &world.state;
    assert_ne!(before.hash(), after.hash());
    assert_eq!(
        differences(after, &before),
        [(Table::Tasks, vec![first.to_string()])]
    );
}

#[test]
fn what_only_counts_entries_is_not_in_it() {
    let mut world = World::new();
    let hash = world.state.hash();
    let set = SetNamespace {
        namespace: ns("shop"),
        weight: 0,
    };
    world.refused(Command::SetNamespace(set));
    assert_eq!(world.state.hash(), hash);
    assert!(world.state.index > Index(2));
}

#[test]
fn every_table_of_rows_is_in_it_and_a_state_from_a_snapshot_has_the_same() {
    let state = samples::state();
    assert!(state.has_true_hashes());
    assert_eq!(crate::world::through_snapshot(&state).hash(), state.hash());
    for (table, hash) in state.table_hashes() {
        // The journal is not in it.
        let is_journal = matches!(table, Table::Tombstones | Table::Farewells);
        assert_eq!(hash == Default::default(), is_journal, "{table:?}");
    }
}

#[test]
fn a_cluster_version_that_brings_no_form_keeps_the_hashes_of_rows() {
    let mut world = World::new();
    let tables: Vec<_> = world.state.table_hashes().collect();
    let version = world.state.cluster_version + 1;
    world.done(Command::SetClusterVersion(SetClusterVersion { version }));
    assert!(world.state.has_true_hashes());
    let differ = world.state.table_hashes().zip(&tables);
    let differ: Vec<Table> = differ
        .filter(|(now, before)| now != *before)
        .map(|((table, _), _)| table)
        .collect();
    assert_eq!(differ, [Table::Head]);
}
