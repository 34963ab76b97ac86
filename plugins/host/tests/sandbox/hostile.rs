//! The schedulers of tests/components that misbehave on purpose, each beside a flock of birds that
//! must not notice.

use std::sync::Arc;

use kelson_kernel_core::port::{
    LoadFault, Op, SchedulerHost, SeatRows, TurnFault, TurnOutcome, TurnRequest,
};
use kelson_model::framework::Limits;
use kelson_model::id::Digest;
use kelson_model::quantity::Bytes;

use crate::bench::{Bench, View, offer, request, seat, workload};

/// A turn of a seat whose only workload is new, with an offer for two tasks of it.
fn first_turn(component: &Digest, namespace: &str, spec: &str) -> TurnRequest {
    let mut turn = request("null");
    turn.component = component.clone();
    turn.seat = seat(namespace);
    turn.changed.workloads = vec![workload(1, 1)];
    turn.offers = vec![offer(1, 1, 7, 2)];
    turn.view = Arc::new(View {
        rows: SeatRows {
            workloads: vec![workload(1, 1)],
            ..SeatRows::default()
        },
        specs: [((1, 1), spec.to_owned())].into(),
    });
    turn
}

fn launches(outcome: &TurnOutcome) -> usize {
    let is_launch = |op: &Op| matches!(op, Op::Launch { .. });
    outcome
        .operations
        .iter()
        .filter(|operation| is_launch(&operation.op))
        .count()
}

/// Runs the misbehaving scheduler between two turns of the birds, which must go on as if it were
/// not there.
fn beside_birds(package: &str) -> Result<TurnOutcome, TurnFault> {
    let bench = Bench::new();
    let (birds, _) = bench.load("kelson-test-birds").unwrap();
    let (hostile, _) = bench.load(package).unwrap();
    let mut flock = first_turn(&birds, "birds", r#"{"birds":3,"run":{"command":"sleep"}}"#);
    // Its first demand has another key than the offer: nothing to launch yet.
    flock.offers.clear();
    let asked = bench.host.turn(&flock).unwrap();
    let demand = asked.demand.unwrap();
    assert_eq!(demand.iter().map(|row| row.count).collect::<Vec<_>>(), [3]);

    let bad = first_turn(&hostile, "hostile", r#"{"run":{"command":"true"}}"#);
    let mut idle = bad.clone();
    idle.changed = SeatRows::default();
    idle.offers.clear();
    idle.view = Arc::new(View::default());
    assert!(
        bench.host.turn(&idle).is_ok(),
        "{package} behaves until it has a workload"
    );
    bench.host.drop_instance(&bad.seat);
    let answer = bench.host.turn(&bad);
    let again = bench.host.turn(&bad);
    assert_eq!(answer.as_ref().err(), again.as_ref().err(), "{package}");

    flock.turn_no = 2;
    flock.offers = vec![offer(demand[0].key, 1, 7, 2), offer(demand[0].key, 1, 8, 2)];
    assert_eq!(launches(&bench.host.turn(&flock).unwrap()), 3, "{package}");
    answer
}

#[test]
fn endless_loop() {
    let fault = beside_birds("kelson-test-endless-loop").unwrap_err();
    assert_eq!(fault, TurnFault::OutOfFuel { call: "turn" });
}

#[test]
fn memory_hog() {
    let fault = beside_birds("kelson-test-memory-hog").unwrap_err();
    let limit = Bytes(64 << 20);
    assert_eq!(fault, TurnFault::OutOfMemory { limit });
}

#[test]
fn trap() {
    match beside_birds("kelson-test-trap") {
        Err(TurnFault::Trapped {
            call: "turn",
            message,
        }) => {
            // The SDK lets a panic say what it was.
            assert!(message.contains("no place for 1"), "{message}");
            assert!(message.contains("src/lib.rs"), "{message}");
        }
        other => assert!(matches!(other, Err(TurnFault::Trapped { .. })), "{other:?}"),
    }
}

#[test]
fn trap_after_set() {
    let fault = beside_birds("kelson-test-trap-after-set").unwrap_err();
    assert!(
        matches!(&fault, TurnFault::Trapped { call: "turn", message } if message.contains("unreachable")),
        "{fault}"
    );
}

#[test]
fn too_many_operations() {
    let outcome = beside_birds("kelson-test-too-many-operations").unwrap();
    assert_eq!(
        outcome.operations.len(),
        10_000,
        "as many as it may ask for"
    );
    let (_, line) = outcome.log.last().unwrap();
    assert!(line.contains("the turn is full"), "{line}");
}

#[test]
fn illegal_launch() {
    let fault = beside_birds("kelson-test-illegal-launch").unwrap_err();
    let message = "launch: offer 0 has room for 2, not for more".to_owned();
    assert_eq!(fault, TurnFault::Malformed { message });
}

#[test]
fn someone_elses_task_is_for_the_kernel_to_refuse() {
    // The sandbox does not know whose a task is; the wishes arrive and are refused one by one.
    let outcome = beside_birds("kelson-test-someone-elses-task").unwrap();
    assert_eq!(outcome.operations.len(), 2_001);
}

#[test]
fn a_cheat_does_not_load() {
    match Bench::new().load("kelson-test-cheat") {
        Err(LoadFault::ForbiddenImport(name)) => {
            assert!(name.starts_with("wasi:"), "{name}");
        }
        other => assert!(other.is_err(), "{other:?}"),
    }
}

#[test]
fn what_is_no_component_does_not_load() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/components/not-a-component/not-a-component.wasm"
    );
    let content = std::fs::read(file).unwrap();
    let loaded = Bench::new()
        .host
        .load(&Digest::of(&content), &content, &Limits::default());
    assert!(
        matches!(loaded, Err(LoadFault::NotAComponent(_))),
        "{loaded:?}"
    );
}
