//! Schedulers that misbehave: each fault has its name, and leaves the other seats working.

use std::sync::Arc;
use std::time::Duration;

use crate::bench::{Bench, View, notes, request, seat};
use kelson_kernel_core::port::{SchedulerHost, TurnFault};
use kelson_model::quantity::Bytes;

/// Runs a turn that must be void, between two turns of a neighbour that stays warm.
fn fault_beside_a_neighbour(bench: &Bench, script: &str) -> TurnFault {
    let mut good = request("turn turns");
    good.seat = seat("neighbour");
    let mut bad = request(script);
    bad.seat = seat("bad");
    assert_eq!(notes(&bench.host.turn(&good).unwrap()), ["1"]);
    let fault = bench.host.turn(&bad).unwrap_err();
    good.turn_no = 2;
    assert_eq!(notes(&bench.host.turn(&good).unwrap()), ["2"], "{script}");
    // The bad one is made anew and can do better.
    bad.config = "turn turns".into();
    assert_eq!(notes(&bench.host.turn(&bad).unwrap()), ["1"], "{script}");
    bench.host.drop_instance(&good.seat);
    fault
}

#[test]
fn an_endless_loop_ends_at_its_fuel() {
    let bench = Bench::new();
    let fault = fault_beside_a_neighbour(&bench, "turn loop");
    assert_eq!(fault, TurnFault::OutOfFuel { call: "turn" });
    let fault = fault_beside_a_neighbour(&bench, "turn set 0 key value\nturn loop");
    assert_eq!(fault, TurnFault::OutOfFuel { call: "turn" });
}

#[test]
fn restore_has_a_budget_of_its_own() {
    let bench = Bench::with(|config| config.restore_fuel = 1_000_000);
    let fault = fault_beside_a_neighbour(&bench, "restore loop");
    assert_eq!(fault, TurnFault::OutOfFuel { call: "restore" });
}

#[test]
fn the_guard_ends_what_fuel_does_not() {
    let bench = Bench::with(|config| {
        config.turn_fuel = u64::MAX;
        config.turn_guard = Duration::from_millis(20);
    });
    let fault = fault_beside_a_neighbour(&bench, "turn loop");
    assert_eq!(fault, TurnFault::TimedOut { call: "turn" });
}

#[test]
fn keeping_the_host_busy_costs_fuel() {
    let bench = Bench::new();
    let mut turn = request("turn spec-for-ever");
    turn.view = Arc::new(View {
        specs: [((0, 0), "x".repeat(1 << 20))].into(),
        ..View::default()
    });
    let fault = bench.host.turn(&turn).unwrap_err();
    assert_eq!(fault, TurnFault::OutOfFuel { call: "turn" });
}

#[test]
fn a_memory_hog_ends_at_its_limit() {
    let bench = Bench::new();
    let fault = fault_beside_a_neighbour(&bench, "turn grow");
    let limit = Bytes(64 << 20);
    assert_eq!(fault, TurnFault::OutOfMemory { limit });
}

#[test]
fn a_component_that_does_not_fit_its_memory_says_so() {
    let bench = Bench::new();
    let mut turn = request("");
    turn.limits.memory = Bytes(1 << 16);
    let limit = Bytes(1 << 16);
    assert_eq!(
        bench.host.turn(&turn).unwrap_err(),
        TurnFault::OutOfMemory { limit }
    );
}

#[test]
fn a_trap_names_its_call_and_what_was_said_last() {
    let bench = Bench::new();
    for (script, wanted) in [
        ("turn trap", "turn"),
        ("restore trap", "restore"),
        ("turn set 0 key value\nturn trap", "turn"),
    ] {
        match fault_beside_a_neighbour(&bench, script) {
            TurnFault::Trapped { call, message } => {
                assert_eq!(call, wanted);
                assert!(message.starts_with("out of birds (wasm trap"), "{message}");
            }
            other => assert!(matches!(other, TurnFault::Trapped { .. }), "{other}"),
        }
    }
}

#[test]
fn an_error_is_handed_on() {
    let bench = Bench::new();
    let fault = fault_beside_a_neighbour(&bench, "turn fail birds are out");
    let message = "birds are out".to_owned();
    assert_eq!(
        fault,
        TurnFault::Failed {
            call: "turn",
            message
        }
    );
}

#[test]
fn fuel_is_the_same_on_every_run() {
    let script = "turn set 0 key value\nturn cache\nturn log 20\nturn rows";
    let fuel = || {
        let mut turn = request(script);
        turn.changed.workloads = (0..500).map(|id| crate::bench::workload(id, 1)).collect();
        turn.offers = (0..500)
            .map(|id| crate::bench::offer(1, 1, id, 1))
            .collect();
        Bench::new().host.turn(&turn).unwrap().fuel
    };
    let first = fuel();
    assert!(first > 10_000);
    assert_eq!(first, fuel());
}

#[test]
fn the_same_request_gets_the_same_outcome_from_a_warm_and_from_a_fresh_instance() {
    let bench = Bench::new();
    let script = "turn cache\nturn take-all\nturn set 0 key value\nturn demand 1 1 1 0 3 0";
    let mut turn = request(script);
    turn.changed.workloads = vec![crate::bench::workload(1, 1)];
    bench.host.turn(&turn).unwrap();
    turn.turn_no = 2;
    turn.view = Arc::new(View {
        rows: turn.changed.clone(),
        ..View::default()
    });
    turn.changed.workloads = vec![crate::bench::workload(2, 5)];
    turn.offers = (0..50).map(|id| crate::bench::offer(1, 1, id, 2)).collect();
    let strip = |mut outcome: kelson_kernel_core::port::TurnOutcome| {
        outcome.fuel = 0;
        outcome
    };
    let warm = strip(bench.host.turn(&turn).unwrap());
    assert_eq!(warm.operations.len(), 101);
    turn.is_throw_away = true;
    assert_eq!(warm, strip(bench.host.turn(&turn).unwrap()));
}

#[test]
fn seats_take_turns_at_the_same_time() {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..4)
            .map(|i| {
                let host = &bench.host;
                scope.spawn(move || {
                    let mut turn = request("turn turns");
                    turn.seat = seat(&format!("n{i}"));
                    (1..=25).all(|number| {
                        turn.turn_no = number;
                        notes(&host.turn(&turn).unwrap()) == [number.to_string()]
                    })
                })
            })
            .collect();
        assert!(calls.into_iter().all(|call| call.join().unwrap()));
    });
}

#[test]
fn a_component_that_was_not_loaded_is_a_failure_of_the_turn() {
    let bench = Bench::new();
    let mut turn = request("");
    turn.component = kelson_model::id::Digest::of(b"another");
    let message = bench.host.turn(&turn).unwrap_err().to_string();
    assert!(message.contains("is not loaded"), "{message}");
    bench.host.unload(&crate::bench::probe().0);
    assert!(bench.host.turn(&request("")).is_err());
}

#[test]
fn what_a_turn_says_beyond_an_entry_is_not_noted_and_the_next_turn_begins_anew() {
    let bench = Bench::new();
    let turn = |script: &str| bench.host.turn(&request(script));
    // Nearly all that a turn may say, and less than half of it.
    let (largest, large) = ("turn set-large key 250000", "turn set-large key 100000");
    assert_eq!(turn(largest).unwrap().wake_at, None);
    for (beyond, operations) in [
        (format!("{largest}\nturn forget-many 1000"), 401),
        (format!("{large}\nturn forget-many 9000"), 7901),
        (format!("turn forget-many 9000\n{large}"), 9000),
    ] {
        let outcome = turn(&beyond).unwrap();
        // A state that says more than was done does not count.
        assert_eq!(outcome.writes.len(), 0, "{beyond}");
        assert_eq!(outcome.operations.len(), operations, "{beyond}");
        assert_eq!(outcome.wake_at, Some(request("").now), "{beyond}");
        let (_, line) = outcome.log.last().unwrap();
        assert!(line.contains("258048 bytes"), "{line}");
        assert!(line.contains("bytes-left"), "{line}");
        // What it believes it has said is forgotten with it.
        assert_eq!(notes(&turn("turn turns").unwrap()), ["1"]);
    }
    // What is larger than any turn is the framework's own fault.
    let fault = turn("turn set-large key 260000").unwrap_err();
    assert!(matches!(fault, TurnFault::Malformed { .. }), "{fault:?}");
    assert!(fault.to_string().contains("258048 bytes"), "{fault}");
}

#[test]
fn the_lines_of_a_void_turn_are_kept_with_the_reason() {
    let bench = Bench::new();
    let mut bad = request("turn log 3\nturn loop");
    bad.seat = seat("bad");
    let mut good = request("turn log 400");
    good.seat = seat("good");
    bench.host.turn(&bad).unwrap_err();
    bad.config = "restore log 2\nrestore trap".into();
    bench.host.turn(&bad).unwrap_err();
    for number in 1..=3 {
        good.turn_no = number;
        bench.host.turn(&good).unwrap();
    }
    // What a preview writes is nobody's.
    let mut preview = request("turn log 1");
    preview.is_throw_away = true;
    bench.host.turn(&preview).unwrap();
    let of = |name: &str| {
        let namespace = seat(name).namespace;
        bench.host.log_lines(&bad.seat.framework, Some(&namespace))
    };
    let lines = of("bad");
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(&texts[..3], ["line 0", "line 1", "line 2"]);
    assert!(
        texts[3].starts_with("the turn is void: out of fuel"),
        "{texts:?}"
    );
    assert_eq!(&texts[4..6], ["line 0", "line 1"]);
    assert_eq!(texts[6], "out of birds");
    assert!(
        texts[7].starts_with("the turn is void: trapped"),
        "{texts:?}"
    );
    assert!(lines.iter().all(|line| line.is_void));
    // A hundred of each turn, and a line that says how many there were.
    let kept = of("good");
    assert_eq!(kept.len(), 300);
    assert!(kept.iter().all(|line| !line.is_void));
    assert_eq!(bench.host.log_lines(&bad.seat.framework, None).len(), 308);
}
