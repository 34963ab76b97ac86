use kelson_kernel_core::Reply;
use kelson_kernel_core::command::{Command, CommitTurn};
use kelson_kernel_core::port::{Op, Operation, StateWrite};
use kelson_model::agent::AgentState;
use kelson_model::id::{Index, TaskId, WorkloadId};
use kelson_model::object::{Health, ObjectKey, RolloutState};
use kelson_model::task::{StopReason, TaskState};
use kelson_model::time::ClusterTime;
use serde_json::json;

use crate::world::{
    World, alone, component, counted, demand, desired, is_unchanged, launch, ns, seat, service,
    service_in, spec, template, with_ports,
};

fn grouped(group: u32, op: Op) -> Operation {
    Operation { group, op }
}

fn write(group: u32, key: &str, value: Option<&[u8]>) -> StateWrite {
    StateWrite {
        group,
        key: key.to_owned(),
        value: value.map(<[u8]>::to_vec),
    }
}

fn commit(world: &mut World, turn: CommitTurn) -> Reply {
    world.apply(Command::CommitTurn(turn))
}

#[test]
fn a_turn_of_another_number_component_or_an_older_term_is_void_and_changes_nothing() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let workload = world.serve(&service("web"), spec("a", 1));
    world.term = 3;
    world.launch(&service("web"), 0, agent);
    let good = CommitTurn {
        operations: vec![alone(launch(workload, 1, 1, agent))],
        writes: vec![write(0, "key", Some(b"value"))],
        demand: Some(vec![demand(1, workload, 1, 1)]),
        wake_at: Some(ClusterTime(99_999)),
        ..world.turn(&seat("default"))
    };
    let wrong = [
        CommitTurn {
            turn_no: good.turn_no - 1,
            ..good.clone()
        },
        CommitTurn {
            turn_no: good.turn_no + 1,
            ..good.clone()
        },
        CommitTurn {
            component: component("2"),
            ..good.clone()
        },
        CommitTurn {
            seat: seat("nobody"),
            ..good.clone()
        },
    ];
    for (term, turn) in wrong
        .into_iter()
        .map(|turn| (4, turn))
        .chain([(2, good.clone())])
    {
        world.term = term;
        let before = world.state.clone();
        let reply = commit(&mut world, turn);
        assert!(matches!(reply, Reply::Void { .. }), "{reply:?}");
        assert!(is_unchanged(&before, &world.state));
    }
    world.term = 3;
    assert!(counted(commit(&mut world, good.clone())).is_empty());
    let twice = commit(&mut world, good);
    assert!(
        matches!(twice, Reply::Void { .. }),
        "the same turn counts once"
    );
    assert_eq!(world.live_in("default"), 2);
}

#[test]
fn a_launch_takes_what_its_template_asks_for() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let ports = json!([{"name": "http"}, {"name": "fixed", "port": 8080}]);
    world.serve(&service("web"), with_ports(spec("a", 1), ports));
    let id = world.launch(&service("web"), 7, agent);
    let task = world.task(id);
    assert_eq!((task.slot, task.generation, task.assignment), (7, 1, 1));
    assert_eq!(task.ports["http"], 20_000);
    assert_eq!(task.ports["fixed"], 8080);
    assert_eq!(world.the_agent(agent).used.cpus.0, 1000);
    assert_eq!(world.state.namespaces[&ns("default")].used.cpus.0, 1000);
}

#[test]
fn a_port_that_was_given_back_is_not_given_again_at_once() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    world.serve(
        &service("web"),
        with_ports(spec("a", 1), json!([{"name": "http"}])),
    );
    let mut given = Vec::new();
    for _ in 0..5 {
        let task = world.launch(&service("web"), 0, agent);
        given.push(world.task(task).ports["http"]);
        world.say(task, TaskState::Finished);
    }
    assert_eq!(given, [20_000, 20_001, 20_002, 20_003, 20_000]);
}

#[test]
fn what_may_not_be_launched_is_refused_with_the_reason() {
    let mut world = World::new();
    let agent = world.agent(2, 1024);
    let away = world.agent(2, 1024);
    world.set_agent(away, AgentState::Unreachable);
    let web = world.serve(
        &service("web"),
        with_ports(spec("a", 1), json!([{"name": "p", "port": 80}])),
    );
    let other = world.serve(&service_in("shop", "web"), spec("a", 1));
    world.launch(&service("web"), 0, agent);
    let big = world.serve(&service("big"), template("a", 9000, 1));
    for (op, reason) in [
        (launch(other, 1, 0, agent), "no workload of this seat"),
        (
            launch(WorkloadId(99), 1, 0, agent),
            "no workload of this seat",
        ),
        (
            launch(web, 2, 0, agent),
            "stale generation: it is not kept any more",
        ),
        (
            launch(web, 1, 2_000_000, agent),
            "a slot is at most 1000000",
        ),
        (launch(web, 1, 0, away), "the agent cannot be reached"),
        (
            launch(web, 1, 0, kelson_model::id::AgentId(9)),
            "no such agent",
        ),
        (launch(web, 1, 1, agent), "port 80 is taken on the agent"),
        (launch(big, 1, 0, agent), "no room on the agent"),
    ] {
        let refusals = world.operate("default", vec![op]);
        assert_eq!(refusals.len(), 1);
        assert_eq!(refusals[0].reason, reason);
    }
    assert_eq!(world.live_in("default"), 1);
}

#[test]
fn the_template_of_a_launch_is_named_by_its_place() {
    let mut world = World::new();
    let agent = world.agent(8, 1024);
    let key = ObjectKey::new("Duo", ns("default"), "pair");
    let duo = json!({"lead": template("l", 1000, 1), "worker": template("w", 2000, 1)});
    world.commit(vec![desired(&key, duo)], Vec::new());
    let workload = world.workload(&key);
    let place = |template| Op::Launch {
        workload,
        generation: 1,
        template,
        slot: template,
        agent,
    };
    let refusals = world.operate("default", vec![place(0), place(1), place(2)]);
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].reason, "the generation has no such template");
    assert_eq!(world.the_agent(agent).used.cpus.0, 3000);
}

#[test]
fn where_one_template_cannot_be_read_none_takes_its_place() {
    let mut world = World::new();
    let agent = world.agent(8, 1024);
    let key = ObjectKey::new("Duo", ns("default"), "pair");
    world.commit(
        vec![desired(&key, json!({"worker": template("w", 2000, 1)}))],
        Vec::new(),
    );
    let refusals = world.operate("default", vec![launch(world.workload(&key), 1, 0, agent)]);
    assert_eq!(refusals[0].reason, "the generation has no such template");
}

#[test]
fn a_group_across_agents_is_launched_whole_or_not_at_all() {
    let mut world = World::new();
    let agents = [world.agent(1, 1024), world.agent(1, 1024)];
    let workload = world.serve(&service("web"), spec("a", 3));
    let gang = |group, slots: [u32; 2]| {
        slots
            .into_iter()
            .zip(agents)
            .map(move |(slot, agent)| grouped(group, launch(workload, 1, slot, agent)))
    };
    let too_much = alone(launch(workload, 1, 8, agents[0]));
    let turn = CommitTurn {
        operations: gang(1, [0, 1])
            .chain(gang(2, [2, 3]))
            .chain([too_much])
            .collect(),
        writes: vec![write(1, "one", Some(b"1")), write(2, "two", Some(b"2"))],
        ..world.turn(&seat("default"))
    };
    let refusals = counted(commit(&mut world, turn));
    // Group 0 came first and took the room of one agent: neither gang has room for both.
    assert!(
        refusals.iter().all(|refusal| refusal.group != 0),
        "{refusals:?}"
    );
    assert_eq!(world.live_in("default"), 1);
    assert!(world.state.seats[&seat("default")].pairs.is_empty());
    let task = world.state.last_task;
    assert_eq!(task, TaskId(1), "what was refused has used up no id");
    world.say(task, TaskState::Finished);
    let turn = CommitTurn {
        operations: gang(1, [0, 1]).chain(gang(2, [2, 3])).collect(),
        writes: vec![write(1, "one", Some(b"1")), write(2, "two", Some(b"2"))],
        ..world.turn(&seat("default"))
    };
    let refusals = counted(commit(&mut world, turn));
    assert!(
        refusals.iter().all(|refusal| refusal.group == 2),
        "{refusals:?}"
    );
    assert_eq!(world.live_in("default"), 2);
    let pairs = &world.state.seats[&seat("default")].pairs;
    assert_eq!(pairs.keys().collect::<Vec<_>>(), ["one"]);
}

#[test]
fn a_write_that_is_refused_takes_its_group_along() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let workload = world.serve(&service("web"), spec("a", 3));
    let turn = CommitTurn {
        operations: vec![
            grouped(5, launch(workload, 1, 0, agent)),
            alone(launch(workload, 1, 1, agent)),
        ],
        writes: vec![
            write(5, "big", Some(&[0; 2000])),
            write(0, "small", Some(b"x")),
        ],
        ..world.turn(&seat("default"))
    };
    let refusals = counted(commit(&mut world, turn));
    assert_eq!(refusals.len(), 1);
    assert_eq!(world.live_in("default"), 1);
    assert_eq!(world.state.seats[&seat("default")].pairs_size, 6);
}

#[test]
fn in_group_0_each_stands_alone() {
    let mut world = World::new();
    let agent = world.agent(1, 1024);
    let workload = world.serve(&service("web"), spec("a", 3));
    let ops = (0..3)
        .map(|slot| launch(workload, 1, slot, agent))
        .collect();
    assert_eq!(world.operate("default", ops).len(), 2);
    assert_eq!(world.live_in("default"), 1);
}

#[test]
fn pairs_are_bounded_and_accounted() {
    let mut world = World::new();
    world.serve(&service("web"), spec("a", 1));
    let long = "k".repeat(257);
    for (key, size, is_refused) in [
        ("a", 500, false),
        ("b", 600, true),
        ("a", 900, false),
        ("", 1, true),
        (&long, 1, true),
    ] {
        let turn = CommitTurn {
            writes: vec![write(0, key, Some(&vec![7; size]))],
            ..world.turn(&seat("default"))
        };
        assert_eq!(
            !counted(commit(&mut world, turn)).is_empty(),
            is_refused,
            "{key}"
        );
    }
    let turn = CommitTurn {
        writes: vec![write(0, "a", None), write(0, "never-there", None)],
        ..world.turn(&seat("default"))
    };
    assert!(counted(commit(&mut world, turn)).is_empty());
    assert_eq!(world.state.seats[&seat("default")].pairs_size, 0);
}

#[test]
fn a_seat_kills_and_forgets_only_its_own() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    world.serve(&service("web"), spec("a", 1));
    world.serve(&service_in("shop", "web"), spec("a", 1));
    let task = world.launch(&service("web"), 0, agent);
    let kill = Op::Kill {
        task,
        reason: StopReason::ScaledDown,
    };
    for op in [kill.clone(), Op::Forget { task }] {
        let refusals = world.operate("shop", vec![op]);
        assert_eq!(refusals[0].reason, "no task of this seat");
    }
    let early = world.operate("default", vec![Op::Forget { task }]);
    assert_eq!(early[0].reason, "the task has not ended");
    assert!(world.operate("default", vec![kill.clone()]).is_empty());
    assert_eq!(world.task(task).assignment, 2);
    assert!(world.operate("default", vec![kill]).is_empty());
    assert_eq!(world.task(task).assignment, 2, "asked once");
}

#[test]
fn ten_forgotten_tasks_of_a_workload_are_kept_for_people() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    world.serve(&service("web"), spec("a", 1));
    let mut ended = Vec::new();
    for slot in 0..12 {
        let task = world.launch(&service("web"), slot, agent);
        world.say(task, TaskState::Failed);
        ended.push(task);
    }
    let ops = ended
        .iter()
        .map(|task| Op::Forget { task: *task })
        .collect();
    assert!(world.operate("default", ops).is_empty());
    let kept: Vec<TaskId> = world.state.tasks.ids().collect();
    assert_eq!(kept, ended[2..]);
}

#[test]
fn a_slot_keeps_its_last_four_ended_tasks_though_nobody_forgets_any() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    world.serve(&service("web"), spec("a", 2));
    let other = world.launch(&service("web"), 1, agent);
    world.say(other, TaskState::Failed);
    let mut ended = Vec::new();
    for _ in 0..50 {
        let task = world.launch(&service("web"), 0, agent);
        world.say(task, TaskState::Failed);
        ended.push(task);
    }
    let kept: Vec<TaskId> = world.state.tasks.ids().collect();
    assert_eq!(kept, [&[other], &ended[46..]].concat());
    assert_eq!(
        world.task(ended[49]).attempts,
        50,
        "attempts are counted on"
    );
    let dropped: Vec<_> = world.state.dropped_tasks_since(Index(0)).unwrap().collect();
    assert_eq!(
        dropped.len(),
        46,
        "the agent is told that it may forget them"
    );
}

#[test]
fn a_turn_may_have_as_many_groups_as_operations() {
    let mut world = World::new();
    let agent = world.agent(1, 1024);
    let workload = world.serve(&service("web"), spec("a", 1));
    let ops = (0..4000).map(|group| grouped(4000 - group, launch(workload, 1, group, agent)));
    let turn = CommitTurn {
        operations: ops.collect(),
        writes: vec![write(4000, "last", Some(b"1"))],
        ..world.turn(&seat("default"))
    };
    let refusals = counted(commit(&mut world, turn));
    assert_eq!(refusals.len(), 1001, "one has room, the first by group");
    assert_eq!(refusals[1000].reason, "2999 more were refused");
    assert_eq!(world.task(world.state.last_task).slot, 3999);
    assert!(world.state.seats[&seat("default")].pairs.is_empty());
}

#[test]
fn a_quarantined_generation_is_not_launched_and_the_good_one_is() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let workload = world.serve(&service("web"), spec("a", 1));
    let ops = vec![Op::SetGoodGeneration {
        workload,
        generation: 1,
    }];
    assert!(world.operate("default", ops).is_empty());
    world.serve(&service("web"), spec("b", 1));
    let ops = vec![
        Op::Quarantine {
            workload,
            generation: 2,
            reason: "it failed".to_owned(),
        },
        launch(workload, 2, 0, agent),
        launch(workload, 1, 0, agent),
    ];
    let refusals = world.operate("default", ops);
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].reason, "the generation is quarantined");
    assert_eq!(world.task(world.state.last_task).generation, 1);
}

#[test]
fn what_a_scheduler_says_is_told_once() {
    let mut world = World::new();
    let workload = world.serve(&service("web"), spec("a", 1));
    let say = Op::SetStatus {
        workload,
        generation: 1,
        health: Health::Healthy,
        rollout: RolloutState::Complete,
        reason: String::new(),
        message: "all is well".to_owned(),
    };
    assert!(world.operate("default", vec![say.clone()]).is_empty());
    assert_eq!(world.object(&service("web")).status.health, Health::Healthy);
    let index = world.state.index;
    assert!(world.operate("default", vec![say]).is_empty());
    assert!(world.state.changed_since(index).unwrap().is_empty());
    let unknown = Op::SetGoodGeneration {
        workload,
        generation: 9,
    };
    assert_eq!(world.operate("default", vec![unknown]).len(), 1);
}

#[test]
fn demand_stays_until_it_is_replaced_and_a_wake_up_is_never_at_once() {
    let mut world = World::new();
    let workload = world.serve(&service("web"), spec("a", 1));
    let wanted = vec![demand(1, workload, 1, 3)];
    let turn = CommitTurn {
        demand: Some(wanted.clone()),
        wake_at: Some(ClusterTime(0)),
        ..world.turn(&seat("default"))
    };
    counted(commit(&mut world, turn));
    let record = world.state.seats[&seat("default")].clone();
    assert_eq!((&*record.demand, record.demand_version), (&wanted, 1));
    assert_eq!(record.wake_at, Some(ClusterTime(world.now.0 + 10)));
    let quiet = world.turn(&seat("default"));
    counted(commit(&mut world, quiet));
    let record = world.state.seats[&seat("default")].clone();
    assert_eq!((&*record.demand, record.demand_version), (&wanted, 1));
    assert_eq!(record.wake_at, None, "each turn begins without one");
    let over = CommitTurn {
        demand: Some(Vec::new()),
        ..world.turn(&seat("default"))
    };
    counted(commit(&mut world, over));
    assert_eq!(world.state.seats[&seat("default")].demand_version, 2);
}

#[test]
fn refusals_are_kept_until_the_next_turn_that_counts() {
    let mut world = World::new();
    world.serve(&service("web"), spec("a", 1));
    let refusals = world.operate("default", vec![Op::Forget { task: TaskId(9) }]);
    assert_eq!(*world.state.seats[&seat("default")].refusals, refusals);
    assert_eq!(refusals[0].subject, 9);
    world.operate("default", Vec::new());
    assert!(world.state.seats[&seat("default")].refusals.is_empty());
}
