use kelson_kernel_core::command::{
    Command, CommitTurn, FailFramework, InstallFramework, framework_objection,
};
use kelson_kernel_core::explain_object;
use kelson_kernel_core::port::{Op, SeatId};
use kelson_kernel_core::report::object_status;
use kelson_kernel_core::round::RoundMemory;
use kelson_model::code::Code;
use kelson_model::framework::{Ceiling, FaultCause, Limits};
use kelson_model::id::Digest;
use kelson_model::object::{Health, ObjectKey};
use kelson_model::quantity::Bytes;
use kelson_model::report::Standing;
use kelson_model::task::{StopReason, TaskState};
use kelson_model::text::MESSAGE_BYTES;
use serde_json::json;

use crate::world::{
    World, alone, component, counted, desired, framework, install, is_unchanged, kind, launch, ns,
    service, spec,
};

/// A framework from git, of namespace `shop`, that brings one kind.
fn from_git(name: &str, brings: &str) -> InstallFramework {
    let mut install = install(name);
    install.key = ObjectKey::new("Framework", ns("shop"), name);
    install.is_built_in = false;
    install.description.kinds = vec![kind(brings, &[""])];
    install
}

fn flock() -> ObjectKey {
    ObjectKey::new("Flock", ns("shop/web"), "sparrows")
}

/// A world with the objects of these frameworks in it.
fn world_with(frameworks: &[&InstallFramework]) -> World {
    let mut world = World::new();
    let objects = frameworks.iter().map(|it| desired(&it.key, json!({})));
    world.commit(objects.collect(), Vec::new());
    world
}

fn put_in_force(world: &mut World, install: &InstallFramework) {
    world.done(Command::InstallFramework(Box::new(install.clone())));
}

/// What keeps a framework from being in force.
fn fault(world: &World, install: &InstallFramework) -> Option<(FaultCause, String)> {
    let framework = &world.state.frameworks[&install.key];
    let (_, reason) = framework.fault.clone()?;
    Some((framework.cause, reason))
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
        is_built_in: true,
        ..FailFramework::new(
            framework(),
            component("2"),
            FaultCause::BadComponent,
            "is not a WebAssembly component",
        )
    }));
    let installed = world.state.frameworks[&framework()].clone();
    assert_eq!(installed.component, Some(component("1")));
    assert_eq!(installed.fault.as_ref().unwrap().0, component("2"));
    world.done(Command::InstallFramework(Box::new(install("3"))));
    assert_eq!(world.state.frameworks[&framework()].fault, None);
}

#[test]
fn a_framework_from_git_cannot_take_a_kind_that_another_has() {
    let thief = from_git("thief", "Service");
    let mut world = world_with(&[&thief]);
    let agent = world.agent(8, 1024);
    world.serve(&service("web"), spec("a", 1));
    let task = world.launch(&service("web"), 0, agent);
    put_in_force(&mut world, &thief);
    let (cause, reason) = fault(&world, &thief).unwrap();
    assert_eq!(cause, FaultCause::NotAllowed);
    assert_eq!(
        reason,
        "it brings kind Service, which framework default/service has"
    );
    assert_eq!(world.state.frameworks[&thief.key].component, None);
    assert_eq!(world.task(task).seat.framework, framework());
    // Nor do two from git share one, whoever comes second.
    let (first, second) = (from_git("first", "Flock"), from_git("second", "Flock"));
    let mut world = world_with(&[&first, &second]);
    put_in_force(&mut world, &first);
    put_in_force(&mut world, &second);
    assert_eq!(fault(&world, &first), None);
    assert!(fault(&world, &second).unwrap().1.contains("shop/first has"));
}

#[test]
fn a_framework_has_a_name_that_no_other_in_force_has() {
    let first = from_git("birds", "Flock");
    let mut second = from_git("birds", "Herd");
    second.key = ObjectKey::new("Framework", ns("data"), "birds");
    let mut world = world_with(&[&first, &second]);
    put_in_force(&mut world, &first);
    put_in_force(&mut world, &second);
    assert_eq!(fault(&world, &first), None);
    let (cause, reason) = fault(&world, &second).unwrap();
    assert_eq!(cause, FaultCause::NotAllowed);
    assert_eq!(
        reason,
        "its name is that of framework shop/birds; a framework's name is one in the cluster"
    );
    assert_eq!(world.state.frameworks[&second.key].component, None);
    // The one that has the name goes, and the other one gets it.
    world.commit(Vec::new(), vec![first.key.clone()]);
    put_in_force(&mut world, &second);
    assert_eq!(fault(&world, &second), None);
}

#[test]
fn a_framework_from_git_takes_no_place_of_one_in_the_box() {
    let mut thief = from_git("service", "Flock");
    thief.key = framework();
    let mut world = world_with(&[&thief]);
    let before = world.state.frameworks[&framework()].clone();
    let (cause, reason) = framework_objection(&world.state, &thief).unwrap();
    assert_eq!(cause, FaultCause::NotAllowed);
    assert_eq!(
        reason,
        "framework default/service came in the box, and none from git takes its place"
    );
    put_in_force(&mut world, &thief);
    assert_eq!(world.state.frameworks[&framework()], before);
    let event = world.state.events.back().unwrap();
    assert!(event.message.contains(&reason), "{}", event.message);
    world.done(Command::FailFramework(FailFramework::new(
        framework(),
        component("2"),
        FaultCause::BadComponent,
        "is not a WebAssembly component",
    )));
    assert_eq!(world.state.frameworks[&framework()], before);
    let status = object_status(&world.state, &world.object(&framework()));
    assert_eq!(status.health, Health::Degraded);
    assert_eq!(status.reason.as_deref(), Some("NotAllowed"));
    assert_eq!(status.message.as_ref(), Some(&reason));
    let memory = RoundMemory::default();
    let why = explain_object(&world.state, &memory, &framework(), world.now).unwrap();
    assert!(why.iter().any(|line| line.message == reason), "{why:?}");
    // Its object goes, and the one in the box stays.
    world.commit(Vec::new(), vec![framework()]);
    assert_eq!(world.state.frameworks[&framework()], before);
}

#[test]
fn a_framework_from_git_serves_its_own_namespace_and_those_below() {
    let mut birds = from_git("birds", "Flock");
    birds.namespaces = vec![ns("shop/web"), ns("default")];
    let mut world = world_with(&[&birds]);
    put_in_force(&mut world, &birds);
    let (cause, reason) = fault(&world, &birds).unwrap();
    assert_eq!(cause, FaultCause::NotAllowed);
    assert!(
        reason.starts_with("it asks for namespace default;"),
        "{reason}"
    );
    birds.namespaces = vec![ns("shop/web"), ns("shop")];
    put_in_force(&mut world, &birds);
    assert_eq!(fault(&world, &birds), None);
    let key = ObjectKey::new("Flock", ns("default"), "sparrows");
    assert_eq!(world.state.seat_of(&key), None);
}

#[test]
fn a_framework_from_git_stays_below_what_the_operator_allows() {
    let mut birds = from_git("birds", "Flock");
    birds.limits = Limits::default();
    birds.ceiling = Some(Ceiling {
        total_memory: Bytes(100 << 20),
        ..Ceiling::default()
    });
    let mut cats = from_git("cats", "Cat");
    (cats.limits, cats.ceiling) = (Limits::default(), birds.ceiling.clone());
    let mut world = world_with(&[&birds, &cats]);
    put_in_force(&mut world, &birds);
    assert_eq!(fault(&world, &birds), None);
    put_in_force(&mut world, &cats);
    let (cause, reason) = fault(&world, &cats).unwrap();
    assert_eq!(cause, FaultCause::NotAllowed);
    assert_eq!(
        reason,
        "limits.memory of all frameworks would be 128Mi; the operator allows 100Mi"
    );
    // An upgrade is not counted twice.
    birds.component = component("birds 2");
    put_in_force(&mut world, &birds);
    assert_eq!(fault(&world, &birds), None);
}

#[test]
fn an_upgrade_that_drops_a_kind_with_living_tasks_is_held_until_they_have_ended() {
    let birds = from_git("birds", "Flock");
    let mut upgrade = from_git("birds", "Bird");
    upgrade.component = component("birds 2");
    let mut world = world_with(&[&birds]);
    put_in_force(&mut world, &birds);
    let agent = world.agent(8, 1024);
    world.serve(&flock(), spec("a", 1));
    let workload = world.workload(&flock());
    let seat = world.state.seat_of(&flock()).unwrap();
    let task = launched(&mut world, &seat, workload, agent);
    let before = world.state.frameworks[&birds.key].component.clone();
    put_in_force(&mut world, &upgrade);
    let (cause, reason) = fault(&world, &upgrade).unwrap();
    assert_eq!(cause, FaultCause::Held);
    assert_eq!(
        reason,
        "it would handle kind Flock no more, of which 1 tasks live; remove those objects first"
    );
    assert_eq!(world.state.frameworks[&birds.key].component, before);
    // The same again says nothing new.
    let events = world.state.events.len();
    put_in_force(&mut world, &upgrade);
    assert_eq!(world.state.events.len(), events);
    world.say(task, TaskState::Finished);
    assert_eq!(framework_objection(&world.state, &upgrade), None);
    put_in_force(&mut world, &upgrade);
    assert_eq!(fault(&world, &upgrade), None);
}

fn launched(
    world: &mut World,
    seat: &SeatId,
    workload: kelson_model::id::WorkloadId,
    agent: kelson_model::id::AgentId,
) -> kelson_model::id::TaskId {
    let turn = CommitTurn {
        operations: vec![alone(launch(workload, 1, 0, agent))],
        ..world.turn(seat)
    };
    assert!(counted(world.apply(Command::CommitTurn(turn))).is_empty());
    world.state.last_task
}

#[test]
fn when_a_framework_goes_its_workloads_fall_to_the_one_that_waits_for_the_kind() {
    let (first, second) = (from_git("first", "Flock"), from_git("second", "Flock"));
    let mut world = world_with(&[&first, &second]);
    put_in_force(&mut world, &first);
    put_in_force(&mut world, &second);
    let agent = world.agent(8, 1024);
    world.serve(&flock(), spec("a", 1));
    let workload = world.workload(&flock());
    let before = world.state.seat_of(&flock()).unwrap();
    let task = launched(&mut world, &before, workload, agent);
    world.commit(Vec::new(), vec![first.key.clone()]);
    // Nobody is without a scheduler meanwhile.
    assert_eq!(world.state.seat_of(&flock()).as_ref(), Some(&before));
    put_in_force(&mut world, &second);
    assert!(!world.state.frameworks.contains_key(&first.key));
    assert!(!world.state.objects.contains_key(&first.key));
    let after = world.state.seat_of(&flock()).unwrap();
    assert_eq!(after.framework, second.key);
    assert_eq!(world.task(task).seat, after);
    assert_eq!(world.state.seats[&after].used.cpus.0, 1000);
    assert_eq!(world.state.seats[&before].used.cpus.0, 0);
    let kill = Op::Kill {
        task,
        reason: StopReason::Replaced,
    };
    let turn = CommitTurn {
        operations: vec![alone(kill)],
        ..world.turn(&after)
    };
    assert!(counted(world.apply(Command::CommitTurn(turn))).is_empty());
}

#[test]
fn a_framework_that_git_has_removed_meanwhile_is_not_put_in_force() {
    let birds = from_git("birds", "Flock");
    let mut world = world_with(&[&birds]);
    world.commit(Vec::new(), vec![birds.key.clone()]);
    let install = Command::InstallFramework(Box::new(birds.clone()));
    assert_eq!(world.refused(install).code, Code::NoSuchObject);
    let reason = "is not a WebAssembly component";
    let fail = FailFramework::new(
        birds.key.clone(),
        birds.component,
        FaultCause::BadComponent,
        reason,
    );
    assert_eq!(
        world.refused(Command::FailFramework(fail)).code,
        Code::NoSuchObject
    );
    assert!(!world.state.frameworks.contains_key(&birds.key));
}

#[test]
fn a_reason_is_cut_to_what_is_kept() {
    let birds = from_git("birds", "Flock");
    let mut world = world_with(&[&birds]);
    let reason = "x".repeat(200 << 10);
    let mut fail = FailFramework::new(
        birds.key.clone(),
        birds.component.clone(),
        FaultCause::BadComponent,
        &reason,
    );
    assert_eq!(fail.reason.len(), MESSAGE_BYTES);
    // Whoever proposes it otherwise.
    fail.reason = reason;
    world.done(Command::FailFramework(fail));
    assert_eq!(fault(&world, &birds).unwrap().1.len(), MESSAGE_BYTES);
    let event = world.state.events.back().unwrap();
    assert_eq!(event.message.len(), MESSAGE_BYTES);
}

#[test]
fn a_fault_is_one_of_the_generation_that_has_it() {
    let birds = from_git("birds", "Flock");
    let mut world = world_with(&[&birds]);
    let fail = |generation| {
        Command::FailFramework(FailFramework {
            generation: Some(generation),
            ..FailFramework::new(
                birds.key.clone(),
                Digest::of(b""),
                FaultCause::BadComponent,
                "birds.wasm is not pinned by a digest",
            )
        })
    };
    let stands = |world: &World| {
        let status = object_status(&world.state, &world.object(&birds.key));
        (status.health, status.standing)
    };
    world.done(fail(1));
    assert_eq!(stands(&world), (Health::Degraded, Some(Standing::Refused)));
    let events = world.state.events.len();
    let mended = json!({"digest": birds.component.to_string()});
    world.commit(vec![desired(&birds.key, mended)], Vec::new());
    assert_eq!(stands(&world), (Health::Progressing, None));
    // What is wrong still is said of the new one.
    let said = world.state.events.len();
    assert!(said > events);
    world.done(fail(2));
    assert_eq!(stands(&world).0, Health::Degraded);
    assert_eq!(world.state.events.len(), said, "it is no news for people");
}

#[test]
fn a_framework_that_names_no_component_is_at_fault_and_never_healthy() {
    let birds = from_git("birds", "Flock");
    let mut world = world_with(&[&birds]);
    let health = |world: &World| object_status(&world.state, &world.object(&birds.key)).health;
    assert_eq!(health(&world), Health::Progressing);
    world.done(Command::FailFramework(FailFramework::new(
        birds.key.clone(),
        Digest::of(b""),
        FaultCause::BadComponent,
        "birds.wasm is not pinned by a digest",
    )));
    assert_eq!(health(&world), Health::Degraded);
}

/// A framework that left git while a task of its kind lives; and that task.
fn leaving() -> (World, InstallFramework, kelson_model::id::TaskId) {
    let birds = from_git("birds", "Flock");
    let mut world = world_with(&[&birds]);
    put_in_force(&mut world, &birds);
    let agent = world.agent(8, 1024);
    world.serve(&flock(), spec("a", 1));
    let (workload, seat) = (world.workload(&flock()), world.state.seat_of(&flock()));
    let task = launched(&mut world, &seat.unwrap(), workload, agent);
    world.commit(Vec::new(), vec![birds.key.clone()]);
    (world, birds, task)
}

#[test]
fn a_framework_that_leaves_git_stays_for_its_objects_and_goes_after_the_last() {
    let (mut world, birds, task) = leaving();
    assert!(world.state.seat_of(&flock()).is_some());
    let status = object_status(&world.state, &world.object(&birds.key));
    assert_eq!(status.health, Health::Progressing);
    assert_eq!(status.standing, Some(Standing::Removed));
    assert_eq!(status.reason.as_deref(), Some("Held"));
    let reason = "no manifest wants it any more; it stays in force for Flock shop/web/sparrows: remove those objects first";
    assert_eq!(status.message.as_deref(), Some(reason));
    let memory = RoundMemory::default();
    let why = explain_object(&world.state, &memory, &birds.key, world.now).unwrap();
    assert_eq!((&*why[0].reason, &*why[0].message), ("Held", reason));
    // A later revision takes the object; its task ends, and the framework goes by itself.
    world.commit(Vec::new(), vec![flock()]);
    assert!(world.state.frameworks.contains_key(&birds.key));
    world.say(task, TaskState::Killed);
    assert!(!world.state.frameworks.contains_key(&birds.key));
    assert!(!world.state.objects.contains_key(&birds.key));
    assert_eq!(world.state.events.back().unwrap().reason, "FrameworkGone");
}

#[test]
fn a_framework_that_goes_with_its_objects_goes_after_their_tasks() {
    let birds = from_git("birds", "Flock");
    let mut world = world_with(&[&birds]);
    put_in_force(&mut world, &birds);
    world.serve(&flock(), spec("a", 1));
    world.commit(Vec::new(), vec![birds.key.clone(), flock()]);
    assert!(!world.state.frameworks.contains_key(&birds.key));
    assert!(!world.state.objects.contains_key(&birds.key));
}

#[test]
fn a_framework_that_comes_back_before_it_has_gone_stays() {
    let (mut world, birds, _) = leaving();
    world.commit(vec![desired(&birds.key, json!({}))], Vec::new());
    let object = world.object(&birds.key);
    // Its component is looked at again.
    assert_eq!((object.is_removed, object.generation), (false, 2));
    put_in_force(&mut world, &birds);
    assert_eq!(fault(&world, &birds), None);
    world.commit(Vec::new(), vec![flock()]);
    assert!(world.state.frameworks.contains_key(&birds.key));
}

#[test]
fn a_framework_that_leaves_gives_up_no_kind_to_one_that_serves_less() {
    let (mut world, birds, _) = leaving();
    let mut narrow = from_git("narrow", "Flock");
    narrow.namespaces = vec![ns("shop/till")];
    let mut again = from_git("birds", "Flock");
    again.key = ObjectKey::new("Framework", ns("data"), "birds");
    let objects = [&narrow, &again].map(|it| desired(&it.key, json!({})));
    world.commit(objects.to_vec(), Vec::new());
    for one in [&narrow, &again] {
        put_in_force(&mut world, one);
        assert_eq!(fault(&world, one).unwrap().0, FaultCause::NotAllowed);
    }
    let seat = world.state.seat_of(&flock()).unwrap();
    assert_eq!(seat.framework, birds.key);
}

#[test]
fn an_object_whose_framework_is_not_there_says_so_whatever_it_said_before() {
    let (world, birds, _) = leaving();
    let object = world.object(&flock());
    // As an earlier version left it.
    let mut records = kelson_kernel_core::Records::clone(&world.state);
    records.frameworks.remove(&birds.key);
    records.objects.remove(&birds.key);
    let state = kelson_kernel_core::State::from(records);
    let status = object_status(&state, &object);
    assert_eq!(status.health, Health::Unknown);
    assert_eq!(status.reason.as_deref(), Some("NoFramework"));
    assert_eq!(status.standing, Some(Standing::Unhandled));
}
