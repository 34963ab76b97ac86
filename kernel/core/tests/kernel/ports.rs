//! Ports that something else on an agent's machine has: what a task comes to that finds them taken,
//! and what is tried next.

use kelson_kernel_core::StateView;
use kelson_kernel_core::command::{Command, CommitTurn};
use kelson_kernel_core::port::SeatView;
use kelson_model::id::TaskId;
use kelson_model::task::{Exit, ExitCause, TaskState};
use serde_json::json;

use crate::leader::{Leader, offered};
use crate::world::{World, counted, demand, seat, service, spec, status, with_ports};

/// Reports that a task found its ports taken, and that these of its agent's are.
fn refuse_ports(world: &mut World, task: TaskId, taken_ports: Vec<u16>) {
    let mut refused = status(task, 1, TaskState::Failed);
    refused.exit = Some(Exit {
        reason: "could not be started: another program listens at port 8080".to_owned(),
        cause: Some(ExitCause::PortsTaken),
        taken_ports,
        ..Exit::default()
    });
    world.report(refused);
}

#[test]
fn a_try_that_found_its_ports_taken_is_no_attempt_of_the_program() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let ported = with_ports(spec("a", 1), json!([{"name": "http"}]));
    world.serve(&service("web"), ported);
    let first = world.launch(&service("web"), 0, agent);
    world.say(first, TaskState::Failed);
    for refusals in 0..3 {
        let task = world.launch(&service("web"), 0, agent);
        let found = world.task(task);
        assert_eq!((found.attempts, found.refusals), (2, refusals));
        let seat = found.seat.clone();
        refuse_ports(&mut world, task, Vec::new());
        let view = StateView {
            state: world.state.clone(),
            seat,
        };
        let rows = view.all_rows().tasks;
        let row = rows.iter().find(|row| row.id == task).unwrap();
        assert_eq!((row.is_port_taken, row.attempts), (true, refusals + 1));
        assert!(view.end(task).unwrap().contains("8080"));
        let other = StateView {
            seat: crate::world::seat("other"),
            ..view
        };
        assert_eq!(other.end(task), None);
    }
    let ran = world.launch(&service("web"), 0, agent);
    assert_eq!(world.task(ran).attempts, 2);
    world.say(ran, TaskState::Failed);
    let next = world.launch(&service("web"), 0, agent);
    let next = world.task(next);
    assert_eq!((next.attempts, next.refusals), (3, 0));
}

#[test]
fn a_port_that_a_task_of_the_agent_holds_is_nothing_strange() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let ported = with_ports(spec("a", 2), json!([{"name": "http"}]));
    world.serve(&service("web"), ported);
    let held = world.launch(&service("web"), 0, agent);
    let refused = world.launch(&service("web"), 1, agent);
    let port_of = |world: &World, task| world.task(task).ports.get("http").copied().unwrap();
    let (held, taken) = (port_of(&world, held), port_of(&world, refused));
    refuse_ports(&mut world, refused, vec![held, taken]);
    let known = world.the_agent(agent).taken_ports.clone();
    assert_eq!(known.keys().copied().collect::<Vec<_>>(), [taken]);
}

#[test]
fn an_agent_whose_port_somebody_else_has_is_shown_only_where_there_is_no_other() {
    let mut leader = Leader::new();
    let (large, small) = (leader.world.agent(8, 1024), leader.world.agent(2, 1024));
    let fixed = with_ports(spec("a", 3), json!([{"name": "http", "port": 20_001}]));
    let workload = leader.world.serve(&service("web"), fixed);
    let first = leader.world.launch(&service("web"), 0, large);
    refuse_ports(&mut leader.world, first, vec![20_001]);
    let turn = CommitTurn {
        demand: Some(vec![demand(1, workload, 1, 1)]),
        ..leader.world.turn(&seat("default"))
    };
    counted(leader.world.apply(Command::CommitTurn(turn)));
    let turn = leader.one();
    assert_eq!(offered(&turn), [(small, 1)]);
    leader.nothing(&turn);
    leader.world.launch(&service("web"), 1, small);
    let turn = leader.one();
    assert_eq!(offered(&turn), [(large, 1)], "it is asked again");
}

#[test]
fn tries_for_taken_ports_push_out_nothing_of_the_program_and_are_told_once() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let ported = with_ports(spec("a", 1), json!([{"name": "http", "port": 8080}]));
    let workload = world.serve(&service("web"), ported);
    let mut ran = Vec::new();
    for _ in 0..3 {
        let task = world.launch(&service("web"), 0, agent);
        world.say(task, TaskState::Failed);
        ran.push(task);
    }
    let before = world.state.events.len();
    for _ in 0..20 {
        let task = world.launch(&service("web"), 0, agent);
        refuse_ports(&mut world, task, Vec::new());
        if ran.len() < 4 {
            ran.push(task);
        }
        ran[3] = task;
    }
    let told = world.state.events.iter().skip(before);
    let told: Vec<&str> = told.map(|event| event.reason.as_str()).collect();
    assert_eq!(told, ["TaskLaunched", "TaskEnded"]);
    let kept: Vec<TaskId> = world
        .state
        .tasks_of(workload)
        .map(|task| task.id())
        .collect();
    assert_eq!(kept, ran);
    assert_eq!(world.task(ran[3]).refusals, 19);
}
