//! Schedulers that misbehave on purpose, beside one that does not: each leaves nothing behind and
//! takes nothing away.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use kelson_kernel_core::port::SeatId;
use kelson_model::object::{Health, Namespace, ObjectKey};
use kelson_model::quantity::Millis;
use kelson_sim::{Cluster, Components, framework_key, guest, object, service};
use serde_json::json;

fn web() -> ObjectKey {
    ObjectKey::new("Service", Namespace::default_namespace(), "web")
}

/// Runs a Service beside one object of a hostile framework for a minute.
fn beside(name: &str, kind: &str) -> Cluster {
    let components = Components::new().unwrap();
    let mut cluster = Cluster::new(components.host.clone());
    cluster
        .install(
            "service",
            kelson_plugins_bundle::component("service").unwrap(),
        )
        .unwrap();
    cluster
        .install(name, &guest(&format!("kelson-test-{name}")).unwrap())
        .unwrap();
    cluster.attach("a", 8).unwrap();
    let bad = object(kind, "default", "bad", json!({"run": {"command": "true"}})).unwrap();
    let good = service("default", "web", 3, "app").unwrap();
    cluster.accept(vec![bad, good], Vec::new()).unwrap();
    // Not until it rests: some of them never do.
    for _ in 0..60 {
        cluster.round(None);
        cluster.agents_obey();
        cluster.round(None);
        cluster.pass(Millis(1000));
    }
    cluster.check().unwrap();
    let status = &cluster.state.objects[&web()].status;
    assert_eq!(status.health, Health::Healthy, "{name}: {status:?}");
    assert_eq!(cluster.running(&web()).len(), 3, "{name}");
    let others = cluster
        .state
        .tasks
        .iter()
        .filter(|task| task.object().kind == kind);
    assert_eq!(others.count(), 0, "{name} has started something");
    cluster
}

fn seat(name: &str) -> SeatId {
    SeatId {
        framework: framework_key(name),
        namespace: Namespace::default_namespace(),
    }
}

#[test]
fn a_turn_that_is_void_leaves_nothing_behind() {
    for (name, kind) in [
        ("endless-loop", "Loop"),
        ("memory-hog", "Hog"),
        ("trap", "Trap"),
        ("trap-after-set", "SetTrap"),
    ] {
        let cluster = beside(name, kind);
        let seat = &cluster.state.seats[&seat(name)];
        assert_eq!(seat.turn_no, 0, "{name}: a turn counted");
        assert!(seat.pairs.is_empty() && seat.demand.is_empty(), "{name}");
        let notes = cluster
            .state
            .events
            .iter()
            .filter(|event| event.reason == "Note");
        assert_eq!(notes.count(), 0, "{name} has spoken");
    }
}

#[test]
fn a_turn_that_asks_for_too_much_counts_as_far_as_it_goes_and_a_flood_is_slowed() {
    let cluster = beside("too-many-operations", "Flood");
    let seat = &cluster.state.seats[&seat("too-many-operations")];
    // After one second, then 2, 4, 8, 16 and 32, as after turns that are void.
    assert!((1..=6).contains(&seat.turn_no), "{} turns", seat.turn_no);
    let pause = &cluster.memory().pauses()[&seat.id];
    assert_eq!(u64::from(pause.failures), seat.turn_no);
    assert!(pause.fault.contains("full"), "{pause:?}");
    // It may ask for 10,000 operations, each of which is refused.
    assert_eq!(seat.refusals.len(), 1001);
    assert_eq!(
        seat.refusals.last().unwrap().reason,
        "9000 more were refused"
    );
}

#[test]
fn a_scheduler_that_never_looks_at_what_a_turn_may_say_comes_to_its_end() {
    let components = Components::new().unwrap();
    let mut cluster = Cluster::new(components.host.clone());
    cluster
        .install(
            "too-many-operations",
            &guest("kelson-test-too-many-operations").unwrap(),
        )
        .unwrap();
    let spec = json!({"run": {"command": "true"}, "says": 900});
    let objects = (0..1_000).map(|n| object("Flood", "default", &format!("f{n}"), spec.clone()));
    let objects = objects.map(Result::unwrap).collect();
    cluster.accept(objects, Vec::new()).unwrap();
    for _ in 0..20 {
        cluster.round(None);
        cluster.pass(Millis(1000));
    }
    let all = cluster.state.objects.values();
    let floods = all.filter(|object| object.key.kind == "Flood");
    let untold = floods.filter(|object| object.status.health != Health::Healthy);
    assert_eq!(
        untold.count(),
        0,
        "each turn says as much as it may, the next one what is left"
    );
    assert!(cluster.round(None) == 0, "and then nothing is left to say");
}

#[test]
fn a_preview_says_that_the_scheduler_of_an_object_fails_even_where_it_fails_anyway() {
    let components = Components::new().unwrap();
    let mut cluster = Cluster::new(components.host.clone());
    cluster
        .install("trap", &guest("kelson-test-trap").unwrap())
        .unwrap();
    cluster.attach("a", 8).unwrap();
    for command in ["true", "false"] {
        let bad = object(
            "Trap",
            "default",
            "bad",
            json!({"run": {"command": command}}),
        )
        .unwrap();
        let preview = cluster.preview(vec![bad.clone()], Vec::new()).unwrap();
        assert_eq!(preview.waiting.len(), 1, "{command}: {preview:?}");
        let waits = &preview.waiting[0];
        assert_eq!(
            (waits.workload.name.as_str(), waits.reason.as_str()),
            ("bad", "SchedulerPaused")
        );
        assert!(waits.message.contains("has failed"), "{waits:?}");
        cluster.accept(vec![bad], Vec::new()).unwrap();
    }
}

#[test]
fn launching_more_than_was_offered_voids_the_turn() {
    let cluster = beside("illegal-launch", "Greedy");
    let seat = &cluster.state.seats[&seat("illegal-launch")];
    assert_eq!(seat.turn_no, 1, "asking was legal, taking twice was not");
    assert_eq!(seat.demand.len(), 1);
}

#[test]
fn tasks_of_another_seat_cannot_be_ended_or_forgotten() {
    let cluster = beside("someone-elses-task", "Thief");
    let seat = &cluster.state.seats[&seat("someone-elses-task")];
    assert!(seat.turn_no >= 1, "the turn itself counts");
    assert_eq!(seat.refusals.len(), 1001, "each is refused by itself");
    let rest = &seat.refusals.last().unwrap().reason;
    assert!(rest.contains("1000 more"), "{rest}");
    assert!(
        cluster
            .state
            .tasks
            .iter()
            .all(|task| task.stop().is_none() && !task.is_forgotten())
    );
}

#[test]
fn a_scheduler_reads_its_own_workloads_and_nothing_of_another_seat() {
    let cluster = beside("spy", "Spy");
    let notes = cluster.state.events.iter();
    let seen: Vec<&str> = notes
        .filter(|event| event.reason == "Note")
        .map(|event| event.message.as_str())
        .collect();
    assert!(
        seen.iter().all(|note| note.contains("name of 1: bad")),
        "{seen:?}"
    );
    assert!(!seen.is_empty());
    for word in ["web", "app", "name of 2", "spec of 2"] {
        assert!(seen.iter().all(|note| !note.contains(word)), "{seen:?}");
    }
}

#[test]
fn a_component_that_imports_a_clock_or_is_none_is_not_loaded() {
    let components = Components::new().unwrap();
    let mut cluster = Cluster::new(components.host.clone());
    let error = cluster
        .install("cheat", &guest("kelson-test-cheat").unwrap())
        .unwrap_err();
    assert!(error.to_string().contains("wasi:clocks"), "{error}");
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/components/not-a-component/not-a-component.wasm"
    );
    let error = cluster
        .install("none", &std::fs::read(file).unwrap())
        .unwrap_err();
    assert!(
        error.to_string().contains("not a WebAssembly component"),
        "{error}"
    );
}
