//! Two frameworks compete for too little capacity in two weighted namespaces.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use kelson_model::object::ObjectKey;
use kelson_model::quantity::Millis;
use kelson_model::request::{Request, SetNamespace};
use kelson_sim::{Cluster, Components, guest, object, service};
use serde_json::json;

fn flock(namespace: &str, birds: u32) -> kelson_model::object::DesiredObject {
    let spec = json!({"birds": birds, "run": {"command": "bird", "args": []}, "resources": {"cpus": "1", "memory": "128Mi", "disk": "0"}});
    object("Flock", namespace, "flock", spec).unwrap()
}

fn cluster(components: &Components) -> Cluster {
    let mut cluster = Cluster::new(components.host.clone());
    cluster
        .install(
            "service",
            kelson_plugins_bundle::component("service").unwrap(),
        )
        .unwrap();
    cluster
        .install("birds", &guest("kelson-test-birds").unwrap())
        .unwrap();
    for name in ["a", "b", "c", "d"] {
        cluster.attach(name, 10).unwrap();
    }
    for (namespace, weight) in [("rich", 3), ("poor", 1)] {
        cluster
            .request(Request::SetNamespace(SetNamespace {
                namespace: namespace.parse().unwrap(),
                weight,
            }))
            .unwrap();
    }
    cluster
}

fn count(cluster: &Cluster, kind: &str, namespace: &str, name: &str) -> usize {
    cluster
        .running(&ObjectKey::new(kind, namespace.parse().unwrap(), name))
        .len()
}

#[test]
fn weights_decide_the_shares_of_two_frameworks_and_nobody_starves() {
    let components = Components::new().unwrap();
    let mut cluster = cluster(&components);
    let mut web = service("rich", "web", 100, "app").unwrap();
    let mut spec = web.spec.value();
    spec["update"]["maxSurge"] = json!(100);
    web.spec = spec.into();
    cluster
        .accept(vec![web, flock("poor", 100)], Vec::new())
        .unwrap();
    cluster.settle().unwrap();
    let (rich, poor) = (
        count(&cluster, "Service", "rich", "web"),
        count(&cluster, "Flock", "poor", "flock"),
    );
    assert_eq!(rich + poor, 40, "all capacity is used");
    assert!(
        (29..=31).contains(&rich),
        "the rich namespace weighs three times as much: {rich} to {poor}"
    );
}

#[test]
fn room_that_a_namespace_gives_back_goes_to_the_one_below_its_share() {
    let components = Components::new().unwrap();
    let mut cluster = cluster(&components);
    cluster.accept(vec![flock("poor", 40)], Vec::new()).unwrap();
    cluster.settle().unwrap();
    assert_eq!(
        count(&cluster, "Flock", "poor", "flock"),
        40,
        "alone, it may have everything"
    );
    let mut web = service("rich", "web", 30, "app").unwrap();
    let mut spec = web.spec.value();
    spec["update"]["maxSurge"] = json!(30);
    web.spec = spec.into();
    cluster
        .accept(vec![web, flock("poor", 40)], Vec::new())
        .unwrap();
    for _ in 0..60 {
        // Birds fly away one after another; each freed place goes to whoever is further below its
        // share.
        let bird = cluster
            .state
            .tasks
            .iter()
            .find(|task| task.object().kind == "Flock" && !task.state().is_terminal())
            .map(|task| task.id());
        cluster.exit(bird.unwrap(), 0);
        while cluster.round(None) > 0 {}
        cluster.agents_obey();
        cluster.pass(Millis(500));
    }
    let (rich, poor) = (
        count(&cluster, "Service", "rich", "web"),
        count(&cluster, "Flock", "poor", "flock"),
    );
    assert!((29..=30).contains(&rich), "{rich} to {poor}");
    assert!(poor >= 9, "{rich} to {poor}");
}
