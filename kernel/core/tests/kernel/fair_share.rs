//! Fair share: who gets how much where everybody wants more than there is.

use kelson_kernel_core::command::{Command, CommitTurn};
use kelson_kernel_core::port::{Op, Operation};
use kelson_model::id::WorkloadId;
use kelson_model::request::SetNamespace;
use kelson_model::task::TaskState;
use serde_json::Value;

use crate::leader::Leader;
use crate::world::{alone, counted, demand, launch, ns, seat, service_in, template};

/// Gives a namespace a workload that wants this many tasks.
fn want(leader: &mut Leader, namespace: &str, template: Value, count: u32) -> WorkloadId {
    let workload = leader.world.serve(&service_in(namespace, "web"), template);
    let turn = CommitTurn {
        demand: Some(vec![demand(1, workload, 1, count)]),
        ..leader.world.turn(&seat(namespace))
    };
    counted(leader.world.apply(Command::CommitTurn(turn)));
    workload
}

fn weigh(leader: &mut Leader, namespace: &str, weight: u32) {
    leader.world.done(Command::SetNamespace(SetNamespace {
        namespace: ns(namespace),
        weight,
    }));
}

/// Runs rounds in which every seat launches at most `greed` of what it is offered, until nothing
/// happens.
fn run(leader: &mut Leader, greed: u32) {
    for _ in 0..500 {
        let round = leader.plan();
        if round.turns.is_empty() {
            return;
        }
        for turn in &round.turns {
            let first = leader.world.state.last_task.0;
            let mut operations: Vec<Operation> = Vec::new();
            for offer in &turn.request.offers {
                for _ in 0..offer.count {
                    let slot =
                        u32::try_from(first).unwrap() + u32::try_from(operations.len()).unwrap();
                    let op = launch(offer.workload, offer.generation, slot, offer.agent);
                    operations.push(alone(op));
                }
            }
            operations.truncate(usize::try_from(greed).unwrap());
            if operations.is_empty() {
                leader.nothing(turn);
                continue;
            }
            let launched = u32::try_from(operations.len()).unwrap();
            let mut demand = leader.world.state.seats[&turn.request.seat].demand.to_vec();
            demand[0].count -= launched;
            leader.count(turn, |wish| {
                wish.operations = operations;
                wish.demand = Some(demand);
            });
        }
    }
    panic!("there is no end of rounds");
}

fn one_cpu() -> Value {
    template("a", 1000, 1)
}

#[test]
fn weights_of_1_and_3_end_with_shares_of_1_and_3() {
    for greed in [1, 2, u32::MAX] {
        let mut leader = Leader::new();
        for _ in 0..4 {
            leader.world.agent(10, 65_536);
        }
        weigh(&mut leader, "b", 3);
        want(&mut leader, "a", one_cpu(), 100);
        want(&mut leader, "b", one_cpu(), 100);
        run(&mut leader, greed);
        let (a, b) = (leader.world.live_in("a"), leader.world.live_in("b"));
        assert_eq!(a + b, 40, "all is used");
        if greed == u32::MAX {
            assert!(a.abs_diff(10) <= 1 && b.abs_diff(30) <= 1, "{a} and {b}");
        }
    }
}

#[test]
fn a_latecomer_gets_its_share_of_what_comes_free() {
    let mut leader = Leader::new();
    leader.world.agent(12, 65_536);
    let first = want(&mut leader, "a", one_cpu(), 100);
    run(&mut leader, u32::MAX);
    assert_eq!(leader.world.live_in("a"), 12);
    want(&mut leader, "b", one_cpu(), 100);
    run(&mut leader, u32::MAX);
    assert_eq!(leader.world.live_in("b"), 0);
    let tasks: Vec<_> = leader
        .world
        .state
        .tasks_of(first)
        .map(|task| task.id())
        .collect();
    for task in tasks {
        if leader.world.live_in("b") == 6 {
            break;
        }
        leader.world.say(task, TaskState::Finished);
        run(&mut leader, u32::MAX);
    }
    assert_eq!(
        (leader.world.live_in("a"), leader.world.live_in("b")),
        (6, 6)
    );
}

#[test]
fn what_one_seat_wants_most_is_weighed_against_what_the_other_wants_most() {
    // The example of the paper on dominant resource fairness: 9 cpus and 18 GiB; tasks of 1 cpu and
    // 4 GiB, and of 3 cpus and 1 GiB.
    let mut leader = Leader::new();
    leader.world.agent(9, 18 * 1024);
    want(&mut leader, "a", template("a", 1000, 4 * 1024), 100);
    want(&mut leader, "b", template("b", 3000, 1024), 100);
    run(&mut leader, u32::MAX);
    assert_eq!(
        (leader.world.live_in("a"), leader.world.live_in("b")),
        (3, 2)
    );
}

#[test]
fn nobody_whose_demand_fits_starves() {
    let mut leader = Leader::new();
    leader.world.agent(4, 65_536);
    leader.world.agent(4, 65_536);
    want(&mut leader, "big", template("a", 9000, 1), 5);
    weigh(&mut leader, "heavy", 1000);
    want(&mut leader, "heavy", template("a", 3000, 1), 2);
    want(&mut leader, "small", template("a", 500, 1), 4);
    run(&mut leader, u32::MAX);
    assert_eq!(leader.world.live_in("big"), 0);
    assert_eq!(leader.world.live_in("heavy"), 2);
    assert_eq!(leader.world.live_in("small"), 4);
}

#[test]
fn a_seat_that_takes_nothing_keeps_nobody_waiting() {
    let mut leader = Leader::new();
    leader.world.agent(2, 65_536);
    weigh(&mut leader, "picky", 1000);
    want(&mut leader, "picky", one_cpu(), 2);
    want(&mut leader, "plain", one_cpu(), 2);
    for _ in 0..20 {
        let round = leader.plan();
        for turn in &round.turns {
            let offers = turn.request.offers.iter();
            let operations: Vec<_> = offers
                .filter(|_| turn.request.seat == seat("plain"))
                .flat_map(|offer| {
                    let slots = 0..offer.count;
                    slots.map(|slot| alone(launch(offer.workload, 1, slot, offer.agent)))
                })
                .collect();
            if operations.is_empty() {
                leader.nothing(turn);
            } else {
                let mut demand = leader.world.state.seats[&turn.request.seat].demand.to_vec();
                demand[0].count -= u32::try_from(operations.len()).unwrap();
                leader.count(turn, |wish| {
                    wish.operations = operations;
                    wish.demand = Some(demand);
                });
            }
        }
    }
    assert_eq!(leader.world.live_in("plain"), 2);
    assert!(leader.is_quiet());
}

#[test]
fn the_seat_furthest_below_its_share_commits_first() {
    let mut leader = Leader::new();
    let agent = leader.world.agent(10, 65_536);
    let a = want(&mut leader, "a", one_cpu(), 1);
    want(&mut leader, "b", one_cpu(), 1);
    let rich: Vec<Op> = (10..13).map(|slot| launch(a, 1, slot, agent)).collect();
    leader.world.operate("a", rich);
    let order: Vec<_> = crate::leader::seats(&leader.plan());
    assert_eq!(order, [seat("b"), seat("a")]);
}
