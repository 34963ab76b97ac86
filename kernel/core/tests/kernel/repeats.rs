//! A request that is asked again is carried out once.

use kelson_kernel_core::command::Command;
use kelson_kernel_core::{Entry, Reply};
use kelson_model::code::Code;
use kelson_model::principal::Principal;
use kelson_model::request::{SetField, SetNamespace, Submission};
use kelson_model::time::ClusterTime;
use serde_json::json;

use crate::world::{World, is_unchanged, ns, refused, service, spec};

fn asked(world: &World, client: &str, sequence: u64, command: Command) -> Entry {
    Entry {
        client: Some((client.to_owned(), sequence)),
        since: Some(ClusterTime(0)),
        ..world.entry(Principal::new("alice", "cli"), command)
    }
}

fn scale(instances: u64) -> Command {
    Command::SetField(SetField {
        object: service("web"),
        path: "/spec/instances".to_owned(),
        value: json!(instances),
    })
}

#[test]
fn a_repeated_request_is_answered_alike_and_done_once() {
    let mut world = World::new();
    world.serve(&service("web"), spec("a", 1));
    let first = asked(&world, "c", 7, scale(2));
    let reply = world.apply_entry(&first);
    world.set_by_hand(&service("web"), "/spec/instances", json!(9));
    let before = world.state.clone();
    assert_eq!(world.apply_entry(&first), reply);
    assert!(is_unchanged(&before, &world.state));
    assert_eq!(world.object(&service("web")).spec.value()["instances"], 9);
}

#[test]
fn a_refusal_is_repeated_too() {
    let mut world = World::new();
    let early = asked(&world, "c", 1, scale(2));
    let refusal = refused(world.apply_entry(&early));
    world.serve(&service("web"), spec("a", 1));
    assert_eq!(refused(world.apply_entry(&early)), refusal);
    assert_eq!(world.object(&service("web")).generation, 1);
}

#[test]
fn requests_under_way_at_once_may_come_in_any_order_and_one_behind_the_window_is_refused() {
    let mut world = World::new();
    world.serve(&service("web"), spec("a", 1));
    let earlier = asked(&world, "c", 1, scale(3));
    world.apply_entry(&asked(&world, "c", 2, scale(2)));
    let reply = world.apply_entry(&earlier);
    assert!(matches!(reply, Reply::Done { .. }));
    assert_eq!(world.object(&service("web")).spec.value()["instances"], 3);
    world.apply_entry(&asked(&world, "c", 2 + Submission::WINDOW, scale(4)));
    let before = world.state.clone();
    assert_eq!(refused(world.apply_entry(&earlier)).code, Code::TooLate);
    assert!(is_unchanged(&before, &world.state));
    let other = asked(&world, "d", 1, scale(3));
    assert!(matches!(world.apply_entry(&other), Reply::Done { .. }));
}

#[test]
fn a_client_that_was_forgotten_is_refused_and_a_new_one_is_not() {
    let mut world = World::new();
    world.serve(&service("web"), spec("a", 1));
    let asked_first = asked(&world, "first", 1, scale(2));
    world.apply_entry(&asked_first);
    let weight = || {
        Command::SetNamespace(SetNamespace {
            namespace: ns("shop"),
            weight: 2,
        })
    };
    let mut others = 0;
    while world.state.forgotten.is_none() {
        world.wait(1);
        others += 1;
        let other = asked(&world, &format!("other-{others}"), 1, weight());
        world.apply_entry(&other);
    }
    let before = world.state.clone();
    let refusal = refused(world.apply_entry(&asked_first));
    assert_eq!(refusal.code, Code::ClientForgotten);
    assert!(is_unchanged(&before, &world.state));
    let new = Entry {
        since: Some(before.time),
        ..asked(&world, "new", 1, scale(5))
    };
    assert!(matches!(world.apply_entry(&new), Reply::Done { .. }));
}

#[test]
fn time_never_goes_back() {
    let mut world = World::new();
    world.wait(5000);
    let command = || {
        Command::SetNamespace(SetNamespace {
            namespace: ns("shop"),
            weight: 2,
        })
    };
    world.done(command());
    let newest = world.state.time;
    world.now.0 -= 3000;
    world.done(command());
    assert_eq!(world.state.time, newest);
}

#[test]
fn a_state_from_a_snapshot_answers_a_repeated_request_alike() {
    let mut world = World::new();
    world.serve(&service("web"), spec("a", 1));
    let first = asked(&world, "c", 7, scale(2));
    let reply = world.apply_entry(&first);
    world.state = crate::world::through_snapshot(&world.state);
    let before = world.state.clone();
    assert_eq!(world.apply_entry(&first), reply);
    assert!(is_unchanged(&before, &world.state));
}
