//! What the life of many tasks costs, in tasks that were looked at: the same, however they are
//! spread over workloads.

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

/// Launches, ends and forgets `tasks` tasks, twice over, and then launches and removes them;
/// returns how many were looked at.
fn cost(workloads: u32, tasks: u32) -> u64 {
    let mut state = cluster(workloads);
    steps::take();
    for life in 0..3 {
        let launches = (0..tasks).map(|number| Op::Launch {
            workload: WorkloadId(u64::from(number % workloads) + 1),
            generation: 1,
            template: 0,
            slot: number / workloads,
            agent: AgentId(1),
        });
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
