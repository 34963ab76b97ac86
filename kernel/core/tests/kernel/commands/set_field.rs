use kelson_kernel_core::Reply;
use kelson_kernel_core::command::Command;
use kelson_model::code::Code;
use kelson_model::drift::ByHand;
use kelson_model::object::{DesiredObject, ObjectKey, Sync};
use kelson_model::principal::Principal;
use kelson_model::request::{Request, SetField};
use kelson_model::spec::Spec;
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
fn a_number_has_the_form_that_git_gives_it_whoever_sends_it() {
    let mut world = World::new();
    let web = service("web");
    world.serve(&web, spec("a", 2));
    for (value, generation, text) in [("2.0", 1, "2"), ("3.0e0", 2, "3"), ("-0.0", 3, "0")] {
        let request = Request::SetField(SetField {
            object: web.clone(),
            path: "/spec/instances".to_owned(),
            value: serde_json::from_str(value).unwrap(),
        });
        world.done(Command::from(request));
        let object = world.object(&web);
        let instances = object.spec.pointer("/instances").unwrap();
        assert_eq!(
            (object.generation, instances.to_string().as_str()),
            (generation, text),
            "{value}"
        );
    }
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
            Code::UnsettableField,
            "{path}"
        );
    }
    assert_eq!(
        world
            .refused(set(&service("api"), "/spec/instances", json!(1)))
            .code,
        Code::NoSuchObject
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
            Code::UnsettableField,
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
    assert_eq!(object.spec.value()["ports"], json!([{"name": "b"}]));
    assert!(object.spec.pointer("/instances").is_none());
}

#[test]
fn slashes_and_tildes_in_a_name_are_escaped() {
    let mut world = World::new();
    let web = service("web");
    let mut with_env = spec("a", 1);
    with_env["run"]["env"] = json!({});
    world.serve(&web, with_env);
    world.done(set(&web, "/spec/run/env/A~1B~0C", json!("x")));
    assert_eq!(
        world.object(&web).spec.value()["run"]["env"],
        json!({"A/B~C": "x"})
    );
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
        Code::NoSuchObject
    );
}

#[test]
fn what_was_changed_by_hand_is_known_field_by_field_with_who_did_it() {
    let mut world = World::new();
    let web = service("web");
    world.serve(&web, spec("a", 1));
    let set_by = |world: &mut World, who: &str, path: &str, value: Value| {
        world.as_person(who, set(&web, path, value));
    };
    set_by(&mut world, "alice", "/spec/instances", json!(5));
    set_by(&mut world, "bob", "/spec/run/command", json!("b"));
    set_by(&mut world, "carol", "/spec/instances", json!(6));
    let by_hand = world.object(&web).by_hand.clone().unwrap();
    assert_eq!(by_hand.accepted.value(), spec("a", 1));
    let who = |by_hand: &ByHand, path: &str| by_hand.who(path).map(|by| by.actor.clone());
    assert_eq!(who(&by_hand, "/spec/instances").as_deref(), Some("carol"));
    assert_eq!(who(&by_hand, "/spec/run/command").as_deref(), Some("bob"));
    set_by(&mut world, "dave", "/spec/instances", json!(1));
    let by_hand = world.object(&web).by_hand.clone().unwrap();
    assert_eq!(who(&by_hand, "/spec/instances"), None, "it is as git asks");
    set_by(&mut world, "dave", "/spec/run/command", json!("a"));
    let object = world.object(&web);
    assert_eq!(
        (object.by_hand.clone(), object.sync()),
        (None, Sync::Synced)
    );
}

#[test]
fn git_s_next_word_settles_what_was_changed_by_hand() {
    let mut world = World::new();
    let web = service("web");
    world.serve(&web, spec("a", 1));
    world.set_by_hand(&web, "/spec/instances", json!(5));
    assert_eq!(world.object(&web).accepted_spec().value(), spec("a", 1));
    world.commit(vec![desired(&web, spec("a", 1))], Vec::new());
    let object = world.object(&web);
    assert_eq!(
        (object.by_hand.clone(), object.sync()),
        (None, Sync::Synced)
    );
}

#[test]
fn an_item_taken_from_a_list_changes_the_list() {
    let mut world = World::new();
    let web = service("web");
    let ports = json!([{"name": "a"}, {"name": "b"}]);
    world.serve(&web, with_ports(spec("a", 1), ports));
    world.done(set(&web, "/spec/ports/0", Value::Null));
    let by_hand = world.object(&web).by_hand.clone().unwrap();
    assert_eq!(by_hand.fields[0].path, "/spec/ports");
    assert!(by_hand.who("/spec/ports/1").is_some());
}

#[test]
fn a_field_that_makes_an_object_too_large_is_refused() {
    let mut world = World::new();
    let web = service("web");
    world.serve(&web, spec("a", 1));
    let large = json!("x".repeat(2 * DesiredObject::MAX_BYTES));
    assert_eq!(
        world.refused(set(&web, "/spec/more", large)).code,
        Code::UnsettableField
    );
}

#[test]
fn a_field_that_would_nest_an_object_too_deep_is_refused() {
    let mut world = World::new();
    let web = service("web");
    world.serve(&web, spec("a", 1));
    let nested = |depth: usize| (0..depth).fold(json!("x"), |inner, _| json!([inner]));
    world.done(set(&web, "/spec/more", nested(Spec::MAX_DEPTH - 1)));
    let before = world.object(&web).spec.clone();
    let refused = world.refused(set(&web, "/spec/more", nested(Spec::MAX_DEPTH)));
    assert_eq!(refused.code, Code::UnsettableField);
    assert!(refused.message.contains("nested 65 deep"), "{refused:?}");
    assert_eq!(world.object(&web).spec, before);
}

#[test]
fn a_place_in_a_list_has_one_name() {
    let mut world = World::new();
    let web = service("web");
    let mut listed = spec("a", 1);
    listed["more"] = json!(["a", "b"]);
    world.serve(&web, listed);
    for place in ["+1", "01"] {
        let path = format!("/spec/more/{place}");
        assert_eq!(
            world.refused(set(&web, &path, Value::Null)).code,
            Code::UnsettableField
        );
    }
    world.done(set(&web, "/spec/more/1", Value::Null));
}

#[test]
fn of_very_many_fields_set_by_hand_the_newest_are_known() {
    let mut world = World::new();
    let web = service("web");
    let mut with_env = spec("a", 1);
    with_env["run"]["env"] = json!({});
    world.serve(&web, with_env);
    for n in 0..2 * ByHand::KEPT_FIELDS {
        world.done(set(&web, &format!("/spec/run/env/A{n}"), json!("x")));
    }
    let by_hand = world.object(&web).by_hand.clone().unwrap();
    assert_eq!(by_hand.fields.len(), ByHand::KEPT_FIELDS);
    assert!(by_hand.who("/spec/run/env/A199").is_some());
}
