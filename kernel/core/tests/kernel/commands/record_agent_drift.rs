use kelson_kernel_core::command::{Command, RecordAgentDrift};
use kelson_model::drift::{DriftState, Plane};
use kelson_model::id::TaskId;
use kelson_model::session::SessionEnd;
use kelson_model::task::TaskState;
use serde_json::json;

use crate::world::{World, is_unchanged, service, session_over, spec};

fn with_task() -> (World, TaskId) {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    world.serve(&service("web"), spec("a", 1));
    let task = world.launch(&service("web"), 0, agent);
    (world, task)
}

fn seen(world: &World, task: TaskId, live: u64, is_healed: bool) -> RecordAgentDrift {
    RecordAgentDrift {
        agent: world.task(task).agent,
        incarnation: 1,
        task,
        field: "cgroup/memory.limit_in_bytes".to_owned(),
        desired: json!(64),
        live: json!(live),
        is_healed,
    }
}

#[test]
fn the_same_difference_is_one_item_that_counts() {
    let (mut world, task) = with_task();
    for live in [1, 2] {
        world.done(Command::RecordAgentDrift(seen(&world, task, live, false)));
    }
    assert_eq!(world.state.drift.len(), 1);
    let item = &world.state.drift[0];
    assert_eq!((item.plane, item.state), (Plane::Agent, DriftState::Open));
    assert_eq!((item.count, &item.fields[0].live), (2, &json!(2)));
}

#[test]
fn a_difference_that_is_gone_is_healed_and_the_next_one_is_another() {
    let (mut world, task) = with_task();
    world.done(Command::RecordAgentDrift(seen(&world, task, 1, false)));
    world.done(Command::RecordAgentDrift(seen(&world, task, 64, true)));
    assert_eq!(world.state.drift[0].state, DriftState::Healed);
    assert!(world.state.drift[0].healed_at.is_some());
    world.done(Command::RecordAgentDrift(seen(&world, task, 3, false)));
    assert_eq!(world.state.drift.len(), 2);
}

#[test]
fn a_difference_that_was_healed_before_it_was_told_is_kept_too() {
    let (mut world, task) = with_task();
    world.done(Command::RecordAgentDrift(seen(&world, task, 1, true)));
    assert_eq!(world.state.drift[0].state, DriftState::Healed);
}

#[test]
fn what_was_open_of_a_task_heals_with_its_end() {
    let (mut world, task) = with_task();
    world.done(Command::RecordAgentDrift(seen(&world, task, 1, false)));
    world.say(task, TaskState::Killed);
    assert_eq!(world.state.drift.len(), 1);
    assert_eq!(world.state.drift[0].state, DriftState::Healed);
}

#[test]
fn what_agents_see_is_kept_up_to_a_number_of_bytes_and_the_rest_is_said() {
    const KEPT: usize = 512 << 10;
    const ONE: usize = 16 << 10;
    let (mut world, task) = with_task();
    let about = |world: &World, n: usize, is_healed: bool| {
        Command::RecordAgentDrift(RecordAgentDrift {
            field: format!("f{n}"),
            live: json!("x".repeat(ONE)),
            ..seen(world, task, 1, is_healed)
        })
    };
    let has = |world: &World, n: usize| {
        let path = format!("f{n}");
        let mut open = world.state.drift.iter();
        open.any(|item| item.state == DriftState::Open && item.fields[0].path == path)
    };
    let is_said = |world: &World| {
        let last = world.state.events.back().unwrap();
        last.message.contains("has no room for it")
    };
    let last = 2 * KEPT / ONE;
    for n in 0..=last {
        let command = about(&world, n, false);
        world.done(command);
        assert_eq!(is_said(&world), !has(&world, n), "{n}");
    }
    let items = world.state.drift.iter();
    let bytes = items.map(|item| serde_json::to_vec(&**item).unwrap().len());
    let bytes: usize = bytes.sum();
    assert!((KEPT - 2 * ONE..=KEPT).contains(&bytes), "{bytes}");
    assert!(has(&world, 0) && !has(&world, last));
    let healed = about(&world, 0, true);
    world.done(healed);
    let again = about(&world, last, false);
    world.done(again);
    assert!(has(&world, last) && !has(&world, 0));
}

#[test]
fn an_older_session_and_the_task_of_another_agent_say_nothing() {
    let (mut world, task) = with_task();
    let older = RecordAgentDrift {
        incarnation: 0,
        ..seen(&world, task, 1, false)
    };
    assert_eq!(
        session_over(world.apply(Command::RecordAgentDrift(older))),
        SessionEnd::Superseded
    );
    let other = world.agent(1, 64);
    let before = world.state.clone();
    for (agent, task) in [(other, task), (world.task(task).agent, TaskId(99))] {
        let strange = RecordAgentDrift {
            agent,
            task,
            ..seen(&world, TaskId(1), 1, false)
        };
        world.done(Command::RecordAgentDrift(strange));
    }
    assert!(is_unchanged(&before, &world.state));
}
