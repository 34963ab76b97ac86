use kelson_kernel_core::command::Command;
use kelson_model::code::Code;
use kelson_model::object::DesiredObject;
use kelson_model::request::Stage;
use kelson_model::spec::Spec;
use serde_json::json;

use crate::world::{SOURCE, World, desired, revision, service, spec};

fn part(number: u32, part: u32, objects: Vec<DesiredObject>) -> Command {
    Command::Stage(Stage {
        source: SOURCE.to_owned(),
        revision: revision(number),
        part,
        objects,
        prune: Vec::new(),
    })
}

#[test]
fn what_is_staged_is_seen_by_nobody() {
    let mut world = World::new();
    world.done(part(1, 0, vec![desired(&service("web"), spec("a", 1))]));
    assert!(world.state.objects.is_empty());
    assert_eq!(world.state.staged[SOURCE].objects.len(), 1);
}

#[test]
fn an_object_that_is_nested_too_deep_is_refused() {
    let mut world = World::new();
    let nested = |depth: usize| {
        let spec = (0..depth).fold(json!(1), |inner, _| json!({ "in": inner }));
        vec![desired(&service("web"), spec)]
    };
    let refused = world.refused(part(1, 0, nested(Spec::MAX_DEPTH + 1)));
    assert_eq!(refused.code, Code::TooMuchAtOnce);
    assert!(refused.message.contains("nested 65 deep"), "{refused:?}");
    assert!(world.state.staged.is_empty());
    world.done(part(1, 0, nested(Spec::MAX_DEPTH)));
}

#[test]
fn parts_come_in_order() {
    let mut world = World::new();
    world.done(part(1, 0, Vec::new()));
    for wrong in [part(1, 2, Vec::new()), part(2, 1, Vec::new())] {
        assert_eq!(world.refused(wrong).code, Code::NotStaged);
    }
    world.done(part(1, 1, Vec::new()));
    assert_eq!(world.refused(part(1, 1, Vec::new())).code, Code::NotStaged);
    assert_eq!(world.state.staged[SOURCE].parts, 2);
}

#[test]
fn part_0_drops_what_lay_there() {
    let mut world = World::new();
    world.done(part(1, 0, vec![desired(&service("web"), spec("a", 1))]));
    world.done(part(1, 1, vec![desired(&service("api"), spec("a", 1))]));
    world.done(part(2, 0, Vec::new()));
    let staged = &world.state.staged[SOURCE];
    assert_eq!((staged.parts, staged.objects.len()), (1, 0));
}

#[test]
fn more_than_a_revision_may_take_away_is_refused_for_good() {
    let mut world = World::new();
    let keys = |count: usize| vec![service("web"); count];
    let going = |part: u32, count: usize| {
        Command::Stage(Stage {
            source: SOURCE.to_owned(),
            revision: revision(1),
            part,
            objects: Vec::new(),
            prune: keys(count),
        })
    };
    let twice = world.refused(going(0, 2 * Stage::MAX_OBJECTS));
    assert_eq!(
        twice.code,
        Code::TooMuchAtOnce,
        "no reason to look again and retry"
    );
    world.done(going(0, Stage::MAX_OBJECTS));
    assert_eq!(world.refused(going(1, 1)).code, Code::TooMuchAtOnce);
}
