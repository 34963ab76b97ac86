//! Why an object is not as it should be: the answer is always there, and names what its seat waits
//! for.

use kelson_kernel_core::explain_object;
use kelson_kernel_core::port::Op;
use kelson_model::object::{Health, RolloutState};
use kelson_model::task::TaskState;
use kelson_model::time::ClusterTime;

use crate::leader::{Leader, trapped};
use crate::world::{alone, service, spec};

/// The reasons that are given for the Service `web`.
fn reasons(leader: &Leader) -> Vec<String> {
    let world = &leader.world;
    let lines = explain_object(&world.state, &leader.memory, &service("web"), world.now).unwrap();
    lines.into_iter().map(|line| line.reason).collect()
}

#[test]
fn a_service_that_does_not_get_on_is_told_what_its_seat_waits_for() {
    let mut leader = Leader::new();
    let workload = leader.world.serve(&service("web"), spec("a", 1));
    let turn = leader.one();
    assert_eq!(reasons(&leader), ["TurnUnderWay"]);
    let due = ClusterTime(leader.world.now.0 + 5000);
    leader.count(&turn, |wish| {
        wish.wake_at = Some(due);
        wish.operations = vec![alone(Op::SetStatus {
            workload,
            generation: 1,
            health: Health::Progressing,
            rollout: RolloutState::Progressing,
            reason: String::new(),
            message: String::new(),
        })];
    });
    assert!(leader.is_quiet());
    assert_eq!(reasons(&leader), ["WaitsForTime"]);
    leader.world.now = due;
    assert_eq!(reasons(&leader), ["TurnDue"]);
    let turn = leader.one();
    leader.nothing(&turn);
    assert!(leader.is_quiet());
    assert_eq!(reasons(&leader), ["WaitsForChange"]);
    leader.world.serve(&service("web"), spec("b", 1));
    let turn = leader.one();
    leader
        .memory
        .turn_was_void(&turn, &trapped(), leader.world.now);
    assert_eq!(reasons(&leader), ["SchedulerPaused"]);
}

#[test]
fn a_service_that_is_healthy_waits_for_nothing() {
    let mut leader = Leader::new();
    let workload = leader.world.serve(&service("web"), spec("a", 1));
    let turn = leader.one();
    leader.count(&turn, |wish| {
        wish.operations = vec![alone(Op::SetStatus {
            workload,
            generation: 1,
            health: Health::Healthy,
            rollout: RolloutState::Complete,
            reason: String::new(),
            message: String::new(),
        })];
    });
    assert_eq!(reasons(&leader), ["AsItShouldBe"]);
}

#[test]
fn only_the_newest_task_of_a_slot_explains_anything() {
    let mut leader = Leader::new();
    let agent = leader.world.agent(4, 1024);
    leader.world.serve(&service("web"), spec("a", 2));
    let first = leader.world.launch(&service("web"), 0, agent);
    let said = |leader: &Leader| {
        let (world, key) = (&leader.world, service("web"));
        let lines = explain_object(&world.state, &leader.memory, &key, world.now).unwrap();
        lines.iter().filter(|line| line.reason == "Task").count()
    };
    leader.world.say(first, TaskState::Failed);
    assert_eq!(said(&leader), 1);
    let second = leader.world.launch(&service("web"), 0, agent);
    leader.world.say(second, TaskState::Running);
    assert_eq!(said(&leader), 0);
}
