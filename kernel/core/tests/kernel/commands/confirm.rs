use kelson_kernel_core::command::Command;
use kelson_model::code::Code;
use kelson_model::id::Digest;
use kelson_model::object::Sync;
use kelson_model::reason::HoldReason;
use kelson_model::request::{Accept, Confirm, SourceReport};
use kelson_model::source::{Held, SourceRecord};

use crate::world::{SOURCE, World, revision, service, spec};

fn confirm(source: &str, revision: &str) -> Command {
    confirm_hold(source, revision, "")
}

fn confirm_hold(source: &str, revision: &str, hold: &str) -> Command {
    Command::Confirm(Confirm {
        source: source.to_owned(),
        revision: revision.to_owned(),
        hold: hold.to_owned(),
    })
}

fn hold(number: u32, reason: &str, objects: &[&str]) -> Held {
    let objects: Vec<_> = objects.iter().map(|name| service(name)).collect();
    Held {
        reason: reason.to_owned().into(),
        digest: Some(Held::digest_of(
            &reason.to_owned().into(),
            &revision(number),
            &objects,
        )),
        objects,
        ..Held::default()
    }
}

fn report(world: &mut World, number: u32, holds: Vec<Held>) {
    world.done(Command::ReportSource(SourceReport {
        source: SOURCE.to_owned(),
        branch: "main".to_owned(),
        observed: Some(revision(number)),
        sync: Sync::OutOfSync,
        held: None,
        holds,
        errors: Vec::new(),
        prune_window: None,
        ..SourceReport::default()
    }));
}

fn held(number: u32) -> World {
    let mut world = World::new();
    report(
        &mut world,
        number,
        vec![hold(number, "PruneGuard", &["a", "b"])],
    );
    world
}

fn released(world: &World) -> Vec<String> {
    let released = &world.state.sources[SOURCE].released;
    released.iter().map(|it| it.reason.to_string()).collect()
}

fn flip(world: &World, number: u32, released: Vec<Digest>) -> Command {
    Command::Accept(Accept {
        source: SOURCE.to_owned(),
        revision: revision(number),
        previous: world.applied(SOURCE),
        parts: 0,
        prune: Vec::new(),
        objects: 0,
        going: 0,
        released,
        hands: None,
    })
}

#[test]
fn a_held_revision_is_released_by_seven_of_its_digits() {
    let mut world = held(0xabc);
    world.done(confirm("", "0000000"));
    assert_eq!(released(&world), ["PruneGuard"]);
}

#[test]
fn of_several_holds_one_has_to_be_named_and_only_that_is_released() {
    let mut world = World::new();
    let guard = hold(0xabc, "PruneGuard", &["a"]);
    let digest = guard.digest.clone().unwrap().to_string();
    report(
        &mut world,
        0xabc,
        vec![hold(0xabc, "ForcePush", &[]), guard],
    );
    let refusal = world.refused(confirm("", "0000000"));
    assert_eq!(refusal.code, Code::NotHeld);
    assert!(
        refusal.message.contains("ForcePush, PruneGuard"),
        "{refusal}"
    );
    assert!(
        refusal.hint.contains("--hold ForcePush|PruneGuard"),
        "{refusal}"
    );
    assert_eq!(
        world
            .refused(confirm_hold("", "0000000", "PruneConfirm"))
            .code,
        Code::NotHeld
    );
    world.done(confirm_hold("", "0000000", "ForcePush"));
    assert_eq!(released(&world), ["ForcePush"]);
    world.done(confirm_hold("", "0000000", &digest));
    assert_eq!(released(&world), ["ForcePush", "PruneGuard"]);
}

#[test]
fn a_confirmation_expires_when_its_hold_is_about_something_else() {
    let mut world = held(0xabc);
    world.done(confirm("", "0000000"));
    let shown = world.state.sources[SOURCE].released.clone();
    report(
        &mut world,
        0xabc,
        vec![hold(0xabc, "PruneGuard", &["a", "b", "c"])],
    );
    assert!(released(&world).is_empty());
    let old = shown.first().unwrap().digest.clone();
    assert_eq!(
        world
            .refused(confirm_hold("", "0000000", &old.to_string()))
            .code,
        Code::NotHeld,
        "what was shown is not what would go now"
    );
    let stale = flip(&world, 0xabc, vec![old]);
    assert_eq!(world.refused(stale).code, Code::StalePlan);
    world.done(confirm("", "0000000"));
    report(
        &mut world,
        0xdef,
        vec![hold(0xdef, "PruneGuard", &["a", "b", "c"])],
    );
    assert!(released(&world).is_empty(), "another revision was seen");
}

#[test]
fn a_hold_that_no_word_ends_is_not_released() {
    let mut world = World::new();
    let branch = Held {
        reason: HoldReason::BranchMissing,
        message: "the branch is not there".to_owned(),
        ..Held::default()
    };
    report(&mut world, 0xabc, vec![branch]);
    let refusal = world.refused(confirm("", "0000000"));
    assert!(
        refusal.hint.contains("the branch is not there"),
        "{refusal}"
    );
}

#[test]
fn what_goes_without_a_word_is_counted_until_a_person_has_seen_it() {
    let mut world = World::new();
    for name in ["a", "b", "c"] {
        world.serve(&service(name), spec("x", 1));
    }
    world.commit(Vec::new(), vec![service("a")]);
    world.commit(Vec::new(), vec![service("b"), service("never-there")]);
    let counts = |world: &World| -> Vec<u32> {
        let pruned = &world.state.sources[SOURCE].pruned;
        pruned.iter().map(|it| it.objects).collect()
    };
    assert_eq!(counts(&world), [1, 1]);
    report(&mut world, 0xabc, vec![hold(0xabc, "PruneGuard", &["c"])]);
    world.done(confirm("", "0000000"));
    let digest = world.state.sources[SOURCE].released[0].digest.clone();
    let Command::Accept(accept) = flip(&world, 0xabc, vec![digest]) else {
        unreachable!()
    };
    world.done(Command::Accept(Accept {
        prune: vec![service("c")],
        ..accept
    }));
    assert!(counts(&world).is_empty());
    for n in 0..2 * SourceRecord::KEPT_PRUNED {
        let name = format!("s{n}");
        world.serve(&service(&name), spec("x", 1));
        world.commit(Vec::new(), vec![service(&name)]);
    }
    let counts = counts(&world);
    assert_eq!(counts.len(), SourceRecord::KEPT_PRUNED);
    assert_eq!(counts.iter().sum::<u32>(), 200, "none is forgotten");
}

#[test]
fn nothing_else_is_released() {
    let mut world = held(0xabc);
    for (source, digits) in [("", "000000"), ("", "1111111"), ("other", "0000000")] {
        let refusal = world.refused(confirm(source, digits));
        assert_eq!(refusal.code, Code::NotHeld);
        assert!(refusal.hint.contains("0000000"), "{refusal}");
    }
    let mut free = World::new();
    assert_eq!(free.refused(confirm("", "0000000")).code, Code::NotHeld);
}

#[test]
fn a_confirmation_is_used_up_when_its_revision_is_accepted() {
    let mut world = held(0xabc);
    world.done(confirm("", "0000000"));
    let digest = world.state.sources[SOURCE].released[0].digest.clone();
    let accept = flip(&world, 0xabc, vec![digest]);
    world.done(accept);
    assert!(released(&world).is_empty());
}
