//! The first-party scheduler in the sandbox: from a workload to its tasks.

use std::sync::Arc;

use kelson_kernel_core::port::{
    Offer, Op, SchedulerHost, SeatRows, TaskRow, TurnOutcome, TurnRequest,
};
use kelson_model::id::{AgentId, TaskId, WorkloadId};
use kelson_model::task::{CheckState, TaskState};
use kelson_model::time::ClusterTime;

use crate::bench::{Bench, View, request, workload};

const SPEC: &str = r#"{"instances":3,"run":{"command":"python3","args":[],"env":{},"workdir":".","files":[]},
    "resources":{"cpus":"0.1","memory":"128Mi","disk":"0"},"ports":[],"stop":{"signal":"SIGTERM","grace":"10s"},
    "restart":{"backoff":{"initial":"1s","factor":1.15,"max":"300s"}},
    "update":{"maxUnavailable":0,"maxSurge":1,"minHealthyTime":"5s","progressDeadline":"10m","onFailure":"rollback"}}"#;

fn launched(outcome: &TurnOutcome) -> Vec<(u32, AgentId)> {
    let launch = |op: &Op| match op {
        Op::Launch { slot, agent, .. } => Some((*slot, *agent)),
        _ => None,
    };
    outcome
        .operations
        .iter()
        .filter_map(|operation| launch(&operation.op))
        .collect()
}

fn running(id: u64, slot: u32, agent: AgentId) -> TaskRow {
    TaskRow {
        id: TaskId(id),
        workload: WorkloadId(1),
        generation: 1,
        template: 0,
        template_id: 1,
        slot,
        agent,
        state: TaskState::Running,
        health: CheckState::Healthy,
        is_ready: true,
        is_stop_asked: false,
        is_ended_by_hand: false,
        is_out_of_memory: false,
        is_agent_lost: false,
        is_port_taken: false,
        is_gone: false,
        state_since: ClusterTime(2_000),
        healthy_since: Some(ClusterTime(2_000)),
        exit_code: None,
        attempts: 1,
    }
}

/// The same turn without an instance to build on.
fn thrown_away(turn: &TurnRequest, rows: SeatRows) -> TurnRequest {
    let mut turn = turn.clone();
    turn.is_throw_away = true;
    turn.view = Arc::new(view(rows));
    turn
}

fn view(rows: SeatRows) -> View {
    View {
        rows,
        specs: [((1, 1), SPEC.to_owned())].into(),
    }
}

#[test]
fn a_service_asks_takes_what_it_is_offered_and_becomes_healthy() {
    let bench = Bench::new();
    let (component, description) = bench.load("kelson-plugin-service").unwrap();
    assert_eq!(description.name, "service");

    let mut turn = request("null");
    turn.component = component;
    turn.changed.workloads = vec![workload(1, 1)];
    let mut rows = turn.changed.clone();
    turn.view = Arc::new(view(rows.clone()));
    let demand = bench.host.turn(&turn).unwrap().demand.unwrap();
    assert_eq!(demand.len(), 1);
    assert_eq!(demand[0].count, 3);

    turn.turn_no = 2;
    turn.changed = SeatRows::default();
    turn.offers = [7, 8]
        .map(|agent| Offer {
            key: demand[0].key,
            workload: WorkloadId(1),
            generation: 1,
            template: 0,
            agent: AgentId(agent),
            count: 2,
        })
        .to_vec();
    let outcome = bench.host.turn(&turn).unwrap();
    let tasks = launched(&outcome);
    assert_eq!(tasks.len(), 3);
    // A preview of the same turn, on an instance of its own, says the same.
    let preview = bench.host.turn(&thrown_away(&turn, rows.clone())).unwrap();
    assert_eq!(launched(&preview), tasks);

    turn.turn_no = 3;
    turn.offers.clear();
    turn.now = ClusterTime(60_000);
    turn.changed.tasks = (1..)
        .zip(&tasks)
        .map(|(id, (slot, agent))| running(id, *slot, *agent))
        .collect();
    rows.tasks = turn.changed.tasks.clone();
    let outcome = bench.host.turn(&turn).unwrap();
    let good = Op::SetGoodGeneration {
        workload: WorkloadId(1),
        generation: 1,
    };
    assert!(
        outcome
            .operations
            .iter()
            .any(|operation| operation.op == good),
        "{:?}",
        outcome.operations
    );
    assert!(launched(&outcome).is_empty());
}

#[test]
fn a_service_checks_a_specification() {
    let bench = Bench::new();
    let (component, _) = bench.load("kelson-plugin-service").unwrap();
    let problems = bench.host.validate(&component, "Service", SPEC).unwrap();
    assert_eq!(problems, []);
    let stuck = SPEC.replace(r#""maxSurge":1"#, r#""maxSurge":0"#);
    let problems = bench.host.validate(&component, "Service", &stuck).unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].pointer.starts_with("/update"), "{problems:?}");
}

#[test]
fn a_large_service_fits_the_budget_of_its_turns() {
    let bench = Bench::new();
    let (component, _) = bench.load("kelson-plugin-service").unwrap();
    let spec = SPEC.replace(r#""instances":3"#, r#""instances":4000"#);
    let mut turn = request("null");
    turn.component = component;
    turn.changed.workloads = vec![workload(1, 1)];
    turn.view = Arc::new(View {
        specs: [((1, 1), spec.clone())].into(),
        ..View::default()
    });
    let demand = bench.host.turn(&turn).unwrap().demand.unwrap();
    assert_eq!(demand[0].count, 4_000);

    turn.turn_no = 2;
    turn.offers = (0..1_000)
        .map(|agent| Offer {
            key: demand[0].key,
            workload: WorkloadId(1),
            generation: 1,
            template: 0,
            agent: AgentId(agent),
            count: 4,
        })
        .collect();
    let mut tasks = launched(&bench.host.turn(&turn).unwrap());
    assert_eq!(tasks.len(), 2_000, "as many as a turn may say");
    tasks.extend((2_000..4_000).map(|slot| (slot, AgentId(u64::from(slot % 1_000)))));

    // All of them become healthy, and a new instance takes over.
    turn.turn_no = 3;
    turn.offers.clear();
    turn.now = ClusterTime(60_000);
    turn.changed.tasks = (1..)
        .zip(&tasks)
        .map(|(id, (slot, agent))| running(id, *slot, *agent))
        .collect();
    turn.view = Arc::new(View {
        rows: turn.changed.clone(),
        specs: [((1, 1), spec)].into(),
    });
    turn.is_throw_away = true;
    assert!(launched(&bench.host.turn(&turn).unwrap()).is_empty());
}
