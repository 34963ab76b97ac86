//! What the kernel itself says of an object, in the status report.

use kelson_kernel_core::command::{Command, FailFramework};
use kelson_kernel_core::report;
use kelson_model::framework::FaultCause;
use kelson_model::object::ObjectKey;
use kelson_model::report::Standing;
use serde_json::json;

use crate::world::{World, component, desired, ns, service, spec};

fn standing(world: &World, key: &ObjectKey) -> Option<Standing> {
    let object = world.object(key);
    report::object_status(&world.state, &object).standing
}

#[test]
fn an_object_that_only_has_tasks_to_end_is_removed() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    world.serve(&service("web"), spec("a", 1));
    world.launch(&service("web"), 0, agent);
    assert_eq!(standing(&world, &service("web")), None);
    world.commit(Vec::new(), vec![service("web")]);
    assert_eq!(standing(&world, &service("web")), Some(Standing::Removed));
}

#[test]
fn an_object_whose_kind_nobody_handles_is_unhandled() {
    let mut world = World::new();
    let key = ObjectKey::new("Bird", ns("shop"), "robin");
    world.commit(vec![desired(&key, json!({}))], Vec::new());
    assert_eq!(standing(&world, &key), Some(Standing::Unhandled));
}

#[test]
fn a_framework_is_refused_where_somebody_has_to_do_something() {
    for (cause, expected) in [
        (FaultCause::BadComponent, Some(Standing::Refused)),
        (FaultCause::TooLarge, Some(Standing::Refused)),
        (FaultCause::NotAllowed, Some(Standing::Refused)),
        (FaultCause::Held, None),
    ] {
        let mut world = World::new();
        let key = ObjectKey::new("Framework", ns("shop"), "birds");
        let wanted = json!({"digest": component("2").to_string()});
        world.commit(vec![desired(&key, wanted)], Vec::new());
        assert_eq!(standing(&world, &key), None);
        let fail = |digest| FailFramework::new(key.clone(), component(digest), cause, "no");
        world.done(Command::FailFramework(fail("1")));
        assert_eq!(standing(&world, &key), None, "that was another component");
        world.done(Command::FailFramework(fail("2")));
        assert_eq!(standing(&world, &key), expected, "{cause:?}");
    }
}
