use kelson_kernel_core::command::{Command, FailFramework, InstallFramework};
use kelson_kernel_core::port::{Op, SeatId};
use kelson_model::object::{Namespace, ObjectKey};
use kelson_model::task::StopReason;
use serde_json::json;

use crate::world::{
    World, alone, component, counted, desired, framework, install, is_unchanged, launch, ns, seat,
    service, service_in, spec,
};
use kelson_kernel_core::command::CommitTurn;

/// A framework from git that handles `Service` too, in these namespaces.
fn from_git(namespaces: Vec<Namespace>) -> InstallFramework {
    InstallFramework {
        key: ObjectKey::new("Framework", ns("default"), "mine"),
        is_built_in: false,
        namespaces,
        ..install("mine")
    }
}

#[test]
fn objects_that_came_before_their_framework_get_their_workloads() {
    let mut world = World::empty();
    let agent = world.agent(4, 1024);
    world.commit(vec![desired(&service("web"), spec("a", 1))], Vec::new());
    assert_eq!(world.object(&service("web")).workload, None);
    world.done(Command::InstallFramework(Box::new(install("1"))));
    let object = world.object(&service("web"));
    assert!(object.workload.is_some());
    assert_eq!(object.history[0].templates.len(), 1);
    world.launch(&service("web"), 0, agent);
}

#[test]
fn installing_what_is_in_force_changes_nothing() {
    let mut world = World::new();
    world.serve(&service("web"), spec("a", 1));
    let before = world.state.clone();
    world.done(Command::InstallFramework(Box::new(install("1"))));
    assert!(is_unchanged(&before, &world.state));
    world.done(Command::InstallFramework(Box::new(install("2"))));
    let installed = &world.state.frameworks[&framework()];
    assert_eq!(installed.component, Some(component("2")));
    assert_eq!(world.object(&service("web")).generation, 1);
}

#[test]
fn a_component_that_cannot_be_used_leaves_the_one_before_in_force() {
    let mut world = World::new();
    world.done(Command::FailFramework(FailFramework {
        key: framework(),
        component: component("2"),
        reason: "is not a WebAssembly component".to_owned(),
    }));
    let installed = world.state.frameworks[&framework()].clone();
    assert_eq!(installed.component, Some(component("1")));
    assert_eq!(installed.fault.as_ref().unwrap().0, component("2"));
    world.done(Command::InstallFramework(Box::new(install("3"))));
    assert_eq!(world.state.frameworks[&framework()].fault, None);
}

#[test]
fn a_framework_from_git_takes_over_the_tasks_of_the_namespaces_it_serves() {
    let mut world = World::new();
    let agent = world.agent(8, 1024);
    for key in [service_in("shop/web", "web"), service("web")] {
        world.serve(&key, spec("a", 1));
        world.launch(&key, 0, agent);
    }
    let taken = world.workload(&service_in("shop/web", "web"));
    world.done(Command::InstallFramework(Box::new(from_git(vec![ns(
        "shop",
    )]))));
    let mine = SeatId {
        framework: from_git(Vec::new()).key,
        namespace: ns("shop/web"),
    };
    let task = world.state.tasks_of(taken).next().unwrap().id;
    assert_eq!(world.task(task).seat, mine);
    assert_eq!(world.state.seats[&mine].used.cpus.0, 1000);
    assert_eq!(world.state.seats[&seat("shop/web")].used.cpus.0, 0);
    assert_eq!(world.state.seats[&seat("default")].used.cpus.0, 1000);
    let refusals = world.operate("shop/web", vec![launch(taken, 1, 1, agent)]);
    assert_eq!(refusals[0].reason, "no workload of this seat");
    let kill = Op::Kill {
        task,
        reason: StopReason::Replaced,
    };
    let turn = CommitTurn {
        operations: vec![alone(kill)],
        ..world.turn(&mine)
    };
    assert!(counted(world.apply(Command::CommitTurn(turn))).is_empty());
}

#[test]
fn when_a_framework_goes_its_workloads_fall_to_the_next() {
    let mut world = World::new();
    let agent = world.agent(8, 1024);
    world.serve(&service("web"), spec("a", 1));
    world.launch(&service("web"), 0, agent);
    let object = desired(&from_git(Vec::new()).key, json!({}));
    world.commit(vec![object], Vec::new());
    world.done(Command::InstallFramework(Box::new(from_git(Vec::new()))));
    assert_eq!(world.state.seats[&seat("default")].used.cpus.0, 0);
    world.commit(Vec::new(), vec![from_git(Vec::new()).key]);
    assert!(
        !world
            .state
            .frameworks
            .contains_key(&from_git(Vec::new()).key)
    );
    assert_eq!(world.state.seats[&seat("default")].used.cpus.0, 1000);
}
