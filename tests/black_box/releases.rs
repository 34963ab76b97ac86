//! New versions, good and bad.

use kelson_testkit::manifest::service;
use kelson_testkit::{Look, Visitor, status};

use crate::cluster::{Cluster, DEADLINE, text};

#[test]
fn a_service_scales_up_and_down_and_keeps_the_tasks_it_has() {
    let (cluster, _) = Cluster::with(&[("web", service("web").instances(2))]);
    let two = cluster.pids("Service/web");
    let commit = cluster.commit("web", &service("web").instances(4));
    cluster.dev.settle(&commit).unwrap();
    let four = cluster.pids("Service/web");
    assert_eq!(four.len(), 4);
    assert!(
        two.iter().all(|pid| four.contains(pid)),
        "scaling replaced a task: {two:?} {four:?}"
    );
    let commit = cluster.commit("web", &service("web").instances(1));
    cluster.dev.settle(&commit).unwrap();
    cluster
        .dev
        .wait_for("one task is left", DEADLINE, |_| {
            let left = cluster.pids("Service/web");
            Ok(if left.len() == 1 {
                Look::Found(())
            } else {
                Look::NotYet(format!("{left:?}"))
            })
        })
        .unwrap();
    assert!(four.contains(cluster.pids("Service/web").first().unwrap()));
}

#[test]
fn a_rolling_update_loses_no_request() {
    let (cluster, _) = Cluster::with(&[("web", service("web").instances(2))]);
    let visitor = Visitor::start(cluster.dev.cli().clone(), "Service/web", "http", "/");
    let commit = cluster.commit("web", &service("web").instances(2).text("web 2"));
    cluster.dev.settle(&commit).unwrap();
    assert_eq!(cluster.answers("Service/web"), ["web 2", "web 2"]);
    let visits = visitor.finish().unwrap();
    assert_eq!(visits.failures, Vec::<String>::new());
    assert!(
        visits
            .answers
            .keys()
            .all(|answer| answer == "web 1" || answer == "web 2"),
        "{visits:?}"
    );
    assert!(visits.answered() > 0);
}

#[test]
fn a_version_that_never_gets_healthy_is_rolled_back_and_quarantined_until_git_changes() {
    let good = service("web").instances(2).progress_deadline("3s");
    let (cluster, _) = Cluster::with(&[("web", good.clone())]);
    let bad = cluster.commit("web", &good.clone().text("web 2").args(["--unhealthy"]));
    cluster
        .dev
        .wait_until("it is rolled back", DEADLINE, |now| {
            status::object(now, "Service/web").is_some_and(|web| {
                text(web, "/reason") == "RolledBack"
                    && text(web, "/health") == "Degraded"
                    && text(web, "/sync") == "OutOfSync"
                    && text(web, "/rollout/state") == "rolledBack"
            })
        })
        .unwrap();
    let waited = cluster
        .dev
        .run(&[
            "wait",
            "Service/web",
            "-n",
            "shop",
            "--for",
            "synced",
            "--revision",
            &bad,
            "--timeout",
            "60s",
        ])
        .unwrap();
    assert_eq!(waited.code, Some(1), "{waited}");
    assert!(
        cluster
            .answers("Service/web")
            .iter()
            .all(|answer| answer == "web 1")
    );
    let fixed = cluster.commit("web", &good.text("web 3"));
    cluster.dev.settle(&fixed).unwrap();
    assert_eq!(cluster.answers("Service/web"), ["web 3", "web 3"]);
}

#[test]
fn a_task_that_exits_by_itself_is_replaced_with_back_off_and_is_no_drift() {
    let (cluster, _) = Cluster::with(&[(
        "web",
        service("web").args(["--crash-after", "500ms", "--exit", "7"]),
    )]);
    let exited = cluster
        .dev
        .wait_for(
            "a task has exited and another one has come",
            DEADLINE,
            |cli| {
                let tasks = cli.json(&["tasks", "-A"])?;
                let exited = tasks
                    .pointer("/items")
                    .and_then(|items| items.as_array())
                    .into_iter()
                    .flatten()
                    .find(|task| task.pointer("/exit/code").is_some_and(|code| code == 7));
                Ok(exited
                    .cloned()
                    .map_or_else(|| Look::NotYet(tasks.to_string()), Look::Found))
            },
        )
        .unwrap();
    cluster
        .dev
        .wait_for("another task has come", DEADLINE, |cli| {
            let running = cli.running("Service/web")?;
            let is_other = running
                .iter()
                .any(|task| task.get("id") != exited.get("id"));
            Ok(if is_other {
                Look::Found(())
            } else {
                Look::NotYet(format!("{running:?}"))
            })
        })
        .unwrap();
    assert_eq!(
        cluster.dev.drift().unwrap(),
        Vec::<serde_json::Value>::new()
    );
}
