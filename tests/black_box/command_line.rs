//! Exit codes and output of the verbs.

use kelson_model::code::Code;
use kelson_testkit::manifest::service;
use kelson_testkit::{Cli, TestRepo, programs};
use serde_json::Value;

use crate::cluster::Cluster;

/// The command line in a repository, with nobody listening.
fn alone(repo: &TestRepo) -> Cli {
    // Port 9 of this machine: a privileged port that nobody serves.
    Cli::new(
        programs::kelson().unwrap(),
        Some("http://127.0.0.1:9".into()),
        repo.path(),
    )
}

#[test]
fn an_unknown_verb_is_a_matter_of_usage() {
    let repo = TestRepo::init().unwrap();
    assert_eq!(alone(&repo).run(&["frobnicate"]).unwrap().code, Some(2));
}

#[test]
fn nobody_listening_is_exit_code_three() {
    let repo = TestRepo::init().unwrap();
    let outcome = alone(&repo).run(&["status"]).unwrap();
    assert_eq!(outcome.code, Some(3), "{outcome}");
    assert_eq!(outcome.stdout, "");
}

#[test]
fn validate_needs_no_cluster_and_names_every_fault_with_its_position() {
    let repo = TestRepo::init().unwrap();
    repo.write("kelson/web.yaml", service("web").yaml())
        .unwrap();
    let good = alone(&repo).run(&["validate", "-o", "json"]).unwrap();
    assert_eq!(good.code, Some(0), "{good}");
    assert_eq!(good.json().unwrap().get("valid").unwrap(), true);

    repo.write(
        "kelson/web.yaml",
        service("web")
            .yaml()
            .replace("instances: 1", "instances: one\n  instnaces: 1"),
    )
    .unwrap();
    repo.write(
        "kelson/other.yaml",
        "apiVersion: kelson/v1\nkind: Service\nmetadata: {name: UPPER}\n",
    )
    .unwrap();
    let bad = alone(&repo).run(&["validate", "-o", "json"]).unwrap();
    assert_eq!(bad.code, Some(1), "{bad}");
    let report = bad.json().unwrap();
    assert_eq!(report.get("valid").unwrap(), false);
    let errors = report.get("errors").and_then(Value::as_array).unwrap();
    let place = |error: &Value| {
        (
            error
                .get("file")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            error.get("line").and_then(Value::as_u64),
        )
    };
    let places: Vec<_> = errors.iter().map(place).collect();
    for wanted in [
        ("kelson/web.yaml", 7),
        ("kelson/web.yaml", 8),
        ("kelson/other.yaml", 3),
    ] {
        assert!(
            places.contains(&(wanted.0.to_owned(), Some(wanted.1))),
            "{wanted:?} is not in {places:?}"
        );
    }
    assert!(errors.iter().all(|error| {
        error
            .get("code")
            .and_then(Value::as_str)
            .is_some_and(|code| code.starts_with('K'))
    }));
}

#[test]
fn validate_fixes_what_is_certain_and_shows_faults_to_machines() {
    let repo = TestRepo::init().unwrap();
    let good = service("web").yaml();
    let slip = good.replace("instances:", "instnaces:");
    repo.write("kelson/web.yaml", &slip).unwrap();
    repo.write("kelson/other.yaml", "a: [\n").unwrap();

    let github = alone(&repo).run(&["validate", "-o", "github"]).unwrap();
    assert_eq!(github.code, Some(1), "{github}");
    let command = "::error file=kelson/web.yaml,line=7,col=3,";
    assert!(github.stdout.contains(command), "{github}");
    let sarif = alone(&repo).run(&["validate", "-o", "sarif"]).unwrap();
    let log = sarif.json().unwrap();
    assert_eq!(log.get("version").unwrap(), "2.1.0");
    let others = alone(&repo).run(&["status", "-o", "sarif"]).unwrap();
    assert_eq!(others.code, Some(2), "{others}");

    let fixed = alone(&repo).run(&["validate", "--fix"]).unwrap();
    assert_eq!(fixed.code, Some(1), "{fixed}");
    assert!(
        fixed.stderr.contains("fixed kelson/web.yaml:7:3"),
        "{fixed}"
    );
    assert!(fixed.stdout.contains("kelson/other.yaml:1:4"), "{fixed}");
    let path = repo.path().join("kelson/web.yaml");
    assert_eq!(std::fs::read_to_string(path).unwrap(), good);
}

#[test]
fn the_quickstart_is_valid() {
    let repo = TestRepo::init().unwrap();
    repo.copy_from(&programs::workspace().unwrap().join("examples/quickstart"))
        .unwrap();
    let outcome = alone(&repo).run(&["validate", "-o", "json"]).unwrap();
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let report = outcome.json().unwrap();
    assert_eq!(
        (report.get("files").unwrap(), report.get("objects").unwrap()),
        (&3.into(), &3.into())
    );
}

#[test]
fn an_object_that_is_not_there_is_exit_code_five() {
    // The source is held: it has no commit yet.
    let cluster = Cluster::empty();
    for verb in ["get", "why", "drift", "describe", "logs"] {
        let outcome = cluster
            .dev
            .run(&[verb, "Service/nobody", "-n", "shop"])
            .unwrap();
        assert_eq!(outcome.code, Some(5), "{verb}: {outcome}");
        assert!(
            outcome.stderr.contains(Code::NoSuchObject.id()),
            "{verb}: {outcome}"
        );
    }
}

#[test]
fn a_plan_of_a_commit_that_is_not_merged_changes_nothing() {
    let (cluster, commit) = Cluster::with(&[("web", service("web"))]);
    let before = cluster.pids("Service/web");
    cluster.repo.switch_to_new("proposal").unwrap();
    cluster.commit("web", &service("web").instances(3));
    let plan = cluster
        .dev
        .run(&["plan", "--ref", "proposal", "--exit-code", "-o", "json"])
        .unwrap();
    assert_eq!(plan.code, Some(1), "{plan}");
    plan.json().unwrap();
    let same = cluster
        .dev
        .run(&["plan", "--ref", "main", "--exit-code", "-o", "json"])
        .unwrap();
    assert_eq!(same.code, Some(0), "{same}");
    cluster.dev.settle(&commit).unwrap();
    assert_eq!(cluster.pids("Service/web"), before);
}

#[test]
fn a_wait_that_takes_too_long_is_exit_code_four() {
    let (cluster, _) = Cluster::with(&[("web", service("web"))]);
    let outcome = cluster
        .dev
        .run(&[
            "wait",
            "Service/web",
            "-n",
            "shop",
            "--for",
            "gone",
            "--timeout",
            "300ms",
        ])
        .unwrap();
    assert_eq!(outcome.code, Some(4), "{outcome}");
}
