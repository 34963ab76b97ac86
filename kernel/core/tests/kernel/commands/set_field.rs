use kelson_kernel_core::Reply;
use kelson_kernel_core::command::Command;
use kelson_model::object::{ObjectKey, Sync};
use kelson_model::principal::Principal;
use kelson_model::request::SetField;
use serde_json::{Value, json};

use crate::world::{World, desired, service, spec, with_ports};

fn set(object: &ObjectKey, path: &str, value: Value) -> Command {
    Command::SetField(SetField {
        object: object.clone(),
        path: path.to_owned(),
        value,
    })
}

#[test]
fn a_change_by_hand_makes_a_generation_and_is_out_of_sync_until_git_says_the_same() {
    let mut world = World::new();
    let web = service("web");
    world.serve(&web, spec("a", 1));
    let reply = world.set_by_hand(&web, "/spec/instances", json!(5));
    assert!(matches!(
        reply,
        Reply::Done {
            generation: Some(2),
            ..
        }
    ));
    let object = world.object(&web);
    assert_eq!(object.sync(), Sync::OutOfSync);
    assert_eq!(object.changed_by, Principal::new("alice", "cli"));
    world.commit(vec![desired(&web, spec("a", 5))], Vec::new());
    let object = world.object(&web);
    assert_eq!((object.sync(), object.generation), (Sync::Synced, 2));
}

#[test]
fn a_place_that_is_not_there_is_refused() {
    let mut world = World::new();
    let web = service("web");
    world.serve(&web, spec("a", 1));
    for path in [
        "",
        "/spec",
        "/specx",
        "spec/instances",
        "/metadata/name",
        "/spec/nothing/below",
        "/spec/instances/0",
        "/spec/ports/0",
    ] {
        assert_eq!(
            world.refused(set(&web, path, json!(1))).code,
            "K0304",
            "{path}"
        );
    }
    assert_eq!(
        world
            .refused(set(&service("api"), "/spec/instances", json!(1)))
            .code,
        "K0302"
    );
}

#[test]
fn what_would_be_no_task_any_more_is_refused() {
    let mut world = World::new();
    let web = service("web");
    world.serve(&web, spec("a", 1));
    for (path, value) in [
        ("/spec/run/command", json!(5)),
        ("/spec/run", Value::Null),
        ("/spec/resources/cpus", json!("many")),
    ] {
        assert_eq!(
            world.refused(set(&web, path, value)).code,
            "K0304",
            "{path}"
        );
    }
}

#[test]
fn null_removes_a_field_or_an_item() {
    let mut world = World::new();
    let web = service("web");
    let ports = json!([{"name": "a"}, {"name": "b"}]);
    world.serve(&web, with_ports(spec("a", 1), ports));
    world.done(set(&web, "/spec/ports/0", Value::Null));
    world.done(set(&web, "/spec/instances", Value::Null));
    let object = world.object(&web);
    assert_eq!(object.spec["ports"], json!([{"name": "b"}]));
    assert!(object.spec.get("instances").is_none());
}

#[test]
fn slashes_and_tildes_in_a_name_are_escaped() {
    let mut world = World::new();
    let web = service("web");
    let mut with_env = spec("a", 1);
    with_env["run"]["env"] = json!({});
    world.serve(&web, with_env);
    world.done(set(&web, "/spec/run/env/A~1B~0C", json!("x")));
    assert_eq!(world.object(&web).spec["run"]["env"], json!({"A/B~C": "x"}));
}

#[test]
fn setting_what_is_there_makes_no_generation() {
    let mut world = World::new();
    let web = service("web");
    world.serve(&web, spec("a", 1));
    world.done(set(&web, "/spec/instances", json!(1)));
    assert_eq!(world.object(&web).generation, 1);
}

#[test]
fn what_is_being_removed_cannot_be_changed() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let web = service("web");
    world.serve(&web, spec("a", 1));
    world.launch(&web, 0, agent);
    world.commit(Vec::new(), vec![web.clone()]);
    assert_eq!(
        world.refused(set(&web, "/spec/instances", json!(2))).code,
        "K0302"
    );
}
