//! A turn is a transaction: whatever goes wrong between the sandbox and the log, the state ends as
//! if it had not.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use kelson_kernel_core::command::{Command, FoundCluster};
use kelson_model::id::TaskId;
use kelson_model::object::{Health, ObjectKey, RolloutState};
use kelson_model::quantity::Millis;
use kelson_sim::{Cluster, Components, Fault, service};

fn cluster(components: &Components) -> Cluster {
    let mut cluster = Cluster::new(components.host.clone());
    cluster
        .install(
            "service",
            kelson_plugins_bundle::component("service").unwrap(),
        )
        .unwrap();
    cluster.attach("a", 8).unwrap();
    cluster
}

fn web() -> ObjectKey {
    ObjectKey::new("Service", "shop".parse().unwrap(), "web")
}

/// Runs a service from nothing to healthy; the first round with turns meets the fault, and `idle`
/// is applied after it.
fn run(
    components: &Components,
    fault: Option<Fault>,
    idle: Option<Command>,
) -> (String, Vec<(String, String, u64)>) {
    let mut cluster = cluster(components);
    cluster
        .accept(vec![service("shop", "web", 3, "app").unwrap()], Vec::new())
        .unwrap();
    cluster.round(fault);
    if let Some(entry) = idle {
        cluster.apply(entry);
    }
    cluster.settle().unwrap();
    let status = &cluster.state.objects[&web()].status;
    assert_eq!(
        (status.health, status.rollout),
        (Health::Healthy, RolloutState::Complete),
        "{status:?}"
    );
    (cluster.hash(), cluster.running(&web()))
}

#[test]
fn a_fault_in_any_turn_leaves_the_state_as_without_it() {
    let components = Components::new().unwrap();
    let (hash, tasks) = run(&components, None, None);
    assert_eq!(
        tasks.iter().map(|task| task.0.as_str()).collect::<Vec<_>>(),
        ["web.0", "web.1", "web.2"]
    );
    for fault in [Fault::Trap, Fault::LostProposal, Fault::LostReply] {
        let (other, others) = run(&components, Some(fault), None);
        assert_eq!(others, tasks, "{fault:?}");
        assert_eq!(other, hash, "{fault:?}");
    }
}

#[test]
fn a_turn_that_is_proposed_twice_counts_once() {
    let components = Components::new().unwrap();
    // An entry that changes nothing stands where the second proposal stands: events and cursors
    // carry the index.
    let nothing = Command::FoundCluster(FoundCluster {
        cluster: "another".to_owned(),
    });
    let once = run(&components, None, Some(nothing));
    assert_eq!(run(&components, Some(Fault::Twice), None), once);
}

#[test]
fn a_new_leader_goes_on_where_the_old_one_stopped() {
    let components = Components::new().unwrap();
    let mut cluster = cluster(&components);
    cluster
        .accept(vec![service("shop", "web", 3, "app").unwrap()], Vec::new())
        .unwrap();
    for _ in 0..20 {
        cluster.round(None);
        cluster.restart();
        cluster.agents_obey();
    }
    cluster.settle().unwrap();
    assert_eq!(cluster.running(&web()).len(), 3);
    assert_eq!(
        cluster.state.last_task,
        TaskId(3),
        "no task was started twice"
    );
}

#[test]
fn a_refused_launch_is_tried_again_and_started_once() {
    let components = Components::new().unwrap();
    let mut cluster = cluster(&components);
    cluster
        .accept(vec![service("shop", "web", 10, "app").unwrap()], Vec::new())
        .unwrap();
    cluster.settle().unwrap();
    assert_eq!(cluster.running(&web()).len(), 8, "eight fit");
    cluster.attach("b", 8).unwrap();
    cluster.settle().unwrap();
    assert_eq!(cluster.running(&web()).len(), 10, "new room is offered");
    assert_eq!(cluster.state.last_task, TaskId(10));
}

#[test]
fn a_preview_changes_nothing_and_foretells_what_then_happens() {
    let components = Components::new().unwrap();
    let mut cluster = cluster(&components);
    cluster.attach("b", 8).unwrap();
    let objects = vec![
        service("shop", "web", 3, "app").unwrap(),
        service("shop", "api", 2, "app").unwrap(),
    ];
    let before = cluster.hash();
    let preview = cluster.preview(objects.clone(), Vec::new()).unwrap();
    assert_eq!(cluster.hash(), before);
    let mut foretold: Vec<_> = preview.steps[0]
        .launches
        .iter()
        .map(|launch| (launch.task.clone(), launch.agent.clone(), launch.generation))
        .collect();
    foretold.sort();
    cluster.accept(objects, Vec::new()).unwrap();
    while cluster.round(None) > 0 {}
    let api = ObjectKey::new("Service", "shop".parse().unwrap(), "api");
    let mut happened = cluster.running(&web());
    happened.extend(cluster.running(&api));
    happened.sort();
    assert_eq!(foretold, happened);
}

#[test]
fn a_preview_of_an_update_shows_the_rollout_and_says_what_it_assumes() {
    let components = Components::new().unwrap();
    let mut cluster = cluster(&components);
    cluster
        .accept(vec![service("shop", "web", 2, "app").unwrap()], Vec::new())
        .unwrap();
    cluster.settle().unwrap();
    let preview = cluster
        .preview(
            vec![service("shop", "web", 2, "other").unwrap()],
            Vec::new(),
        )
        .unwrap();
    let launches: usize = preview.steps.iter().map(|step| step.launches.len()).sum();
    let stops: usize = preview.steps.iter().map(|step| step.stops.len()).sum();
    assert_eq!((launches, stops), (2, 2), "{preview:?}");
    assert!(preview.steps[0].assumes.is_none());
    assert!(preview.steps.iter().skip(1).all(|step| {
        step.assumes
            .as_deref()
            .is_some_and(|text| text.contains("healthy"))
    }));
}

#[test]
fn a_broken_version_is_rolled_back_and_not_tried_again() {
    let components = Components::new().unwrap();
    let mut cluster = cluster(&components);
    cluster
        .accept(vec![service("shop", "web", 2, "app").unwrap()], Vec::new())
        .unwrap();
    cluster.settle().unwrap();
    cluster
        .accept(
            vec![service("shop", "web", 2, "broken").unwrap()],
            Vec::new(),
        )
        .unwrap();
    for _ in 0..1200 {
        while cluster.round(None) > 0 {}
        let broken: Vec<TaskId> = cluster
            .state
            .tasks
            .iter()
            .filter(|task| task.generation() == 2 && !task.state().is_terminal())
            .map(|task| task.id())
            .collect();
        for task in broken {
            cluster.exit(task, 1);
        }
        cluster.agents_obey();
        cluster.pass(Millis(1000));
    }
    let object = &cluster.state.objects[&web()];
    assert_eq!(
        (object.status.health, object.status.rollout),
        (Health::Degraded, RolloutState::RolledBack),
        "{:?}",
        object.status
    );
    assert_eq!(object.quarantined_generation(), 2);
    let generations: Vec<u64> = cluster.running(&web()).iter().map(|task| task.2).collect();
    assert_eq!(
        generations,
        [1, 1],
        "the old version was never less than whole"
    );
    let launched = cluster.state.last_task;
    cluster.settle().unwrap();
    assert_eq!(cluster.state.last_task, launched, "nothing fights over it");
}
