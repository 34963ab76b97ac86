use kelson_kernel_core::command::Command;
use kelson_kernel_core::round::RoundMemory;
use kelson_kernel_core::{Absent, explain_absent, explain_object};
use kelson_model::code::Code;
use kelson_model::object::{ObjectKey, Sync};
use kelson_model::reason::{HoldReason, KeptReason};
use kelson_model::request::SourceReport;
use kelson_model::source::{Fault, Held, Kept};

use crate::world::{SOURCE, World, is_unchanged, revision, service, spec};

fn report(number: u32) -> SourceReport {
    SourceReport {
        source: SOURCE.to_owned(),
        branch: "main".to_owned(),
        observed: Some(revision(number)),
        sync: Sync::OutOfSync,
        held: None,
        holds: Vec::new(),
        errors: Vec::new(),
        prune_window: None,
        ..SourceReport::default()
    }
}

fn fault(line: u32) -> Fault {
    Fault {
        line,
        column: 3,
        ..Fault::of_file(Code::UnknownField, "web.yaml", "is no number", "")
    }
}

#[test]
fn a_report_leaves_what_is_applied_and_confirmed_alone() {
    let mut world = World::new();
    world.serve(&service("web"), spec("a", 1));
    let applied = world.applied(SOURCE);
    world.done(Command::ReportSource(report(9)));
    let record = &world.state.sources[SOURCE];
    assert_eq!(record.applied, applied);
    assert_eq!(record.observed, Some(revision(9)));
}

#[test]
fn the_same_report_changes_nothing() {
    let mut world = World::new();
    world.done(Command::ReportSource(report(9)));
    let before = world.state.clone();
    world.done(Command::ReportSource(report(9)));
    assert!(is_unchanged(&before, &world.state));
}

#[test]
fn faults_and_holds_are_told_once() {
    let mut world = World::new();
    let bad = SourceReport {
        errors: (0..2000).map(fault).collect(),
        held: Some(Held {
            reason: HoldReason::PruneGuard,
            confirm: None,
            objects: Vec::new(),
            more: 0,
            digest: None,
            message: "everything would go".to_owned(),
        }),
        ..report(9)
    };
    world.done(Command::ReportSource(bad.clone()));
    world.done(Command::ReportSource(SourceReport {
        branch: "other".to_owned(),
        ..bad
    }));
    assert_eq!(world.state.sources[SOURCE].errors.len(), 1000);
    for reason in ["RevisionRefused", "RevisionHeld"] {
        let told = world.state.events.iter().filter(|e| e.reason == reason);
        assert_eq!(told.count(), 1, "{reason}");
    }
}

#[test]
fn an_object_that_was_never_accepted_is_explained_by_what_its_source_says() {
    let mut world = World::new();
    world.serve(&service("web"), spec("a", 1));
    let absent = |world: &World, name: &str| {
        explain_absent(&world.state, None, &service("web").namespace, name)
    };
    assert_eq!(absent(&world, "robin"), None);
    let robin = ObjectKey::new("Bird", service("web").namespace, "robin");
    world.done(Command::ReportSource(SourceReport {
        kept: vec![Kept {
            object: robin.clone(),
            reason: KeptReason::WaitsForFramework,
            message: "it waits for birds".to_owned(),
        }],
        errors: vec![fault(3)],
        ..report(9)
    }));
    let told = absent(&world, "robin").unwrap();
    assert_eq!(told.key, robin);
    let lines = told.lines;
    let reasons: Vec<&str> = lines.iter().map(|line| line.reason.as_str()).collect();
    assert_eq!(reasons, ["WaitsForFramework", "NotAccepted", "Invalid"]);
    assert!(lines[2].message.starts_with("web.yaml:3:3: K0102"));
    // A name that is not known may stand in the bad file.
    let reasons =
        |told: Absent| -> Vec<String> { told.lines.into_iter().map(|line| line.reason).collect() };
    let told = absent(&world, "wren").unwrap();
    assert_eq!(reasons(told), ["NotKnown", "NotAccepted", "Invalid"]);
    // Or in a revision that is held, or that is not applied yet.
    let held = Held {
        reason: HoldReason::ForcePush,
        ..Held::default()
    };
    world.done(Command::ReportSource(SourceReport {
        holds: vec![held],
        ..report(8)
    }));
    let told = absent(&world, "wren").unwrap();
    assert_eq!(reasons(told), ["NotKnown", "ForcePush"]);
    world.done(Command::ReportSource(report(7)));
    let told = absent(&world, "wren").unwrap();
    assert_eq!(reasons(told), ["NotKnown", "NotAccepted"]);
    // Where all is accepted, there is no such object, whatever else is said of the source.
    let drift = Fault::of_file(Code::TooMuchDrift, "", "5 more things have drifted", "");
    world.done(Command::ReportSource(SourceReport {
        observed: world.applied(SOURCE),
        errors: vec![drift],
        ..report(7)
    }));
    assert_eq!(absent(&world, "wren"), None);
    // What the plan says of an accepted object is among its reasons.
    world.done(Command::ReportSource(SourceReport {
        kept: vec![Kept {
            object: service("web"),
            reason: KeptReason::DriftReported,
            message: "left so".to_owned(),
        }],
        ..report(9)
    }));
    let (memory, now) = (RoundMemory::default(), world.state.time);
    let lines = explain_object(&world.state, &memory, &service("web"), now).unwrap();
    assert!(
        lines.iter().any(|line| line.reason == "DriftReported"),
        "{lines:?}"
    );
}
