//! What somebody changes by hand.

use kelson_testkit::manifest::service;
use kelson_testkit::processes::{self, Signal};
use kelson_testkit::{Look, status};
use serde_json::{Value, json};

use crate::cluster::{Cluster, DEADLINE, pid, text};

fn item(cluster: &Cluster, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    cluster
        .dev
        .wait_for(what, DEADLINE, |cli| {
            let items = cli.drift()?;
            Ok(items
                .iter()
                .find(|item| is_it(item))
                .cloned()
                .map_or_else(|| Look::NotYet(format!("{items:?}")), Look::Found))
        })
        .unwrap()
}

#[test]
fn a_field_set_by_hand_is_healed_and_reported_with_both_values_and_its_line() {
    let (cluster, commit) = Cluster::with(&[("web", service("web").instances(2))]);
    cluster
        .dev
        .ok(&["set", "Service/web", "-n", "shop", "spec.instances=3"])
        .unwrap();
    let healed = item(&cluster, "it is healed", |item| {
        text(item, "/state") == "healed"
    });
    assert_eq!(text(&healed, "/plane"), "specification");
    assert_eq!(
        healed.pointer("/fields/0").unwrap(),
        &json!({"path": "/spec/instances", "op": "changed", "desired": 2, "live": 3})
    );
    assert_eq!(text(&healed, "/origin/file"), "kelson/web.yaml");
    assert_eq!(
        healed.pointer("/origin/line").and_then(Value::as_u64),
        Some(7)
    );
    assert_eq!(text(&healed, "/changedBy/via"), "cli");
    cluster.dev.settle(&commit).unwrap();
    let web = cluster.dev.status().unwrap();
    assert_eq!(
        status::object(&web, "Service/web")
            .unwrap()
            .pointer("/tasks/desired")
            .unwrap(),
        2
    );
}

#[test]
fn of_two_fields_set_at_once_both_are_healed_and_reported() {
    let (cluster, commit) = Cluster::with(&[("web", service("web").instances(2))]);
    let fields = ["spec.stop.grace=7s", "spec.instances=3"];
    let set = ["set", "Service/web", "-n", "shop", fields[0], fields[1]];
    cluster.dev.ok(&set).unwrap();
    for path in ["/spec/stop/grace", "/spec/instances"] {
        item(&cluster, "it is healed", |item| {
            let fields = item.pointer("/fields").and_then(Value::as_array);
            let mut paths = fields
                .into_iter()
                .flatten()
                .map(|field| text(field, "/path"));
            text(item, "/state") == "healed" && paths.any(|named| named == path)
        });
    }
    cluster.dev.settle(&commit).unwrap();
}

#[test]
fn a_field_set_by_hand_under_report_is_reported_and_left() {
    let (cluster, _) = Cluster::with(&[("web", service("web").lifecycle("drift: report"))]);
    cluster
        .dev
        .ok(&["set", "Service/web", "-n", "shop", "spec.instances=2"])
        .unwrap();
    let open = item(&cluster, "it is reported", |item| {
        text(item, "/plane") == "specification"
    });
    assert_eq!(
        (text(&open, "/state"), text(&open, "/policy")),
        ("open", "report")
    );
    cluster
        .dev
        .wait_until("two tasks run", DEADLINE, |now| {
            status::object(now, "Service/web").is_some_and(|web| {
                text(web, "/sync") == "OutOfSync"
                    && web
                        .pointer("/tasks/healthy")
                        .is_some_and(|healthy| healthy == 2)
            })
        })
        .unwrap();
    let outcome = cluster.dev.run(&["drift", "-A", "--exit-code"]).unwrap();
    assert_eq!(outcome.code, Some(1), "{outcome}");
}

#[test]
fn a_killed_task_is_replaced_and_is_a_placement_item_of_an_unknown_actor() {
    let (cluster, commit) = Cluster::with(&[("web", service("web").instances(2))]);
    let victim = cluster
        .dev
        .running("Service/web")
        .unwrap()
        .first()
        .unwrap()
        .clone();
    assert!(processes::signal(pid(&victim), Signal::KILL));
    let id = text(&victim, "/id").to_owned();
    let found = item(&cluster, "the death is reported", |item| {
        text(item, "/plane") == "placement"
    });
    assert!(
        text(&found, "/task") == id || found.to_string().contains(&id),
        "{found}"
    );
    assert_eq!(text(&found, "/changedBy/actor"), "unknown");
    cluster.dev.settle(&commit).unwrap();
    let running = cluster.dev.running("Service/web").unwrap();
    assert_eq!(running.len(), 2);
    assert!(
        running.iter().all(|task| text(task, "/id") != id),
        "a task id started twice"
    );
}

#[test]
fn a_task_stopped_by_hand_is_replaced_and_reported_with_who_did_it() {
    let (cluster, commit) = Cluster::with(&[("web", service("web"))]);
    let victim = cluster
        .dev
        .running("Service/web")
        .unwrap()
        .first()
        .unwrap()
        .clone();
    cluster.dev.ok(&["stop", text(&victim, "/id")]).unwrap();
    let found = item(&cluster, "the stop is reported", |item| {
        text(item, "/plane") == "placement"
    });
    assert_eq!(text(&found, "/changedBy/via"), "cli");
    cluster
        .dev
        .wait_for("another task has come", DEADLINE, |cli| {
            let running = cli.running("Service/web")?;
            let is_other = running.len() == 1
                && running
                    .iter()
                    .all(|task| task.get("id") != victim.get("id"));
            Ok(if is_other {
                Look::Found(())
            } else {
                Look::NotYet(format!("{running:?}"))
            })
        })
        .unwrap();
    cluster.dev.settle(&commit).unwrap();
}
