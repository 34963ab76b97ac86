//! Thousands of Services in one namespace: all of them are seen, none waits for another, and they
//! settle.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeSet;

use kelson_model::object::{DesiredObject, Health, ObjectKey};
use kelson_sim::{Cluster, Components, service};
use serde_json::json;

fn cluster(components: &Components, agents: u64, cpus: u64) -> Cluster {
    let mut cluster = Cluster::new(components.host.clone());
    cluster
        .install(
            "service",
            kelson_plugins_bundle::component("service").unwrap(),
        )
        .unwrap();
    for number in 0..agents {
        cluster.attach(&format!("agent-{number}"), cpus).unwrap();
    }
    cluster
}

fn services(count: u32) -> Vec<DesiredObject> {
    (0..count)
        .map(|number| service("shop", &format!("s{number}"), 1, "app").unwrap())
        .collect()
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("Service", "shop".parse().unwrap(), name)
}

#[test]
fn a_preview_sees_every_service_of_a_namespace() {
    let components = Components::new().unwrap();
    let cluster = cluster(&components, 2, 600);
    let preview = cluster.preview(services(1000), Vec::new()).unwrap();
    let launched: BTreeSet<&str> = preview
        .steps
        .iter()
        .flat_map(|step| &step.launches)
        .map(|launch| launch.workload.name.as_str())
        .collect();
    assert_eq!(launched.len(), 1000);
    assert!(preview.waiting.is_empty() && !preview.truncated);
}

#[test]
fn a_preview_says_of_every_service_that_it_waits() {
    let components = Components::new().unwrap();
    let cluster = cluster(&components, 1, 10);
    let preview = cluster.preview(services(1000), Vec::new()).unwrap();
    assert_eq!(preview.waiting.len(), 990);
}

#[test]
fn one_that_fits_is_placed_while_thousands_wait() {
    let components = Components::new().unwrap();
    let mut cluster = cluster(&components, 2, 4);
    let mut waiting = services(4000);
    for object in &mut waiting {
        let mut spec = object.spec.value();
        spec["resources"]["cpus"] = json!("100");
        object.spec = spec.into();
    }
    cluster.accept(waiting, Vec::new()).unwrap();
    cluster.settle().unwrap();
    assert!(cluster.state.tasks.is_empty());
    let status = &cluster.state.objects[&key("s3999")].status;
    assert_eq!(
        (status.health, status.reason.as_str()),
        (Health::Progressing, "NoOffers")
    );
    cluster
        .accept(
            vec![service("shop", "small", 2, "app").unwrap()],
            Vec::new(),
        )
        .unwrap();
    cluster.settle().unwrap();
    assert_eq!(cluster.running(&key("small")).len(), 2);
    let status = &cluster.state.objects[&key("small")].status;
    assert_eq!(status.health, Health::Healthy, "{status:?}");
}

#[test]
fn four_thousand_services_of_one_commit_settle() {
    let components = Components::new().unwrap();
    let mut cluster = cluster(&components, 4, 1100);
    let before = cluster.state.index.0;
    cluster.accept(services(4000), Vec::new()).unwrap();
    cluster.settle().unwrap();
    let healthy = cluster.state.objects.values();
    let healthy = healthy.filter(|object| object.status.health == Health::Healthy);
    assert_eq!(healthy.count(), 4000);
    assert_eq!(cluster.state.last_task.0, 4000, "each task once");
    let entries = cluster.state.index.0 - before;
    assert!(entries < 400, "{entries} entries");
}
