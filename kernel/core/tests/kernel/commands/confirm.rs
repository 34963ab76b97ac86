use kelson_kernel_core::command::Command;
use kelson_model::object::Sync;
use kelson_model::request::{Accept, Confirm, SourceReport};
use kelson_model::source::Held;

use crate::world::{SOURCE, World, revision};

fn confirm(source: &str, revision: &str) -> Command {
    Command::Confirm(Confirm {
        source: source.to_owned(),
        revision: revision.to_owned(),
    })
}

fn held(number: u32) -> World {
    let mut world = World::new();
    world.done(Command::ReportSource(SourceReport {
        source: SOURCE.to_owned(),
        branch: "main".to_owned(),
        observed: Some(revision(number)),
        sync: Sync::OutOfSync,
        held: Some(Held {
            reason: "PruneGuard".to_owned(),
            confirm: None,
            message: String::new(),
            objects: Vec::new(),
        }),
        errors: Vec::new(),
    }));
    world
}

#[test]
fn a_held_revision_is_released_by_seven_of_its_digits() {
    let mut world = held(0xabc);
    world.done(confirm("", "0000000"));
    assert_eq!(world.state.sources[SOURCE].confirmed, Some(revision(0xabc)));
}

#[test]
fn nothing_else_is_released() {
    let mut world = held(0xabc);
    for (source, digits) in [("", "000000"), ("", "1111111"), ("other", "0000000")] {
        let refusal = world.refused(confirm(source, digits));
        assert_eq!(refusal.code, "K0307");
        assert!(refusal.hint.contains("0000000"), "{refusal}");
    }
    let mut free = World::new();
    assert_eq!(free.refused(confirm("", "0000000")).code, "K0307");
}

#[test]
fn a_confirmation_is_used_up_when_its_revision_is_accepted() {
    let mut world = held(0xabc);
    world.done(confirm("", "0000000"));
    world.done(Command::Accept(Accept {
        source: SOURCE.to_owned(),
        revision: revision(0xabc),
        previous: None,
        parts: 0,
        prune: Vec::new(),
        objects: 0,
    }));
    assert_eq!(world.state.sources[SOURCE].confirmed, None);
}
