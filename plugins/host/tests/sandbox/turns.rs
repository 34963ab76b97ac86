//! Turns: what a scheduler sees, what becomes of its wishes, and what makes a turn void.

use std::sync::Arc;

use crate::bench::{Bench, View, notes, offer, request, seat, workload};
use kelson_kernel_core::port::{
    AgentRow, Demand, Op, Placement, RefusalRow, SchedulerHost, SeatRows, SeatView, TaskRow,
    TurnFault, TurnRequest,
};
use kelson_model::agent::AgentState;
use kelson_model::framework::LogLevel;
use kelson_model::id::{AgentId, TaskId, WorkloadId};
use kelson_model::object::{Health, RolloutState};
use kelson_model::quantity::{Bytes, MilliCpus, Resources};
use kelson_model::task::{CheckState, StopReason, TaskState};
use kelson_model::time::ClusterTime;
use kelson_plugin_host::WasmHost;

fn task(id: u64) -> TaskRow {
    TaskRow {
        id: TaskId(id),
        workload: WorkloadId(1),
        generation: 1,
        template: 0,
        template_id: 1,
        slot: 0,
        agent: AgentId(7),
        state: TaskState::Failed,
        health: CheckState::Unhealthy,
        is_ready: true,
        is_stop_asked: false,
        is_ended_by_hand: true,
        is_out_of_memory: false,
        is_agent_lost: false,
        is_port_taken: false,
        is_gone: true,
        state_since: ClusterTime(5),
        healthy_since: Some(ClusterTime(6)),
        exit_code: None,
        attempts: 1,
    }
}

fn agent(id: u64) -> AgentRow {
    AgentRow {
        id: AgentId(id),
        state: AgentState::Unreachable,
        free: Resources {
            cpus: MilliCpus(1_500),
            memory: Bytes(1),
            disk: Bytes(2),
        },
        attributes: Arc::default(),
    }
}

/// A turn in which workload 1 has an offer for two tasks.
fn with_offer(script: &str) -> TurnRequest {
    TurnRequest {
        offers: vec![offer(3, 1, 7, 2)],
        ..request(script)
    }
}

fn malformed(bench: &Bench, request: &TurnRequest) -> String {
    match bench.host.turn(request) {
        Err(TurnFault::Malformed { message }) => message,
        other => format!("not malformed: {other:?}"),
    }
}

#[test]
fn a_turn_sees_changed_rows_offers_and_refusals() {
    let bench = Bench::new();
    let mut turn = request("turn rows");
    turn.changed = SeatRows {
        workloads: vec![workload(1, 4)],
        tasks: vec![task(9)],
        agents: vec![agent(7), agent(8)],
    };
    turn.changed.workloads[0].is_gone = true;
    turn.offers = vec![offer(3, 1, 7, 2), offer(3, 1, 8, 1)];
    turn.refusals = vec![RefusalRow {
        group: 0,
        subject: 9,
        reason: "no room".to_owned(),
    }];
    let outcome = bench.host.turn(&turn).unwrap();
    assert_eq!(
        notes(&outcome),
        [concat!(
            "workloads [1] [4] [1] [\"web-1\"]; tasks [9] [5] [21] [2] [-1] [6]; ",
            "agents [7, 8] [1, 1] [1500, 1500] [\"Some([(\\\"zone\\\", \\\"a\\\")])\", \"None\"]; ",
            "offers [0, 1] [3, 3] [7, 8] [2, 1]; refusals [9] [\"no room\"]; pages 1"
        )]
    );
}

#[test]
fn tables_come_in_pages() {
    let bench = Bench::new();
    let mut turn = request("turn rows");
    turn.changed.tasks = (0..10_000).map(task).collect();
    let note = notes(&bench.host.turn(&turn).unwrap()).concat();
    // The note is cut: only its end tells the pages, so ask for less.
    assert!(note.starts_with("workloads []"), "{note}");
    let mut turn = request("turn cache");
    turn.changed.workloads = (0..5_000).map(|id| workload(id, 1)).collect();
    turn.turn_no = 2;
    let outcome = bench.host.turn(&turn).unwrap();
    assert!(notes(&outcome)[0].contains("99: 1"));
}

#[test]
fn every_wish_arrives() {
    let bench = Bench::new();
    let script = "turn launch 5 1 1 0 2 0\nturn kill 5 9 3\nturn forget 0 8\nturn status 0 1 4 2 2 RolledBack back_to_3\n\
        turn good 0 1 3\nturn quarantine 0 1 4 unhealthy\nturn demand 3 1 1 0 2 1\nturn wake 900\nturn wake 800\nturn wake 850\n\
        turn set 5 key value\nturn delete 0 other";
    let outcome = bench.host.turn(&with_offer(script)).unwrap();
    let workload = WorkloadId(1);
    let operations: Vec<(u32, Op)> = outcome
        .operations
        .into_iter()
        .map(|operation| (operation.group, operation.op))
        .collect();
    assert_eq!(
        operations,
        [
            (
                5,
                Op::Launch {
                    workload,
                    generation: 1,
                    template: 0,
                    slot: 2,
                    agent: AgentId(7)
                }
            ),
            (
                5,
                Op::Kill {
                    task: TaskId(9),
                    reason: StopReason::Unhealthy
                }
            ),
            (0, Op::Forget { task: TaskId(8) }),
            (
                0,
                Op::SetStatus {
                    workload,
                    generation: 4,
                    health: Health::Degraded,
                    rollout: RolloutState::RolledBack,
                    reason: "RolledBack".to_owned(),
                    message: "back to 3".to_owned()
                }
            ),
            (
                0,
                Op::SetGoodGeneration {
                    workload,
                    generation: 3
                }
            ),
            (
                0,
                Op::Quarantine {
                    workload,
                    generation: 4,
                    reason: "unhealthy".to_owned()
                }
            ),
        ]
    );
    let demand = Demand {
        key: 3,
        workload,
        generation: 1,
        template: 0,
        count: 2,
        placement: Placement::Pack,
        priority: 0,
    };
    assert_eq!(outcome.demand, Some(vec![demand]));
    assert_eq!(outcome.wake_at, Some(ClusterTime(800)));
    let writes: Vec<(u32, &str, Option<&[u8]>)> = outcome
        .writes
        .iter()
        .map(|write| (write.group, write.key.as_str(), write.value.as_deref()))
        .collect();
    assert_eq!(
        writes,
        [(5, "key", Some(&b"value"[..])), (0, "other", None)]
    );
    assert!(outcome.fuel > 0);
}

#[test]
fn demand_stays_unless_it_is_stated_and_ends_when_it_is_empty() {
    let bench = Bench::new();
    let mut turn = request("");
    assert_eq!(bench.host.turn(&turn).unwrap().demand, None);
    turn.config = "turn no-demand".into();
    assert_eq!(bench.host.turn(&turn).unwrap().demand, Some(Vec::new()));
}

#[test]
fn time_and_seed_are_those_of_the_request() {
    assert_eq!(Bench::new().notes("turn clock"), ["1000 42"]);
}

#[test]
fn state_reads_see_committed_pairs_and_the_writes_of_the_turn() {
    let bench = Bench::new();
    let script =
        "turn get a\nturn set 0 a new\nturn get a\nturn delete 0 b\nturn list  \nturn get b";
    let mut turn = request(script);
    for key in ["a", "b", "c"] {
        turn.pairs
            .insert(key.to_owned(), Arc::from(&b"committed"[..]));
    }
    let outcome = bench.host.turn(&turn).unwrap();
    assert_eq!(notes(&outcome), ["committed", "new", "a,c", "none"]);
}

#[test]
fn an_offer_is_good_for_what_it_was_cut_for_and_no_more() {
    let bench = Bench::new();
    let twice = "turn launch 0 1 1 0 0 0\nturn launch 0 1 1 0 1 0";
    let outcome = bench.host.turn(&with_offer(twice)).unwrap();
    assert_eq!(outcome.operations.len(), 2);
    let thrice = format!("{twice}\nturn launch 0 1 1 0 2 0");
    let message = malformed(&bench, &with_offer(&thrice));
    assert_eq!(message, "launch: offer 0 has room for 2, not for more");
    for (script, what) in [
        ("turn launch 0 1 1 0 0 1", "offer 1 is not of this turn"),
        (
            "turn launch 0 2 1 0 0 0",
            "not made for wkl_2, generation 1, template 0",
        ),
        ("turn launch 0 1 2 0 0 0", "generation 2"),
        ("turn launch 0 1 1 1 0 0", "template 1"),
    ] {
        let message = malformed(&bench, &with_offer(script));
        assert!(message.contains(what), "{script}: {message}");
    }
}

#[test]
fn what_breaks_the_treaty_voids_the_turn() {
    let bench = Bench::new();
    for (script, what) in [
        ("turn unequal", "kill: columns of unequal length"),
        ("turn kill 0 1 9", "no reason 9"),
        ("turn status 0 1 1 9 0 R m", "no health 9"),
        ("turn status 0 1 1 0 9 R m", "no rollout 9"),
        ("turn demand 1 1 1 0 1 9", "no placement 9"),
        (
            "turn set-large key 1048576",
            "more state is written than 1Mi",
        ),
        ("turn set 0  value", "a state key has 0 bytes"),
    ] {
        let message = malformed(&bench, &request(script));
        assert!(message.contains(what), "{script}: {message}");
    }
    assert!(bench.host.turn(&request("turn forget-many 6000")).is_ok());
}

#[test]
fn a_status_that_was_said_last_says_nothing_unless_the_turn_has_said_another() {
    let bench = Bench::new();
    let said = |script: &str| bench.host.turn(&request(script)).unwrap().operations.len();
    let (before, now) = (
        "turn status 0 1 1 0 1 R as-before",
        "turn status 0 1 1 0 1 R now",
    );
    assert_eq!(said(before), 0);
    assert_eq!(said(&format!("{before}\n{now}\n{before}")), 2);
}

#[test]
fn a_turn_is_told_what_it_may_still_say_and_what_it_costs() {
    let bench = Bench::new();
    let script =
        "turn room\nturn forget-many 10\nturn set 0 key value\nturn demand 1 1 1 0 1 0\nturn room";
    let prices = "[48, 20, 20, 36, 32, 32, 24, 48, 16]";
    let note = format!("258048 10000 {prices}");
    let said = 24 + note.len() + 10 * 20 + (16 + 3 + 5) + 48;
    let left = 258_048 - said;
    assert_eq!(bench.notes(script), [note, format!("{left} 9989 {prices}")]);
}

#[test]
fn demand_is_changed_row_by_row() {
    let bench = Bench::new();
    let script = "turn change-demand 1 7 3\nturn change-demand 2 7 0";
    let outcome = bench.host.turn(&request(script)).unwrap();
    assert_eq!(outcome.demand, None);
    let rows = outcome.demand_changes.iter();
    let rows: Vec<_> = rows
        .map(|row| (row.key, row.workload.0, row.count))
        .collect();
    assert_eq!(rows, [(1, 7, 3), (2, 7, 0)]);
    let script = "turn change-demand 1 7 3\nturn no-demand";
    let outcome = bench.host.turn(&request(script)).unwrap();
    assert_eq!(outcome.demand, Some(Vec::new()));
    assert!(
        outcome.demand_changes.is_empty(),
        "the whole replaces what was said before"
    );
}

#[test]
fn a_framework_can_lower_its_limits() {
    let bench = Bench::new();
    let mut turn = request("turn forget-many 3");
    turn.limits.operations = 2;
    let outcome = bench.host.turn(&turn).unwrap();
    assert_eq!(outcome.operations.len(), 2);
    let (_, line) = outcome.log.last().unwrap();
    assert!(line.contains("more operations than 2"), "{line}");
    let mut turn = request("turn set 0 key value");
    turn.limits.state_writes = Bytes(7);
    assert!(malformed(&bench, &turn).contains("more state is written than 7"));
    let mut turn = request("turn set 0 key value");
    turn.limits.state = Bytes(7);
    assert!(malformed(&bench, &turn).contains("beyond its limit"));
}

#[test]
fn wishes_outside_a_turn_trap() {
    let bench = Bench::new();
    for script in [
        "restore set 0 a b",
        "restore wake 5",
        "restore delete 0 a",
        "restore kill 0 1 0",
    ] {
        match bench.host.turn(&request(script)) {
            Err(TurnFault::Trapped { call, message }) => {
                assert_eq!(call, "restore");
                assert!(message.contains("during `turn` only"), "{message}");
            }
            other => assert!(other.is_err(), "{script}: {other:?}"),
        }
    }
}

#[test]
fn long_texts_are_cut_and_lines_of_log_are_counted() {
    let bench = Bench::new();
    let outcome = bench
        .host
        .turn(&request("turn long-status\nturn long-log\nturn log 150"))
        .unwrap();
    match &outcome.operations[0].op {
        Op::SetStatus {
            reason, message, ..
        } => {
            assert_eq!(reason.len(), 64);
            assert_eq!(message.len(), 1_000);
        }
        other => assert!(matches!(other, Op::SetStatus { .. })),
    }
    assert_eq!(outcome.log.len(), 101);
    assert_eq!(outcome.log[0].1.len(), 1_000);
    assert_eq!(
        outcome.log[100],
        (LogLevel::Warn, "51 more lines were dropped".to_owned())
    );
}

#[test]
fn restore_sees_all_rows_and_the_turn_what_has_changed() {
    let bench = Bench::new();
    let mut turn = request("turn cache\nturn rows");
    turn.view = Arc::new(View {
        rows: SeatRows {
            workloads: vec![workload(1, 1), workload(2, 1)],
            ..SeatRows::default()
        },
        ..View::default()
    });
    turn.changed.workloads = vec![workload(2, 2)];
    let notes = notes(&bench.host.turn(&turn).unwrap());
    assert_eq!(notes[0], "{1: 1, 2: 2}");
    assert!(notes[1].starts_with("workloads [2] [2]"), "{}", notes[1]);
}

#[test]
fn an_instance_stays_warm_while_turns_follow_each_other() {
    let bench = Bench::new();
    let mut turn = request("turn turns\nturn forget 0 1");
    let count = |turn: &TurnRequest| notes(&bench.host.turn(turn).unwrap()).concat();
    assert_eq!(count(&turn), "1");
    turn.turn_no = 2;
    assert_eq!(count(&turn), "2");
    // The same number again: the last turn did not count.
    assert_eq!(count(&turn), "1");
    turn.turn_no = 4;
    assert_eq!(count(&turn), "1");
    turn.turn_no = 5;
    assert_eq!(count(&turn), "2");
    turn.turn_no = 6;
    turn.limits.operations = 50;
    assert_eq!(count(&turn), "1");
    turn.turn_no = 7;
    turn.config = "turn turns".into();
    assert_eq!(count(&turn), "1");
    // That one changed nothing, so its number may come again.
    assert_eq!(count(&turn), "2");
    turn.turn_no = 8;
    bench.host.drop_instance(&turn.seat);
    assert_eq!(count(&turn), "1");
}

/// Drops the seat's instance in the middle of a turn, when the scheduler asks for a specification.
struct Interrupting {
    host: Arc<WasmHost>,
}

impl SeatView for Interrupting {
    fn all_rows(&self) -> SeatRows {
        SeatRows::default()
    }

    fn spec(&self, _workload: WorkloadId, _generation: u64) -> Option<String> {
        self.host.drop_instance(&seat("default"));
        // A second turn of the seat meanwhile has no instance to share, and leaves none.
        let nested = self.host.turn(&request("turn turns")).unwrap();
        Some(notes(&nested).concat())
    }

    fn name(&self, _workload: WorkloadId) -> Option<String> {
        None
    }

    fn attributes(&self, _agent: AgentId) -> Option<Arc<Vec<(String, String)>>> {
        None
    }

    fn end(&self, _task: TaskId) -> Option<String> {
        None
    }

    fn is_said(&self, _status: &Op) -> bool {
        false
    }

    fn demand(&self) -> Arc<Vec<Demand>> {
        Arc::default()
    }
}

#[test]
fn an_instance_that_is_dropped_during_its_turn_does_not_come_back() {
    let host = Arc::new(Bench::new().host);
    let mut turn = request("turn spec 1 1\nturn turns");
    turn.view = Arc::new(Interrupting {
        host: Arc::clone(&host),
    });
    assert_eq!(notes(&host.turn(&turn).unwrap()), ["1", "1"]);
    turn.turn_no = 2;
    turn.view = Arc::new(View::default());
    assert_eq!(notes(&host.turn(&turn).unwrap()), ["", "1"]);
    turn.turn_no = 3;
    assert_eq!(notes(&host.turn(&turn).unwrap()), ["", "2"]);
}

#[test]
fn a_throw_away_turn_neither_uses_nor_leaves_an_instance() {
    let bench = Bench::new();
    let mut turn = request("turn turns");
    bench.host.turn(&turn).unwrap();
    turn.turn_no = 2;
    turn.is_throw_away = true;
    assert_eq!(notes(&bench.host.turn(&turn).unwrap()), ["1"]);
    turn.is_throw_away = false;
    assert_eq!(notes(&bench.host.turn(&turn).unwrap()), ["2"]);
}

#[test]
fn only_so_many_instances_are_kept_and_the_oldest_goes() {
    let bench = Bench::with(|config| config.warm_instances = 2);
    let count = |namespace: &str, turn_no: u64| {
        let mut turn = request("turn turns");
        turn.seat = seat(namespace);
        turn.turn_no = turn_no;
        notes(&bench.host.turn(&turn).unwrap()).concat()
    };
    assert_eq!(
        [count("a", 1), count("b", 1), count("a", 2)].concat(),
        "112"
    );
    assert_eq!(count("c", 1), "1");
    assert_eq!(count("a", 3), "3");
    assert_eq!(count("b", 2), "1");
}

#[test]
fn a_query_sees_all_rows_and_changes_nothing() {
    let bench = Bench::new();
    let mut turn = request("");
    turn.view = Arc::new(View {
        rows: SeatRows {
            workloads: vec![workload(1, 1)],
            ..SeatRows::default()
        },
        ..View::default()
    });
    let query = |verb: &str| bench.host.query(&turn, verb, "[1]");
    assert_eq!(query("show").unwrap(), r#"{"arguments":[1],"workloads":1}"#);
    assert!(
        matches!(query("fail"), Err(TurnFault::Failed { call: "query", message }) if message == "no such verb")
    );
    assert!(
        matches!(query("garbage"), Err(TurnFault::Malformed { message }) if message.contains("not JSON"))
    );
    assert!(matches!(
        query("set"),
        Err(TurnFault::Trapped { call: "query", .. })
    ));
}

#[test]
fn validation_sees_nothing_but_the_specification() {
    let bench = Bench::new();
    let digest = &crate::bench::probe().0;
    let problems = bench.host.validate(digest, "Probe", "{}").unwrap();
    assert_eq!(problems[0].message, "Probe {} 0 null");
    assert!(matches!(
        bench.host.validate(digest, "Probe", "\"set\""),
        Err(TurnFault::Trapped {
            call: "validate",
            ..
        })
    ));
    assert!(matches!(
        bench.host.validate(digest, "Probe", "\"loop\""),
        Err(TurnFault::OutOfFuel { call: "validate" })
    ));
}
