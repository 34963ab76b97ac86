//! Rounds: who gets a turn, when, and what it is shown.

use kelson_kernel_core::StateView;
use kelson_kernel_core::command::{Command, CommitTurn, RegisterAgent};
use kelson_kernel_core::port::{Op, SeatRows, SeatView, TurnFault};
use kelson_kernel_core::round::{Round, RoundMemory, plan_round, says_nothing};
use kelson_model::agent::AgentState;
use kelson_model::quantity::Bytes;
use kelson_model::request::SetNamespace;
use kelson_model::task::TaskState;
use kelson_model::time::ClusterTime;
use serde_json::json;

use crate::world::{
    alone, counted, demand, install, launch, machine, ns, seat, service, service_in, spec,
    with_ports,
};

use crate::leader::{Leader, offered, trapped, wake_up};

#[test]
fn where_nothing_is_to_do_nobody_gets_a_turn_and_nobody_wakes() {
    let mut leader = Leader::new();
    leader.world.agent(4, 1024);
    let round = leader.plan();
    assert!(round.turns.is_empty() && round.wake_at.is_none());
    leader.world.serve(&service("web"), spec("a", 1));
    leader.settle();
    let round = leader.plan();
    assert!(round.turns.is_empty() && round.wake_at.is_none());
}

#[test]
fn a_change_is_shown_once() {
    let mut leader = Leader::new();
    let workload = leader.world.serve(&service("web"), spec("a", 1));
    let turn = leader.one();
    let shown = &turn.request.changed.workloads;
    assert_eq!((shown.len(), shown[0].id), (1, workload));
    leader.nothing(&turn);
    assert!(leader.is_quiet());
}

#[test]
fn only_the_seat_of_a_change_gets_a_turn() {
    let mut leader = Leader::new();
    leader.world.serve(&service_in("a", "web"), spec("a", 1));
    leader.world.serve(&service_in("b", "web"), spec("a", 1));
    leader.settle();
    leader.world.serve(&service_in("b", "web"), spec("a", 2));
    assert_eq!(leader.one().request.seat, seat("b"));
}

#[test]
fn what_a_void_or_lost_turn_was_shown_is_shown_again() {
    let mut leader = Leader::new();
    leader.world.agent(4, 1024);
    leader.wanting("default", 2);
    let lost = leader.one();
    leader.memory.turn_was_lost(&lost);
    let void = leader.one();
    assert_eq!(void.request.changed, lost.request.changed);
    assert_eq!(void.request.offers, lost.request.offers);
    leader
        .memory
        .turn_was_void(&void, &trapped(), leader.world.now);
    assert!(leader.is_quiet());
    leader.world.wait(1000);
    let again = leader.one();
    assert_eq!(again.request.changed, lost.request.changed);
    assert_eq!(again.request.offers, lost.request.offers);
}

#[test]
fn a_declined_agent_is_shown_again_when_room_was_made() {
    let mut leader = Leader::new();
    let agent = leader.world.agent(4, 1024);
    let other = leader
        .world
        .serve(&service_in("other", "web"), spec("a", 1));
    leader.world.launch(&service_in("other", "web"), 0, agent);
    leader.wanting("default", 1);
    for turn in leader.plan().turns {
        leader.nothing(&turn);
    }
    leader.settle();
    let task = leader.world.state.tasks_of(other).next().unwrap().id();
    leader.world.say(task, TaskState::Running);
    for turn in leader.plan().turns {
        assert!(turn.request.offers.is_empty(), "running is no room");
        leader.nothing(&turn);
    }
    leader.world.say(task, TaskState::Finished);
    let round = leader.plan();
    let shown = round
        .turns
        .iter()
        .find(|turn| turn.request.seat == seat("default"));
    assert_eq!(offered(shown.unwrap()), [(agent, 1)]);
}

#[test]
fn a_declined_agent_is_shown_again_when_the_demand_or_its_description_changed() {
    let mut leader = Leader::new();
    let agent = leader.world.agent(4, 1024);
    leader.wanting("default", 1);
    let workload = leader.world.workload(&service("web"));
    leader.settle();
    let turn = CommitTurn {
        demand: Some(vec![demand(1, workload, 1, 2)]),
        ..leader.world.turn(&seat("default"))
    };
    counted(leader.world.apply(Command::CommitTurn(turn)));
    let turn = leader.one();
    assert_eq!(offered(&turn), [(agent, 2)]);
    leader.nothing(&turn);
    assert!(leader.is_quiet());
    leader.world.apply(Command::RegisterAgent(RegisterAgent {
        agent: Some(agent),
        token: "token-1".to_owned(),
        incarnation: 2,
        description: machine(8, 2048),
        cluster: String::new(),
    }));
    assert_eq!(offered(&leader.one()), [(agent, 2)]);
}

#[test]
fn an_agent_that_was_taken_in_part_is_shown_again_for_the_rest_of_the_demand() {
    let mut leader = Leader::new();
    let agent = leader.world.agent(4, 1024);
    leader.wanting("default", 3);
    let turn = leader.one();
    assert_eq!(offered(&turn), [(agent, 3)]);
    let workload = leader.world.workload(&service("web"));
    leader.count(&turn, |wish| {
        wish.operations = vec![alone(launch(workload, 1, 0, agent))];
        wish.demand = Some(vec![demand(1, workload, 1, 2)]);
    });
    assert_eq!(offered(&leader.one()), [(agent, 2)]);
}

#[test]
fn an_agent_of_which_all_was_taken_is_shown_again_where_as_much_is_wanted_once_more() {
    let mut leader = Leader::new();
    let agent = leader.world.agent(4, 1024);
    leader.wanting("default", 1);
    let turn = leader.one();
    assert_eq!(offered(&turn), [(agent, 1)]);
    // One slot is filled, and another one has fallen due meanwhile: the demand stays as it was.
    let workload = turn.request.offers[0].workload;
    leader.count(&turn, |wish| {
        wish.operations = vec![alone(launch(workload, 1, 0, agent))];
    });
    let again = leader.one();
    assert_eq!(offered(&again), [(agent, 1)]);
    // What is left is not shown again.
    leader.nothing(&again);
    leader.settle();
}

#[test]
fn only_the_agent_that_has_changed_is_shown_again() {
    let mut leader = Leader::new();
    leader.world.agent(1, 1024);
    leader.wanting("default", 3);
    leader.settle();
    let new = leader.world.agent(1, 1024);
    assert_eq!(offered(&leader.one()), [(new, 1)]);
}

#[test]
fn room_that_one_seat_left_goes_to_the_next() {
    let mut leader = Leader::new();
    leader.world.agent(1, 1024);
    for namespace in ["a", "b", "c"] {
        leader.wanting(namespace, 1);
    }
    let mut shown = Vec::new();
    for _ in 0..10 {
        for turn in leader.plan().turns {
            if !turn.request.offers.is_empty() {
                shown.push(turn.request.seat.clone());
            }
            leader.nothing(&turn);
        }
    }
    shown.sort();
    assert_eq!(shown, ["a", "b", "c"].map(seat), "each sees it once");
}

#[test]
fn room_that_a_void_turn_left_goes_to_the_next() {
    let mut leader = Leader::new();
    leader.world.agent(1, 1024);
    leader.wanting("a", 1);
    leader.wanting("b", 1);
    for turn in leader.plan().turns {
        match turn.request.offers.is_empty() {
            true => leader.nothing(&turn),
            false => leader
                .memory
                .turn_was_void(&turn, &trapped(), leader.world.now),
        }
    }
    let next = leader.one();
    assert_eq!(next.request.seat, seat("b"));
    assert_eq!(next.request.offers.len(), 1);
}

#[test]
fn void_turns_are_tried_again_after_1_second_doubling_to_60() {
    let mut leader = Leader::new();
    leader.world.serve(&service("web"), spec("a", 1));
    for pause in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        let turn = leader.one();
        leader
            .memory
            .turn_was_void(&turn, &trapped(), leader.world.now);
        let due = ClusterTime(leader.world.now.0 + pause * 1000);
        let round = leader.plan();
        assert!(round.turns.is_empty());
        assert_eq!(round.wake_at, Some(due));
        leader.world.now = ClusterTime(due.0 - 1);
        assert!(leader.is_quiet());
        leader.world.now = due;
    }
    let turn = leader.one();
    leader.nothing(&turn);
    assert!(leader.memory.pauses().is_empty());
}

#[test]
fn trips_of_the_guard_pause_ever_longer_as_any_other_fault() {
    let mut leader = Leader::new();
    leader.world.serve(&service("web"), spec("a", 1));
    for (failures, pause) in [(1, 1000), (2, 2000), (3, 4000)] {
        let turn = leader.one();
        let guard = TurnFault::TimedOut { call: "turn" };
        leader.memory.turn_was_void(&turn, &guard, leader.world.now);
        let known = &leader.memory.pauses()[&seat("default")];
        assert_eq!(known.failures, failures);
        assert_eq!(known.until.0, leader.world.now.0 + pause);
        leader.world.wait(pause);
    }
}

#[test]
fn a_paused_seat_leaves_the_others_their_turns() {
    let mut leader = Leader::new();
    leader.world.agent(4, 1024);
    leader.wanting("a", 1);
    leader.wanting("b", 1);
    for turn in leader.plan().turns {
        match turn.request.seat == seat("a") {
            true => leader
                .memory
                .turn_was_void(&turn, &trapped(), leader.world.now),
            false => leader.nothing(&turn),
        }
    }
    leader.settle();
    leader.world.serve(&service_in("a", "web"), spec("b", 1));
    leader.world.serve(&service_in("b", "web"), spec("b", 1));
    assert_eq!(leader.one().request.seat, seat("b"));
}

#[test]
fn a_new_component_is_tried_at_once_and_counted_anew() {
    let mut leader = Leader::new();
    leader.world.serve(&service("web"), spec("a", 1));
    for _ in 0..3 {
        let turn = leader.one();
        leader
            .memory
            .turn_was_void(&turn, &trapped(), leader.world.now);
        leader.world.wait(60_000);
    }
    let turn = leader.one();
    leader
        .memory
        .turn_was_void(&turn, &trapped(), leader.world.now);
    assert!(leader.is_quiet());
    leader
        .world
        .done(Command::InstallFramework(Box::new(install("2"))));
    let turn = leader.one();
    assert_eq!(turn.request.component, crate::world::component("2"));
    leader
        .memory
        .turn_was_void(&turn, &trapped(), leader.world.now);
    assert_eq!(leader.memory.pauses()[&seat("default")].failures, 1);
}

#[test]
fn a_seat_that_is_reset_is_tried_at_once() {
    let mut leader = Leader::new();
    leader.world.serve(&service("web"), spec("a", 1));
    let turn = leader.one();
    leader
        .memory
        .turn_was_void(&turn, &trapped(), leader.world.now);
    leader.memory.reset(&seat("default"));
    leader.one();
}

#[test]
fn a_wake_up_gives_exactly_one_turn() {
    let (mut leader, due) = Leader::with_wake_up();
    let round = leader.plan();
    assert!(round.turns.is_empty());
    assert_eq!(round.wake_at, Some(due));
    leader.world.now = due;
    let turn = leader.one();
    assert_eq!(turn.request.changed, SeatRows::default());
    leader.nothing(&turn);
    for _ in 0..3 {
        let round = leader.plan();
        assert!(round.turns.is_empty() && round.wake_at.is_none());
        leader.world.wait(1000);
    }
}

#[test]
fn a_wake_up_that_was_lost_comes_again() {
    let (mut leader, due) = Leader::with_wake_up();
    leader.world.now = due;
    let turn = leader.one();
    leader.memory.turn_was_lost(&turn);
    let turn = leader.one();
    leader.nothing(&turn);
    assert!(leader.is_quiet());
}

#[test]
fn at_a_wake_up_declined_agents_are_shown_once_more() {
    let mut leader = Leader::new();
    let agent = leader.world.agent(4, 1024);
    leader.wanting("default", 1);
    let turn = leader.one();
    let due = ClusterTime(leader.world.now.0 + 5000);
    leader.count(&turn, |wish| wish.wake_at = Some(due));
    assert!(leader.is_quiet());
    leader.world.now = due;
    let turn = leader.one();
    assert_eq!(offered(&turn), [(agent, 1)]);
    leader.nothing(&turn);
    assert!(leader.is_quiet());
}

#[test]
fn offers_of_one_round_never_hold_the_same_room_or_port_twice() {
    let mut leader = Leader::new();
    let agents = [leader.world.agent(3, 1024), leader.world.agent(2, 1024)];
    for namespace in ["a", "b", "c"] {
        let ports = json!([{"name": "any"}, {"name": "inside", "port": 20_001}]);
        let key = service_in(namespace, "web");
        let workload = leader.world.serve(&key, with_ports(spec("a", 9), ports));
        let plain = leader
            .world
            .serve(&service_in(namespace, "plain"), spec("a", 9));
        let turn = CommitTurn {
            demand: Some(vec![demand(1, workload, 1, 9), demand(2, plain, 1, 9)]),
            ..leader.world.turn(&seat(namespace))
        };
        counted(leader.world.apply(Command::CommitTurn(turn)));
    }
    let round = leader.plan();
    let mut slot = 0;
    for turn in &round.turns {
        for offer in &turn.request.offers {
            for _ in 0..offer.count {
                slot += 1;
                let op = launch(offer.workload, offer.generation, slot, offer.agent);
                let namespace = turn.request.seat.namespace.as_str();
                assert!(leader.world.operate(namespace, vec![op]).is_empty());
            }
        }
    }
    for agent in agents {
        assert_eq!(
            leader.world.the_agent(agent).free().cpus.0,
            0,
            "all was shown"
        );
    }
}

#[test]
fn a_fixed_port_of_the_range_leaves_one_less_for_the_others() {
    let mut leader = Leader::new();
    let mut small = machine(8, 1024);
    small.ports.last = small.ports.first;
    leader.world.attach(small);
    let fixed = with_ports(spec("a", 1), json!([{"name": "p", "port": 20_000}]));
    let any = with_ports(spec("a", 1), json!([{"name": "p"}]));
    let workloads =
        [("one", fixed), ("two", any)].map(|(name, spec)| leader.world.serve(&service(name), spec));
    let turn = CommitTurn {
        demand: Some(vec![
            demand(1, workloads[0], 1, 1),
            demand(2, workloads[1], 1, 1),
        ]),
        ..leader.world.turn(&seat("default"))
    };
    counted(leader.world.apply(Command::CommitTurn(turn)));
    let turn = leader.one();
    assert_eq!(turn.request.offers.len(), 1);
}

#[test]
fn nothing_is_shown_for_a_demand_that_could_not_be_launched() {
    let mut leader = Leader::new();
    let agent = leader.world.agent(8, 1024);
    let strange = leader
        .world
        .serve(&service_in("other", "web"), spec("a", 1));
    let bad = leader.world.serve(&service("bad"), spec("a", 1));
    let removed = leader.world.serve(&service("removed"), spec("a", 1));
    leader.world.launch(&service("removed"), 0, agent);
    leader.world.commit(Vec::new(), vec![service("removed")]);
    let turn = CommitTurn {
        operations: vec![alone(Op::Quarantine {
            workload: bad,
            generation: 1,
            reason: String::new(),
        })],
        demand: Some(vec![
            demand(1, strange, 1, 1),
            demand(2, bad, 1, 1),
            demand(3, removed, 1, 1),
            demand(4, bad, 7, 1),
        ]),
        ..leader.world.turn(&seat("default"))
    };
    counted(leader.world.apply(Command::CommitTurn(turn)));
    assert!(
        leader
            .plan()
            .turns
            .iter()
            .all(|turn| turn.request.offers.is_empty())
    );
}

#[test]
fn the_first_demand_by_priority_is_met_first() {
    let mut leader = Leader::new();
    leader.world.agent(2, 1024);
    let workload = leader.world.serve(&service("web"), spec("a", 9));
    let mut urgent = demand(5, workload, 1, 1);
    urgent.priority = 10;
    let turn = CommitTurn {
        demand: Some(vec![demand(1, workload, 1, 9), urgent]),
        ..leader.world.turn(&seat("default"))
    };
    counted(leader.world.apply(Command::CommitTurn(turn)));
    let turn = leader.one();
    let mut counts: Vec<(u64, u32)> = turn
        .request
        .offers
        .iter()
        .map(|offer| (offer.key, offer.count))
        .collect();
    counts.sort();
    assert_eq!(counts, [(1, 1), (5, 1)]);
}

#[test]
fn spread_uses_many_agents_and_pack_few() {
    use kelson_kernel_core::port::Placement;
    for (placement, agents) in [(Placement::Spread, 3), (Placement::Pack, 1)] {
        let mut leader = Leader::new();
        for _ in 0..3 {
            leader.world.agent(4, 1024);
        }
        let workload = leader.world.serve(&service("web"), spec("a", 3));
        let mut wanted = demand(1, workload, 1, 3);
        wanted.placement = placement;
        let turn = CommitTurn {
            demand: Some(vec![wanted]),
            ..leader.world.turn(&seat("default"))
        };
        counted(leader.world.apply(Command::CommitTurn(turn)));
        assert_eq!(leader.one().request.offers.len(), agents, "{placement:?}");
    }
}

#[test]
fn an_agent_that_cannot_be_reached_is_not_shown_and_those_with_tasks_on_it_hear_of_it() {
    let mut leader = Leader::new();
    let agent = leader.world.agent(4, 1024);
    leader.world.serve(&service("web"), spec("a", 1));
    leader.world.launch(&service("web"), 0, agent);
    leader.settle();
    leader.world.set_agent(agent, AgentState::Unreachable);
    let turn = leader.one();
    assert_eq!(
        turn.request.changed.agents[0].state,
        AgentState::Unreachable
    );
    assert!(turn.request.offers.is_empty());
}

#[test]
fn a_workload_and_tasks_that_are_gone_are_shown_once_as_gone() {
    let mut leader = Leader::new();
    let agent = leader.world.agent(4, 1024);
    let web = service("web");
    let old = leader.world.serve(&web, spec("a", 1));
    let task = leader.world.launch(&web, 0, agent);
    leader.settle();
    leader.world.commit(Vec::new(), vec![web.clone()]);
    let new = leader.world.serve(&web, spec("a", 1));
    let turn = leader.one();
    let shown: Vec<_> = turn
        .request
        .changed
        .workloads
        .iter()
        .map(|row| (row.id, row.is_gone))
        .collect();
    assert_eq!(shown, [(old, true), (new, false)]);
    leader.nothing(&turn);
    leader.world.say(task, TaskState::Killed);
    let turn = leader.one();
    let rows = &turn.request.changed.tasks;
    assert_eq!((rows.len(), rows[0].id, rows[0].is_gone), (1, task, true));
    leader.nothing(&turn);
    leader.world.commit(Vec::new(), vec![web]);
    let turn = leader.one();
    let rows = &turn.request.changed.workloads;
    assert_eq!((rows.len(), rows[0].id, rows[0].is_gone), (1, new, true));
    leader.nothing(&turn);
    assert!(leader.is_quiet());
}

#[test]
fn a_new_leader_shows_every_row_once() {
    let mut leader = Leader::new();
    let agent = leader.world.agent(4, 1024);
    let workload = leader.world.serve(&service("web"), spec("a", 1));
    let task = leader.world.launch(&service("web"), 0, agent);
    leader.settle();
    for state in [
        leader.world.state.clone(),
        crate::world::through_snapshot(&leader.world.state),
    ] {
        leader.world.state = state;
        leader.memory = RoundMemory::default();
        let turn = leader.one();
        assert_eq!(turn.request.changed.workloads[0].id, workload);
        assert_eq!(turn.request.changed.tasks[0].id, task);
        leader.settle();
    }
}

#[test]
fn all_rows_of_a_seat_are_its_own() {
    let mut leader = Leader::new();
    let agent = leader.world.agent(4, 1024);
    for namespace in ["a", "a/b", "b"] {
        let key = service_in(namespace, "web");
        leader.world.serve(&key, spec("a", 1));
        leader.world.launch(&key, 0, agent);
    }
    let view = StateView {
        state: leader.world.state.clone(),
        seat: seat("a"),
    };
    let rows = view.all_rows();
    assert_eq!(
        (rows.workloads.len(), rows.tasks.len(), rows.agents.len()),
        (1, 1, 1)
    );
    let workload = rows.workloads[0].id;
    assert_eq!(view.name(workload).as_deref(), Some("web"));
    let text = view.spec(workload, 1).unwrap();
    assert!(text.contains("\"instances\":1"), "{text}");
    assert_eq!(view.spec(workload, 2), None);
}

#[test]
fn the_seed_differs_from_turn_to_turn_and_is_the_same_for_the_same_turn() {
    let mut leader = Leader::new();
    leader.world.serve(&service("web"), spec("a", 1));
    let first = leader.one();
    leader.memory.turn_was_lost(&first);
    let again = leader.one();
    assert_eq!(first.request.seed, again.request.seed);
    assert!(first.request.seed < 1 << 53);
    leader.count(&again, |_| {});
    leader.world.serve(&service("web"), spec("a", 2));
    assert_ne!(leader.one().request.seed, first.request.seed);
}

#[test]
fn the_same_state_and_memory_give_the_same_round() {
    let mut leader = Leader::new();
    for cpus in [1, 4, 2] {
        leader.world.attach(machine(cpus, 512));
    }
    for (namespace, weight) in [("a", 3), ("b", 1), ("c", 2)] {
        leader.world.done(Command::SetNamespace(SetNamespace {
            namespace: ns(namespace),
            weight,
        }));
        leader.wanting(namespace, 5);
    }
    let show = |round: &Round| -> Vec<_> {
        let turns = round.turns.iter();
        turns
            .map(|turn| {
                let request = &turn.request;
                (
                    request.seat.clone(),
                    request.offers.clone(),
                    request.changed.clone(),
                )
            })
            .collect()
    };
    let mut other = leader.memory.clone();
    let first = leader.plan();
    let second = plan_round(&leader.world.state.clone(), &mut other, leader.world.now);
    assert_eq!(show(&first), show(&second));
    assert_eq!(first.turns.len(), 3);
}

#[test]
fn the_limits_and_pairs_of_a_turn_are_those_of_its_seat() {
    let mut leader = Leader::new();
    leader.world.serve(&service("web"), spec("a", 1));
    let turn = leader.one();
    assert_eq!(turn.request.limits.state, Bytes(1000));
    assert!(turn.request.pairs.is_empty() && !turn.request.is_throw_away);
}

#[test]
fn a_wish_to_be_woken_that_is_due_is_never_the_same_as_the_one_before() {
    let (mut leader, due) = Leader::with_wake_up();
    leader.world.now = due;
    // The turn begins in the very millisecond of its wake-up and asks to be woken at once.
    let turn = leader.one();
    let wish = wake_up(Some(due));
    let state = &leader.world.state;
    assert!(!says_nothing(
        state,
        &seat("default"),
        &wish,
        turn.request.now
    ));
    leader.count(&turn, |commit| commit.wake_at = wish.wake_at);
    leader.world.wait(1000);
    assert_eq!(leader.one().request.turn_no, 3, "it is woken once more");
}

#[test]
fn a_wish_for_the_wake_up_that_stands_says_nothing() {
    let (leader, due) = Leader::with_wake_up();
    let says_nothing =
        |at, now| says_nothing(&leader.world.state, &seat("default"), &wake_up(at), now);
    let now = leader.world.now;
    assert!(says_nothing(Some(due), now));
    assert!(!says_nothing(None, now), "the wake-up is taken back");
    assert!(!says_nothing(Some(ClusterTime(due.0 + 1)), now));
    assert!(says_nothing(None, due), "it was used up");
}
