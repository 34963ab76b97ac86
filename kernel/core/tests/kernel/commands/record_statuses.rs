use kelson_kernel_core::RowKey;
use kelson_kernel_core::command::{Command, RecordStatuses, RegisterAgent};
use kelson_model::agent::AgentDescription;
use kelson_model::agent::AgentState;
use kelson_model::id::TaskId;
use kelson_model::request::StopTask;
use kelson_model::session::SessionEnd;
use kelson_model::task::{CheckState, Exit, ExitCause, StopReason, TaskState};
use serde_json::json;

use crate::world::{World, is_unchanged, service, session_over, spec, status, with_ports};

fn with_task() -> (World, TaskId) {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    world.serve(&service("web"), spec("a", 1));
    let task = world.launch(&service("web"), 0, agent);
    (world, task)
}

fn fail(world: &mut World, task: TaskId) {
    world.say(task, TaskState::Running);
    world.say(task, TaskState::Failed);
}

#[test]
fn a_status_counts_once_and_an_older_one_not_at_all() {
    let (mut world, task) = with_task();
    world.report(status(task, 3, TaskState::Running));
    let before = world.state.clone();
    for sequence in [3, 2, 1] {
        world.report(status(task, sequence, TaskState::Failed));
    }
    assert!(is_unchanged(&before, &world.state));
}

#[test]
fn a_task_that_was_healthy_for_longer_than_the_cluster_had_time_is_healthy_since_some_time() {
    let (mut world, task) = with_task();
    let mut healthy = status(task, 1, TaskState::Running);
    healthy.health = CheckState::Healthy;
    healthy.healthy_for = u64::MAX;
    world.report(healthy);
    // To schedulers the time 0 is none.
    assert_eq!(world.task(task).healthy_since.map(|since| since.0), Some(1));
}

#[test]
fn terminal_is_terminal() {
    let (mut world, task) = with_task();
    world.say(task, TaskState::Finished);
    let before = world.state.clone();
    world.say(task, TaskState::Running);
    world.say(task, TaskState::Failed);
    assert!(is_unchanged(&before, &world.state));
}

#[test]
fn statuses_of_another_incarnation_are_refused() {
    let (mut world, task) = with_task();
    for incarnation in [0, 2] {
        let over = session_over(world.apply(Command::RecordStatuses(RecordStatuses {
            agent: world.task(task).agent,
            incarnation,
            statuses: vec![status(task, 1, TaskState::Running)],
        })));
        assert_eq!(over, SessionEnd::Superseded);
    }
}

#[test]
fn an_agent_cannot_speak_of_the_task_of_another() {
    let (mut world, task) = with_task();
    let other = world.agent(4, 1024);
    let before = world.state.clone();
    world.done(Command::RecordStatuses(RecordStatuses {
        agent: other,
        incarnation: 1,
        statuses: vec![
            status(task, 1, TaskState::Failed),
            status(TaskId(77), 1, TaskState::Failed),
        ],
    }));
    assert!(is_unchanged(&before, &world.state));
}

#[test]
fn health_is_counted_from_when_the_agent_says_it_began() {
    let (mut world, task) = with_task();
    world.wait(10_000);
    let mut healthy = status(task, 1, TaskState::Running);
    healthy.healthy_for = 4000;
    world.report(healthy);
    let since = world.task(task).healthy_since.unwrap();
    assert_eq!(since.0 + 4000, world.now.0);
    world.wait(5000);
    world.say(task, TaskState::Running);
    assert_eq!(world.task(task).healthy_since, Some(since));
    let mut unhealthy = status(task, 3, TaskState::Running);
    unhealthy.health = CheckState::Unhealthy;
    world.report(unhealthy);
    assert_eq!(world.task(task).healthy_since, None);
}

#[test]
fn what_a_task_held_is_given_back_once_when_it_ends() {
    let (mut world, task) = with_task();
    let agent = world.task(task).agent;
    let before = world.the_agent(agent).room_version;
    world.say(task, TaskState::Failed);
    let after = world.the_agent(agent);
    assert_eq!(after.used.cpus.0, 0);
    assert!(after.room_version > before);
    assert_eq!(
        world.state.seats[&crate::world::seat("default")]
            .used
            .cpus
            .0,
        0
    );
}

#[test]
fn attempts_grow_with_each_failure_and_begin_again_after_a_steady_task() {
    let (mut world, first) = with_task();
    let agent = world.task(first).agent;
    fail(&mut world, first);
    let second = world.launch(&service("web"), 0, agent);
    assert_eq!(world.task(second).attempts, 2);
    world.say(second, TaskState::Running);
    world.wait(60_000);
    world.say(second, TaskState::Failed);
    let third = world.launch(&service("web"), 0, agent);
    assert_eq!(world.task(third).attempts, 1);
    fail(&mut world, third);
    let other_slot = world.launch(&service("web"), 1, agent);
    assert_eq!(world.task(other_slot).attempts, 1);
}

#[test]
fn a_task_that_was_asked_to_end_is_no_failed_attempt_unless_it_was_unhealthy() {
    for (reason, attempts) in [
        (StopReason::ScaledDown, 1),
        (StopReason::Replaced, 1),
        (StopReason::Unhealthy, 2),
    ] {
        let (mut world, task) = with_task();
        let agent = world.task(task).agent;
        world.kill(task, reason);
        world.say(task, TaskState::Killed);
        let next = world.launch(&service("web"), 0, agent);
        assert_eq!(world.task(next).attempts, attempts, "{reason:?}");
    }
}

#[test]
fn a_death_by_a_strange_signal_is_somebodys_hand() {
    for (by_agent, oom, is_by_hand) in [
        (false, false, true),
        (true, false, false),
        (false, true, false),
    ] {
        let (mut world, task) = with_task();
        let mut killed = status(task, 1, TaskState::Failed);
        killed.exit = Some(Exit {
            signal: Some(9),
            by_agent,
            oom,
            ..Exit::default()
        });
        world.report(killed);
        assert_eq!(world.seen(task).is_ended_by_hand(), is_by_hand);
    }
}

#[test]
fn a_signal_from_outside_does_not_begin_the_count_of_attempts_again() {
    let (mut world, task) = with_task();
    let agent = world.task(task).agent;
    let killed_from_outside = |world: &mut World, task| {
        let mut killed = status(task, 1, TaskState::Failed);
        killed.exit = Some(Exit {
            signal: Some(9),
            ..Exit::default()
        });
        world.report(killed);
    };
    killed_from_outside(&mut world, task);
    let second = world.launch(&service("web"), 0, agent);
    assert_eq!(world.task(second).attempts, 2);
    killed_from_outside(&mut world, second);
    let third = world.launch(&service("web"), 0, agent);
    assert_eq!(world.task(third).attempts, 3);
    world.done(Command::StopTask(StopTask { task: third }));
    world.say(third, TaskState::Killed);
    let asked_for = world.launch(&service("web"), 0, agent);
    assert_eq!(world.task(asked_for).attempts, 1);
}

#[test]
fn an_end_is_told_to_watchers_and_to_the_agent_under_a_new_assignment() {
    let (mut world, task) = with_task();
    let before = world.state.index;
    world.say(task, TaskState::Failed);
    assert_eq!(world.task(task).assignment, 2);
    let changed: Vec<_> = world.state.changed_since(before).unwrap();
    assert!(changed.contains(&RowKey::Task(task)));
}

#[test]
fn a_task_on_an_unreachable_agent_still_ends_when_its_agent_says_so() {
    let (mut world, task) = with_task();
    let agent = world.task(task).agent;
    world.set_agent(agent, AgentState::Unreachable);
    world.say(task, TaskState::Finished);
    assert_eq!(world.task(task).state, TaskState::Finished);
}

#[test]
fn a_port_that_the_machine_uses_is_not_given_again_for_a_while() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let ported = with_ports(spec("a", 1), json!([{"name": "http"}]));
    world.serve(&service("web"), ported);
    let port_of = |world: &World, task| world.task(task).ports.get("http").copied().unwrap();
    let first = world.launch(&service("web"), 0, agent);
    let port = port_of(&world, first);
    let mut refused = status(first, 1, TaskState::Failed);
    refused.exit = Some(Exit {
        cause: Some(ExitCause::PortsTaken),
        // One of another range is no business of ours.
        taken_ports: vec![port, port + 1, 1],
        ..Exit::default()
    });
    world.report(refused);
    assert_eq!(world.the_agent(agent).taken_ports.len(), 2);
    let second = world.launch(&service("web"), 0, agent);
    assert_eq!(port_of(&world, second), port + 2);
    world.say(second, TaskState::Failed);
    world.wait(600_001);
    // All are in use, or believed to be: a port that was taken is tried again rather than nothing.
    let known = world.the_agent(agent);
    let mut narrow = AgentDescription::clone(&known.description);
    (narrow.ports.first, narrow.ports.last) = (port, port);
    world.apply(Command::RegisterAgent(RegisterAgent {
        agent: Some(agent),
        token: "token-1".to_owned(),
        incarnation: 2,
        description: narrow,
        cluster: String::new(),
    }));
    let third = world.launch(&service("web"), 0, agent);
    assert_eq!(port_of(&world, third), port);
}
