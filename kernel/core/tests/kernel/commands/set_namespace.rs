use kelson_kernel_core::command::Command;
use kelson_model::code::Code;
use kelson_model::request::SetNamespace;

use crate::world::{World, ns, service, spec};

fn weigh(weight: u32) -> Command {
    Command::SetNamespace(SetNamespace {
        namespace: ns("default"),
        weight,
    })
}

#[test]
fn a_weight_is_set_and_what_is_used_stays() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    world.serve(&service("web"), spec("a", 1));
    world.launch(&service("web"), 0, agent);
    world.done(weigh(5));
    let record = world.state.namespaces[&ns("default")];
    assert_eq!((record.weight, record.used.cpus.0), (5, 1000));
}

#[test]
fn a_weight_of_nothing_or_too_much_is_refused() {
    let mut world = World::new();
    for weight in [0, 1_000_001] {
        assert_eq!(world.refused(weigh(weight)).code, Code::BadWeight);
    }
}
