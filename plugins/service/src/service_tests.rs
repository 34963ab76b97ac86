#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests"
)]

use kelson_sdk::serde_json::json;
use kelson_sdk::testing::Asked;
use kelson_sdk::{Agent, AgentState, Refusal, TaskState};

use super::*;

#[path = "service_world.rs"]
mod world;

use world::{Conduct, World, spec};

const HEALTHY: (u32, u32) = (0, 1);
const ROLLED_BACK: (u32, u32) = (2, 2);

#[test]
fn a_service_becomes_healthy_and_comes_to_rest() {
    let mut world = World::new(&[2, 2]);
    world.commit(100, &spec(3, 1, 0));
    world.run();
    assert_eq!((world.said().health, world.said().rollout), HEALTHY);
    assert_eq!(world.rows[&1].good_generation, Some(1));
    assert_eq!(world.launched, 3);
    let agents: BTreeSet<u32> = world.live().map(|task| task.agent).collect();
    assert_eq!(agents.len(), 2, "spread");
    assert_eq!(
        world.turn(),
        Asked::default(),
        "nothing to do, nothing asked"
    );
}

#[test]
fn a_restored_instance_asks_for_nothing_new() {
    let mut world = World::new(&[8]);
    world.commit(100, &spec(3, 1, 0));
    world.run();
    world.forget_instance();
    let asked = world.turn();
    assert!(asked.launches.is_empty() && asked.kills.is_empty() && asked.forgets.is_empty());
    assert_eq!(asked.statuses.first(), Some(world.said()), "the same again");
}

#[test]
fn a_rollout_never_serves_less_nor_takes_more_than_it_may() {
    for (surge, unavailable) in [(1, 0), (0, 1), (2, 0), (0, 3), (2, 2), (1, 1)] {
        let mut world = World::new(&[20]);
        world.commit(100, &spec(5, surge, unavailable));
        world.run();
        world.commit(200, &spec(5, surge, unavailable));
        world.run();
        let name = format!("surge {surge}, unavailable {unavailable}");
        assert_eq!(
            (world.said().health, world.said().rollout),
            HEALTHY,
            "{name}"
        );
        assert!(world.live().all(|task| task.template_id == 200), "{name}");
        assert_eq!(world.live().count(), 5, "{name}");
        let (surge, unavailable) = (
            usize::try_from(surge).unwrap(),
            usize::try_from(unavailable).unwrap(),
        );
        // Neither more than is allowed, nor less: a rollout that dawdles is wrong too.
        assert_eq!(world.most_live, 5 + surge, "{name}");
        assert_eq!(world.least_served, 5 - unavailable, "{name}");
        assert_eq!(world.launched, 10, "{name}: each task once");
    }
}

#[test]
fn a_rollout_by_instances_that_are_restored_at_every_turn_ends_the_same() {
    let mut world = World::new(&[9, 9]);
    world.commit(100, &spec(4, 1, 0));
    world.run();
    world.commit(200, &spec(4, 1, 0));
    for _ in 0..60 {
        world.forget_instance();
        world.turn();
        world.watch();
        if !world.act() && world.cut().is_empty() && world.changed.is_empty() {
            world.now = world.wake_at.unwrap_or(world.now);
        }
    }
    assert_eq!((world.said().health, world.said().rollout), HEALTHY);
    assert_eq!(
        (world.launched, world.most_live, world.least_served),
        (8, 5, 4)
    );
}

#[test]
fn a_broken_version_is_rolled_back_and_nobody_notices() {
    for conduct in [Conduct::Crashes, Conduct::NeverHealthy] {
        let mut world = World::new(&[20]);
        world.conduct.insert(200, conduct);
        world.commit(100, &spec(3, 1, 0));
        world.run();
        world.commit(200, &spec(3, 1, 0));
        world.run();
        assert_eq!(
            (world.said().health, world.said().rollout),
            ROLLED_BACK,
            "{conduct:?}"
        );
        assert_eq!(world.said().reason, "RolledBack");
        let why = if conduct == Conduct::Crashes {
            "failed (web1.0 exited with status 1)"
        } else {
            "did not become healthy in time"
        };
        assert_eq!(
            world.said().message,
            format!("generation 2 {why} and was rolled back; generation 1 runs: 3 of 3 healthy")
        );
        assert_eq!(world.rows[&1].quarantined_generation, Some(2));
        assert_eq!(world.least_served, 3, "{conduct:?}");
        assert!(world.live().all(|task| task.template_id == 100));
        let tried: BTreeSet<u32> = world
            .tasks
            .values()
            .filter(|task| task.template_id == 200)
            .map(|task| task.slot)
            .collect();
        assert!(tried.len() <= 1, "{conduct:?}: tried in {tried:?}");
        // What git says next is tried again.
        world.commit(300, &spec(3, 1, 0));
        world.run();
        assert_eq!((world.said().health, world.said().rollout), HEALTHY);
        assert!(world.live().all(|task| task.template_id == 300));
    }
}

#[test]
fn a_rollback_in_the_middle_brings_back_what_had_gone() {
    let mut world = World::new(&[20]);
    world.commit(100, &spec(4, 1, 0));
    world.run();
    world.commit(200, &spec(4, 1, 0));
    let begin = world.now;
    world.run_until(begin + 11_000);
    let gone_over = world
        .live()
        .filter(|task| task.template_id == 200 && task.is_ready)
        .count();
    assert!((1..4).contains(&gone_over), "{gone_over}");
    world.conduct.insert(200, Conduct::Crashes);
    world.run();
    assert_eq!((world.said().health, world.said().rollout), ROLLED_BACK);
    assert!(world.live().all(|task| task.template_id == 100));
    assert_eq!(world.live().count(), 4);
    assert_eq!(world.least_served, 4);
}

fn with_port(port: Value) -> String {
    let mut spec: Value = kelson_sdk::serde_json::from_str(&spec(2, 1, 0)).unwrap();
    spec["ports"] = json!([{"name": "http", "port": port}]);
    spec.to_string()
}

#[test]
fn a_version_whose_own_port_is_taken_is_rolled_back_and_one_whose_port_is_picked_is_not() {
    for (port, outcome) in [(json!(9090), ROLLED_BACK), (Value::Null, (1, 0))] {
        let mut world = World::new(&[20]);
        world.conduct.insert(200, Conduct::PortTaken);
        world.commit(100, &with_port(json!(8080)));
        world.run();
        world.commit(200, &with_port(port.clone()));
        world.run_until(world.now + 130_000);
        assert_eq!(
            world.rows[&1].quarantined_generation.is_some(),
            outcome == ROLLED_BACK
        );
        assert_eq!(world.said().rollout, outcome.1, "{port}");
        assert_eq!(world.least_served, 2, "{port}: the old tasks stay");
        if outcome == ROLLED_BACK {
            let message = &world.said().message;
            assert!(
                message.contains("failed (web1.0 could not be started"),
                "{message}"
            );
        }
    }
}

#[test]
fn an_old_task_goes_first_only_where_it_may_hold_a_port_that_the_new_one_asks_for() {
    for (old, new, goes_first) in [
        (json!(8080), json!(8080), true),
        (json!(8080), json!(9090), false),
        (json!(8080), Value::Null, false),
        (Value::Null, json!(9090), true),
    ] {
        let mut world = World::new(&[20]);
        world.commit(100, &with_port(old.clone()));
        world.run();
        world.commit(200, &with_port(new.clone()));
        world.run();
        assert_eq!((world.said().health, world.said().rollout), HEALTHY);
        assert_eq!(
            (world.least_served, world.most_live),
            if goes_first { (1, 2) } else { (2, 3) },
            "{old} then {new}"
        );
    }
}

#[test]
fn a_first_version_that_crashes_backs_off_and_is_not_given_up() {
    let mut world = World::new(&[4]);
    world.conduct.insert(100, Conduct::Crashes);
    world.commit(100, &spec(1, 1, 0));
    world.run_until(60_000);
    assert_eq!((world.said().health, world.said().rollout), (2, 0));
    assert_eq!(world.said().reason, "CrashLoop");
    assert_eq!(world.rows[&1].quarantined_generation, None);
    assert!((10..30).contains(&world.launched), "{}", world.launched);
    assert!(world.tasks.len() <= 3, "old failures are forgotten");
}

#[test]
fn too_little_room_is_told_and_used_when_it_comes() {
    let mut world = World::new(&[2]);
    world.commit(100, &spec(3, 1, 0));
    world.run_until(20_000);
    assert_eq!(world.said().reason, "NoOffers");
    assert_eq!(
        world.said().message,
        "2 of 3 healthy; no offers for 1 task of 0.1 cpus and 128Mi"
    );
    assert_eq!(world.demand.len(), 1);
    world.room[0] = 3;
    world.run();
    assert_eq!((world.said().health, world.said().rollout), HEALTHY);
    assert!(world.demand.is_empty());
}

#[test]
fn a_version_that_waited_for_room_is_given_its_whole_deadline() {
    let mut world = World::new(&[2]);
    world.conduct.insert(200, Conduct::NeverHealthy);
    world.commit(100, &spec(2, 1, 0));
    world.run();
    world.commit(200, &spec(2, 1, 0));
    world.run_until(world.now + 20_000);
    assert_eq!(world.said().reason, "NoOffers");
    assert_eq!(world.said().health, 1, "waiting is not failing");
    // An hour, and then there is room.
    world.now += 3_600_000;
    world.room[0] = 3;
    let begin = world.now;
    world.run_until(begin + 60_000);
    assert!(world.live().any(|task| task.template_id == 200));
    world.forget_instance();
    world.run_until(begin + 110_000);
    assert_eq!(world.rows[&1].quarantined_generation, None);
    world.run();
    assert_eq!((world.said().health, world.said().rollout), ROLLED_BACK);
    assert!(world.now >= begin + 120_000);
    assert_eq!(world.stage.pair("waited/1"), None, "nothing is left of it");
}

#[test]
fn a_version_that_never_ran_is_nothing_to_go_back_to() {
    let mut world = World::new(&[4]);
    world.commit(100, &spec(0, 1, 0));
    world.run();
    assert_eq!((world.said().health, world.said().rollout), HEALTHY);
    assert_eq!(world.rows[&1].good_generation, None);
    world.conduct.insert(200, Conduct::Crashes);
    world.commit(200, &spec(1, 1, 0));
    world.run_until(world.now + 300_000);
    assert_eq!(world.rows[&1].quarantined_generation, None);
    assert_eq!(world.said().reason, "CrashLoop");
}

#[test]
fn scaling_up_and_down_leaves_the_others_alone() {
    let mut world = World::new(&[20]);
    world.commit(100, &spec(2, 1, 0));
    world.run();
    world.commit(100, &spec(5, 1, 0));
    world.run();
    assert_eq!(world.launched, 5);
    world.commit(100, &spec(1, 1, 0));
    world.run();
    let left: Vec<u64> = world.tasks.keys().copied().collect();
    assert_eq!(left, [1], "the first is the one that it was");
    assert_eq!(world.rows[&1].good_generation, Some(3));
}

#[test]
fn a_removed_service_leaves_nothing() {
    let mut world = World::new(&[20]);
    world.commit(100, &spec(3, 1, 0));
    world.run();
    world.rows.get_mut(&1).unwrap().is_gone = true;
    world.changed_rows.insert(1);
    world.run();
    assert!(world.tasks.is_empty());
    assert_eq!(world.runner.cluster().workloads().count(), 0);
}

#[test]
fn a_service_that_left_without_a_last_row_is_not_waited_for() {
    let mut world = World::new(&[0]);
    world.commit(100, &spec(3, 1, 0));
    world.turn();
    assert_eq!(world.demand.len(), 1);
    world.stage.names.clear();
    world.run_until(600_000);
    assert!(world.demand.is_empty());
}

#[test]
fn a_killed_task_is_replaced() {
    let mut world = World::new(&[20]);
    world.commit(100, &spec(2, 1, 0));
    world.run();
    let now = world.now;
    let task = world.tasks.get_mut(&1).unwrap();
    (task.state, task.state_since, task.is_ready) = (TaskState::Failed, now, false);
    task.is_ended_by_hand = true;
    world.changed.insert(1);
    world.run();
    assert_eq!((world.said().health, world.said().rollout), HEALTHY);
    assert_eq!(world.launched, 3);
    assert!(
        world.now - now < 6000,
        "it lived long enough to be replaced at once"
    );
}

#[test]
fn an_offer_for_an_older_generation_is_left() {
    let mut world = World::new(&[20]);
    world.commit(100, &spec(2, 1, 0));
    world.turn();
    assert_eq!(world.demand[0].generation, 1);
    world.commit(200, &spec(2, 1, 0));
    let asked = world.turn();
    assert!(asked.launches.is_empty(), "launching would void the turn");
    assert_eq!(world.demand[0].generation, 2);
    world.run();
    assert!(world.live().all(|task| task.template_id == 200));
}

#[test]
fn a_refused_launch_is_asked_for_again() {
    let mut world = World::new(&[20]);
    world.commit(100, &spec(1, 1, 0));
    world.turn();
    let asked = world.turn();
    assert_eq!(asked.launches.len(), 1);
    assert!(world.demand.is_empty());
    // The commit refused it after all.
    world.tasks.clear();
    world.changed.clear();
    world.refusals = vec![Refusal {
        group: 0,
        subject: 1,
        reason: "no room".into(),
    }];
    world.turn();
    assert_eq!(world.demand.len(), 1);
}

#[test]
fn an_unreachable_agent_is_waited_for_and_a_lost_task_replaced() {
    let mut world = World::new(&[1, 1]);
    world.commit(100, &spec(1, 1, 0));
    world.run();
    let agent = |state| Agent {
        id: 0,
        state,
        free_cpus: 0,
        free_memory: 0,
        free_disk: 0,
    };
    world.stage.agents = vec![agent(AgentState::Unreachable)];
    let asked = world.turn();
    assert!(asked.kills.is_empty() && asked.demand.is_none());
    assert!(
        world.said().message.contains("cannot be reached"),
        "{:?}",
        world.said()
    );
    let now = world.now;
    let task = world.tasks.get_mut(&1).unwrap();
    (task.state, task.state_since, task.is_ready) = (TaskState::Lost, now, false);
    task.is_agent_lost = true;
    world.changed.insert(1);
    world.room[0] = 0;
    world.run();
    assert_eq!((world.said().health, world.said().rollout), HEALTHY);
    assert_eq!(world.live().next().unwrap().agent, 1);
}

#[test]
fn a_turn_never_asks_for_more_than_its_share_and_goes_on_at_once() {
    let mut world = World::new(&[5000]);
    world.commit(100, &spec(5000, 1, 0));
    world.turn();
    let asked = world.turn();
    assert_eq!(asked.launches.len(), OPERATIONS);
    assert_eq!(world.demand[0].count, 3000);
    world.run();
    assert_eq!(world.live().count(), 5000);
    world.commit(100, &spec(0, 1, 0));
    let asked = world.turn();
    assert_eq!(asked.kills.len(), OPERATIONS);
    assert_eq!(asked.wake_at, Some(world.now));
    world.run();
    assert!(world.tasks.is_empty());
}

#[test]
fn services_do_not_disturb_each_other() {
    let mut world = World::new(&[50]);
    for id in 1..=3 {
        world.commit_of(id, 100 + id, &spec(2, 1, 0));
    }
    world.run();
    assert!(
        world
            .said
            .values()
            .all(|said| (said.health, said.rollout) == HEALTHY)
    );
    world.commit_of(2, 300, &spec(2, 1, 0));
    let asked = world.turn();
    assert!(asked.statuses.iter().all(|said| said.workload == 2));
    world.run();
    assert_eq!(world.launched, 8);
}

#[test]
fn services_that_change_all_the_time_do_not_starve_the_others() {
    let mut world = World::new(&[0]);
    for id in 1..=700 {
        world.commit_of(id, 100, &spec(1, 1, 0));
    }
    let asked = world.turn();
    let first = asked.demand.unwrap_or_default().len();
    assert!(
        (1..700).contains(&first),
        "{first} do not fit into one turn"
    );
    for _ in 0..5 {
        world.changed_rows.extend(1..=350);
        world.turn();
    }
    assert_eq!(world.demand.len(), 700);
}

#[test]
fn services_are_all_looked_at_though_every_turn_has_a_new_instance() {
    let mut world = World::new(&[0]);
    for id in 1..=1000 {
        world.commit_of(id, 100, &spec(1, 1, 0));
    }
    for _ in 0..5 {
        world.forget_instance();
        world.turn();
    }
    assert_eq!(world.said.len(), 1000);
}

#[test]
fn a_service_with_an_offer_is_looked_at_first_however_many_wait() {
    let mut world = World::new(&[0]);
    for id in 1..=1000 {
        world.commit_of(id, 100, &spec(1, 1, 0));
    }
    while world.demand.len() < 1000 {
        world.turn();
    }
    // All of them are due again, and the last one has an offer.
    world.demand.reverse();
    world.room[0] = 1;
    world.changed_rows.extend(1..=1000);
    let asked = world.turn();
    let launched: Vec<u64> = asked.launches.iter().map(|one| one.workload).collect();
    assert_eq!(launched, [1000]);
}
