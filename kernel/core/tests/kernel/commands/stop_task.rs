use kelson_kernel_core::assignment::{Order, assignment};
use kelson_kernel_core::command::Command;
use kelson_model::code::Code;
use kelson_model::id::TaskId;
use kelson_model::principal::Principal;
use kelson_model::request::StopTask;
use kelson_model::task::{StopReason, TaskState};

use crate::world::{World, is_unchanged, service, spec};

#[test]
fn a_stop_by_hand_names_who_asked_and_reaches_the_agent_as_a_newer_order() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    world.serve(&service("web"), spec("a", 1));
    let task = world.launch(&service("web"), 0, agent);
    let alice = Principal::new("alice", "cli");
    let entry = world.entry(alice.clone(), Command::StopTask(StopTask { task }));
    world.apply_entry(&entry);
    let stopped = world.task(task);
    assert_eq!(stopped.stop.as_ref().unwrap().by, alice);
    let order = assignment(&world.state, world.seen(task));
    assert_eq!(order.generation, 2);
    assert_eq!(order.order, Order::Stop(StopReason::ByHand));
    assert!(world.seen(task).is_ended_by_hand());

    let before = world.state.clone();
    world.done(Command::StopTask(StopTask { task }));
    assert!(
        is_unchanged(&before, &world.state),
        "the first order stands"
    );
}

#[test]
fn a_task_that_is_unknown_or_has_ended_is_not_stopped() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    world.serve(&service("web"), spec("a", 1));
    let task = world.launch(&service("web"), 0, agent);
    world.say(task, TaskState::Finished);
    for task in [task, TaskId(99)] {
        let refusal = world.refused(Command::StopTask(StopTask { task }));
        assert_eq!(refusal.code, Code::NoSuchTask);
    }
}
