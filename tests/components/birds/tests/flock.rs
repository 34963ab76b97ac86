//! The logic of birds, natively: the same code that runs in the sandbox.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::tests_outside_test_module,
    reason = "tests"
)]

use kelson_sdk::testing::Stage;
use kelson_sdk::{Check, Offer, Runner, Scheduler, Task, TaskState, Workload};
use kelson_test_birds::Birds;

fn flock(is_gone: bool) -> Workload {
    Workload {
        id: 1,
        generation: 1,
        good_generation: None,
        quarantined_generation: None,
        template_id: 5,
        good_template_id: None,
        generation_since: 0,
        kind: 0,
        is_gone,
    }
}

fn bird(id: u64, slot: u32, state: TaskState) -> Task {
    Task {
        id,
        workload: 1,
        generation: 1,
        template: 0,
        template_id: 5,
        slot,
        agent: 0,
        state,
        health: Check::Healthy,
        is_ready: true,
        is_stop_asked: false,
        is_ended_by_hand: false,
        is_out_of_memory: false,
        is_agent_lost: false,
        is_port_taken: false,
        state_since: 5000,
        healthy_since: Some(5000),
        exit_code: None,
        attempts: 1,
    }
}

fn stage(birds: u32) -> Stage {
    let mut stage = Stage::default();
    stage.specs.insert((1, 1), format!("{{\"birds\":{birds}}}"));
    stage.names.insert(1, "geese".into());
    stage.workloads = vec![flock(false)];
    stage
}

#[test]
fn a_flock_takes_what_it_is_offered_and_asks_for_the_rest() {
    let mut stage = stage(5);
    let mut runner = Runner::<Birds>::default();
    runner.turn(&stage, 1000, 0, 1).unwrap();
    let demand = stage.take().demand.unwrap();
    assert_eq!(demand[0].count, 5);
    stage.offers = vec![Offer {
        id: 0,
        key: demand[0].key,
        agent: 0,
        count: 3,
    }];
    runner.turn(&stage, 1000, 0, 2).unwrap();
    let asked = stage.take();
    let slots: Vec<u32> = asked.launches.iter().map(|launch| launch.slot).collect();
    assert_eq!(slots, [0, 1, 2]);
    assert_eq!(asked.demand.unwrap()[0].count, 2);
}

#[test]
fn a_bird_that_fell_is_replaced_after_a_second() {
    let mut stage = stage(1);
    let mut runner = Runner::<Birds>::default();
    stage.tasks = vec![(bird(1, 0, TaskState::Failed), false)];
    runner.turn(&stage, 5500, 0, 1).unwrap();
    let asked = stage.take();
    assert_eq!((asked.wake_at, asked.demand), (Some(6000), Some(vec![])));
    runner.turn(&stage, 6000, 0, 2).unwrap();
    assert_eq!(stage.take().demand.unwrap()[0].count, 1);
}

#[test]
fn a_flock_that_shrinks_or_goes_loses_its_birds() {
    let mut stage = stage(1);
    let mut runner = Runner::<Birds>::default();
    stage.tasks = vec![
        (bird(1, 0, TaskState::Running), false),
        (bird(2, 1, TaskState::Running), false),
        (bird(3, 2, TaskState::Lost), false),
    ];
    runner.turn(&stage, 6000, 0, 1).unwrap();
    let asked = stage.take();
    assert_eq!((asked.kills, asked.forgets), (vec![(2, 1)], vec![3]));
    assert_eq!(asked.good, [(1, 1)]);
    stage.workloads = vec![flock(true)];
    stage.tasks = vec![(bird(2, 1, TaskState::Killed), true)];
    runner.turn(&stage, 7000, 0, 2).unwrap();
    assert_eq!(stage.take().kills, [(1, 1)]);
}

#[test]
fn a_flock_that_left_without_a_last_row_does_not_stop_the_others() {
    let mut stage = stage(1);
    let mut runner = Runner::<Birds>::default();
    stage.specs.clear();
    stage.names.clear();
    runner.turn(&stage, 1000, 0, 1).unwrap();
    assert_eq!(stage.take().demand, Some(vec![]));
}

#[test]
fn birds_describe_a_flock() {
    let description = Birds::describe();
    assert_eq!(description.kinds[0].kind, "Flock");
    assert_eq!(description.kinds[0].schema["additionalProperties"], false);
}
