//! What the life of many tasks and of many seats costs, in what was looked at.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;

use kelson_model::agent::{AgentDescription, PortRange};
use kelson_model::framework::{Description, KindDescription, Limits};
use kelson_model::id::{AgentId, Digest, Index, TaskId, WorkloadId};
use kelson_model::object::{DesiredObject, Lifecycle, Namespace, ObjectKey, Origin};
use kelson_model::principal::Principal;
use kelson_model::quantity::{Bytes, MilliCpus, Resources};
use kelson_model::request::{Accept, Stage};
use kelson_model::task::{CheckState, StopReason, TaskState, TaskStatus};
use kelson_model::time::{ClusterTime, WallTime};
use serde_json::json;

use crate::apply::{Entry, apply};
use crate::command::{Command, CommitTurn, InstallFramework, RecordStatuses, RegisterAgent};
use crate::port::{Op, Operation, SeatId};
use crate::reply::Reply;
use crate::round::{RoundMemory, plan_round, steps as round_steps};
use crate::state::{State, steps};

fn key(kind: &str, name: &str) -> ObjectKey {
    ObjectKey::new(kind, Namespace::default_namespace(), name)
}

fn put(state: &mut State, command: Command) -> Reply {
    let entry = Entry {
        principal: Principal::kernel(),
        at: ClusterTime(1),
        wall: WallTime(1),
        term: 1,
        client: None,
        since: None,
        command,
    };
    let reply = apply(state, Index(state.index.0 + 1), &entry);
    assert!(
        !matches!(reply, Reply::Refused(_) | Reply::Void { .. }),
        "{reply:?}"
    );
    reply
}

/// A cluster with room for everything, and this many workloads.
fn cluster(workloads: u32) -> State {
    let mut state = State::default();
    let kind = KindDescription {
        kind: "Service".to_owned(),
        schema: json!({}),
        templates: vec![String::new()],
        count: None,
    };
    let install = InstallFramework {
        key: key("Framework", "service"),
        component: Digest::of(b"1"),
        description: Description {
            name: "service".to_owned(),
            version: "1".to_owned(),
            kinds: vec![kind],
            config_schema: None,
        },
        namespaces: Vec::new(),
        limits: Limits::default(),
        config: "null".to_owned(),
        is_built_in: true,
        ceiling: None,
        generation: None,
    };
    put(&mut state, Command::InstallFramework(Box::new(install)));
    let register = RegisterAgent {
        agent: None,
        token: "token".to_owned(),
        incarnation: 1,
        description: AgentDescription {
            name: "machine".to_owned(),
            address: "127.0.0.1".to_owned(),
            resources: Resources {
                cpus: MilliCpus(u64::from(u32::MAX)),
                memory: Bytes(u64::from(u32::MAX)),
                disk: Bytes(0),
            },
            ports: PortRange {
                first: 20_000,
                last: 20_003,
            },
            attributes: BTreeMap::new(),
            pid: 1,
            version: "0".to_owned(),
        },
        cluster: String::new(),
    };
    put(&mut state, Command::RegisterAgent(register));
    let spec = json!({
        "run": {"command": "run"},
        "resources": {"cpus": "0.001", "memory": "1Ki", "disk": "0"},
        "ports": [],
    });
    let desired = (0..workloads).map(|number| DesiredObject {
        key: key("Service", &format!("s{number}")),
        labels: BTreeMap::new(),
        lifecycle: Lifecycle::default(),
        spec: spec.clone().into(),
        origin: Origin {
            file: "s.yaml".to_owned(),
            line: 1,
            column: None,
        },
        written: None,
    });
    let revision = format!("{:040x}", 1).parse().unwrap();
    let stage = Stage {
        source: "dev".to_owned(),
        revision,
        part: 0,
        objects: desired.collect(),
        prune: Vec::new(),
    };
    let accept = Accept {
        source: "dev".to_owned(),
        revision: stage.revision.clone(),
        previous: None,
        parts: 1,
        prune: Vec::new(),
        objects: workloads,
        going: 0,
        released: Vec::new(),
        hands: None,
    };
    put(&mut state, Command::Stage(stage));
    put(&mut state, Command::Accept(accept));
    state
}

fn turn(state: &mut State, ops: impl Iterator<Item = Op>) {
    let seat = SeatId {
        framework: key("Framework", "service"),
        namespace: Namespace::default_namespace(),
    };
    let operations = (1..).zip(ops).map(|(group, op)| Operation { group, op });
    let turn = CommitTurn {
        turn_no: state.seats.get(&seat).unwrap().turn_no + 1,
        seat,
        component: Digest::of(b"1"),
        cursor: state.index,
        operations: operations.collect(),
        writes: Vec::new(),
        demand: None,
        demand_changes: Vec::new(),
        wake_at: None,
    };
    let Reply::Counted { refusals, .. } = put(state, Command::CommitTurn(turn)) else {
        panic!("the turn does not count");
    };
    assert_eq!(refusals.first(), None);
}

fn launch(workload: u32, slot: u32) -> Op {
    Op::Launch {
        workload: WorkloadId(u64::from(workload)),
        generation: 1,
        template: 0,
        slot,
        agent: AgentId(1),
    }
}

/// Launches, ends and forgets `tasks` tasks, twice over, and then launches and removes them;
/// returns how many were looked at.
fn cost(workloads: u32, tasks: u32) -> u64 {
    let mut state = cluster(workloads);
    steps::take();
    for life in 0..3 {
        let launches = (0..tasks).map(|number| launch(number % workloads + 1, number / workloads));
        turn(&mut state, launches);
        let first = u64::from(life * tasks) + 1;
        let ids = move || (first..first + u64::from(tasks)).map(TaskId);
        if life == 2 {
            let kills = ids().map(|task| Op::Kill {
                task,
                reason: StopReason::ScaledDown,
            });
            turn(&mut state, kills);
            let applied = format!("{:040x}", 1).parse().unwrap();
            let accept = Accept {
                source: "dev".to_owned(),
                revision: format!("{:040x}", 2).parse().unwrap(),
                previous: Some(applied),
                parts: 0,
                prune: state.objects.keys().cloned().collect(),
                objects: 0,
                going: 0,
                released: Vec::new(),
                hands: None,
            };
            put(&mut state, Command::Accept(accept));
        }
        let ended = ids().map(|task| TaskStatus {
            task,
            sequence: 1,
            state: TaskState::Failed,
            health: CheckState::Unknown,
            ready: false,
            pid: None,
            started_at: None,
            healthy_for: 0,
            exit: None,
            isolation: String::new(),
            message: String::new(),
        });
        let statuses = RecordStatuses {
            agent: AgentId(1),
            incarnation: 1,
            statuses: ended.collect(),
        };
        put(&mut state, Command::RecordStatuses(statuses));
        if life != 2 {
            turn(&mut state, ids().map(|task| Op::Forget { task }));
        }
    }
    assert!(state.objects.is_empty() && state.tasks.is_empty());
    steps::take()
}

#[test]
fn the_tasks_of_one_workload_cost_as_much_as_those_of_a_hundred() {
    let (one, many) = (cost(1, 400), cost(100, 400));
    assert!(one < 2 * many, "{one} as one, {many} as a hundred");
    let double = cost(1, 800);
    assert!(double < 3 * one, "{one} for 400, {double} for 800");
}

/// A cluster whose only seat has done with everything, and what its leader remembers.
fn at_rest(workloads: u32) -> (State, RoundMemory) {
    let mut state = cluster(workloads);
    let mut memory = RoundMemory::default();
    for _ in 0..3 {
        let round = plan_round(&state, &mut memory, ClusterTime(1));
        for planned in round.turns {
            memory.turn_counted(&planned, &state);
        }
        turn(&mut state, std::iter::empty());
    }
    let round = plan_round(&state, &mut memory, ClusterTime(1));
    assert!(round.turns.is_empty());
    (state, memory)
}

#[test]
fn a_round_looks_at_the_seats_that_something_has_stirred_and_at_no_other() {
    let (mut state, mut memory) = at_rest(1);
    for number in 0..50 {
        let namespace: Namespace = format!("n{number}").parse().unwrap();
        state.ensure_seat(&SeatId {
            framework: key("Framework", "service"),
            namespace,
        });
    }
    plan_round(&state, &mut memory, ClusterTime(1));
    round_steps::take();
    plan_round(&state, &mut memory, ClusterTime(2));
    assert_eq!(round_steps::take(), 0, "nothing has happened");
    let set = kelson_model::request::SetNamespace {
        namespace: Namespace::default_namespace(),
        weight: 2,
    };
    put(&mut state, Command::SetNamespace(set));
    plan_round(&state, &mut memory, ClusterTime(3));
    assert_eq!(round_steps::take(), 0, "no seat sees that");
    turn(&mut state, std::iter::once(launch(1, 0)));
    plan_round(&state, &mut memory, ClusterTime(4));
    assert_eq!(round_steps::take(), 1, "one seat has a new task");
}

#[test]
fn an_agent_is_found_by_its_token_and_an_object_by_its_kind() {
    let mut state = cluster(3);
    let known = state.agent_of("token").unwrap().id;
    assert_eq!(known, AgentId(1));
    assert!(state.agent_of("other").is_none());
    assert_eq!(state.kinds().collect::<Vec<_>>(), ["Service"]);
    assert_eq!(state.objects_of_kind("Service").count(), 3);
    assert_eq!(state.objects_of_kind("Servic").count(), 0);
    turn(&mut state, std::iter::once(launch(1, 0)));
    assert!(state.has_live_tasks_of(&key("Framework", "service")));
    assert!(!state.has_live_tasks_of(&key("Framework", "servicf")));
}

#[test]
fn what_is_counted_of_a_workload_is_not_looked_for() {
    let mut state = cluster(1);
    turn(&mut state, (0..100).map(|slot| launch(1, slot)));
    steps::take();
    let object = state.objects.values().next().unwrap();
    let status = crate::report::object_status(&state, object);
    assert_eq!(status.tasks.running, 0);
    assert_eq!(state.counts_of(WorkloadId(1)).live, 100);
    assert_eq!(steps::take(), 0);
}
