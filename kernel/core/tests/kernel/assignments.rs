//! Orders to agents.

use kelson_kernel_core::RowKey;
use kelson_kernel_core::assignment::{Order, assignment, full_assignment};
use kelson_kernel_core::port::Op;
use kelson_model::object::DriftPolicy;
use kelson_model::task::TaskState;
use serde_json::json;

use crate::world::{World, desired, service, spec};

#[test]
fn a_task_is_told_what_to_run_then_to_end_then_to_be_forgotten_under_growing_generations() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    world.serve(&service("web"), spec("a", 1));
    let task = world.launch(&service("web"), 2, agent);
    let run = assignment(&world.state, world.seen(task));
    let Order::Run(order) = &run.order else {
        panic!("{run:?}");
    };
    assert_eq!((order.name.as_str(), order.slot), ("web.2", 2));
    assert_eq!(order.template.run.command, "a");
    world.kill(task, kelson_model::task::StopReason::ScaledDown);
    let stop = assignment(&world.state, world.seen(task));
    assert!(matches!(stop.order, Order::Stop(_)));
    world.say(task, TaskState::Killed);
    let forget = assignment(&world.state, world.seen(task));
    assert_eq!(forget.order, Order::Forget);
    assert!(run.generation < stop.generation && stop.generation < forget.generation);
    assert!(full_assignment(&world.state, agent).is_empty());
}

#[test]
fn a_task_runs_on_while_a_kept_generation_has_its_template() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let web = service("web");
    world.serve(&web, spec("a", 1));
    let task = world.launch(&web, 0, agent);
    for instances in 2..=20 {
        world.serve(&web, spec("a", instances));
    }
    assert!(world.object(&web).generation_of(1).is_none());
    let order = assignment(&world.state, world.seen(task)).order;
    assert!(matches!(order, Order::Run(_)), "{order:?}");
}

#[test]
fn a_task_of_the_good_generation_runs_on_however_old_it_is() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let web = service("web");
    let workload = world.serve(&web, spec("a", 1));
    let good = Op::SetGoodGeneration {
        workload,
        generation: 1,
    };
    world.operate("default", vec![good]);
    let task = world.launch(&web, 0, agent);
    for number in 2..=20 {
        world.serve(&web, spec(&format!("b{number}"), 1));
    }
    let order = assignment(&world.state, world.seen(task)).order;
    assert!(matches!(order, Order::Run(_)), "{order:?}");
}

#[test]
fn enforced_drift_is_told_to_the_agent() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let web = service("web");
    world.serve(&web, spec("a", 1));
    let task = world.launch(&web, 0, agent);
    let order = assignment(&world.state, world.seen(task)).order;
    assert!(matches!(order, Order::Run(run) if run.is_drift_enforced));
    world.set_by_hand(&web, "/spec/instances", json!(2));
    assert_eq!(
        world.task(task).assignment,
        1,
        "a scale is no news for a task"
    );
}

#[test]
fn a_change_of_the_drift_policy_reaches_the_tasks_that_run() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let web = service("web");
    world.serve(&web, spec("a", 2));
    let task = world.launch(&web, 0, agent);
    let stopped = world.launch(&web, 1, agent);
    world.kill(stopped, kelson_model::task::StopReason::ScaledDown);
    let before = (world.task(stopped), world.state.index);
    let mut reported = desired(&web, spec("a", 2));
    reported.lifecycle.drift = DriftPolicy::Report;
    world.commit(vec![reported], Vec::new());
    let told = assignment(&world.state, world.seen(task));
    assert_eq!(told.generation, 2);
    assert!(matches!(told.order, Order::Run(run) if !run.is_drift_enforced));
    let changed = world.state.changed_since(before.1).unwrap();
    assert!(changed.contains(&RowKey::Task(task)));
    assert_eq!(world.task(stopped), before.0, "it is asked to end already");
}
