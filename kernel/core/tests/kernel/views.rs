use kelson_kernel_core::StateView;
use kelson_kernel_core::port::SeatView;
use kelson_model::agent::AgentState;
use kelson_model::id::{AgentId, WorkloadId};

use crate::world::{World, machine, seat, service_in, spec};

#[test]
fn a_seat_reads_the_workloads_of_its_own_namespace_only() {
    let mut world = World::new();
    let mine = world.serve(&service_in("shop", "web"), spec("mine", 1));
    let other = world.serve(&service_in("data", "store"), spec("secret", 1));
    let view = StateView {
        state: world.state.clone(),
        seat: seat("shop"),
    };
    assert_eq!(view.name(mine).as_deref(), Some("web"));
    assert!(view.spec(mine, 1).is_some_and(|spec| spec.contains("mine")));
    for workload in (1..100).map(WorkloadId).filter(|id| *id != mine) {
        assert_eq!(view.name(workload), None);
        assert_eq!(view.spec(workload, 1), None);
    }
    let view = StateView {
        seat: seat("data"),
        ..view
    };
    assert_eq!(view.name(other).as_deref(), Some("store"));
}

#[test]
fn a_seat_reads_the_attributes_of_agents_that_may_serve_it_or_run_its_tasks() {
    let mut world = World::new();
    let mut with_attributes = || {
        let mut machine = machine(4, 1024);
        machine.attributes = [("rack".to_owned(), "7".to_owned())].into();
        world.attach(machine)
    };
    let (ready, mine, other) = (with_attributes(), with_attributes(), with_attributes());
    for (namespace, agent) in [("shop", mine), ("data", other)] {
        let key = service_in(namespace, "web");
        world.serve(&key, spec("a", 1));
        world.launch(&key, 0, agent);
        world.set_agent(agent, AgentState::Unreachable);
    }
    let view = StateView {
        state: world.state.clone(),
        seat: seat("shop"),
    };
    assert!(view.attributes(ready).is_some());
    assert!(view.attributes(mine).is_some());
    assert_eq!(view.attributes(other), None);
    assert_eq!(view.attributes(AgentId(99)), None);
}
