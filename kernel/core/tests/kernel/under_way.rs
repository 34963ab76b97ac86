//! Turns that are under way, seats that talk to themselves, and that nobody is overlooked.

use kelson_kernel_core::port::Op;
use kelson_kernel_core::round::{Standing, overlooked_seats};
use kelson_model::object::{Health, RolloutState};
use kelson_model::task::TaskState;

use crate::leader::{Leader, offered, trapped, wake_up};
use crate::world::{alone, demand, launch, seat, service, service_in, spec};

/// What the round that is planned now overlooks.
fn overlooked(leader: &mut Leader) -> Vec<String> {
    let round = leader.plan();
    assert!(round.turns.is_empty());
    overlooked_seats(
        &leader.world.state,
        &leader.memory,
        &round,
        leader.world.now,
    )
}

#[test]
fn a_seat_whose_turn_is_under_way_is_left_alone_and_sees_later_what_has_come_meanwhile() {
    let mut leader = Leader::new();
    leader.world.serve(&service("web"), spec("a", 1));
    let turn = leader.one();
    leader.world.serve(&service("web"), spec("b", 1));
    leader
        .world
        .serve(&service_in("other", "web"), spec("a", 1));
    let other = leader.one();
    assert_eq!(other.request.seat, seat("other"));
    leader.nothing(&other);
    assert!(leader.is_quiet());
    let standing = leader
        .memory
        .standing(&leader.world.state, &seat("default"), leader.world.now);
    assert!(matches!(standing, Standing::UnderWay { .. }));
    leader.nothing(&turn);
    let turn = leader.one();
    assert_eq!(turn.request.changed.workloads[0].generation, 2);
    leader.nothing(&turn);
    assert_eq!(overlooked(&mut leader), [] as [String; 0]);
}

#[test]
fn room_that_a_turn_under_way_was_shown_is_kept_for_it() {
    let mut leader = Leader::new();
    let agent = leader.world.agent(4, 1024);
    leader.wanting("a", 3);
    let first = leader.one();
    assert_eq!(offered(&first), [(agent, 3)]);
    leader.wanting("b", 3);
    let second = leader.one();
    assert_eq!(offered(&second), [(agent, 1)], "three of four are kept");
    // It takes one of three; what it leaves is free for the other.
    let workload = leader.world.workload(&service_in("a", "web"));
    leader.count(&first, |wish| {
        wish.operations = vec![alone(launch(workload, 1, 0, agent))];
        wish.demand = Some(Vec::new());
    });
    let workload = leader.world.workload(&service_in("b", "web"));
    leader.count(&second, |wish| {
        wish.operations = vec![alone(launch(workload, 1, 0, agent))];
        wish.demand = Some(vec![demand(1, workload, 1, 2)]);
    });
    let round = leader.plan();
    let again = round
        .turns
        .iter()
        .find(|turn| turn.request.seat == seat("b"))
        .unwrap();
    assert_eq!(offered(again), [(agent, 2)]);
}

#[test]
fn room_of_a_void_turn_is_free_again() {
    let mut leader = Leader::new();
    let agent = leader.world.agent(2, 1024);
    leader.wanting("a", 2);
    let first = leader.one();
    leader.wanting("b", 2);
    let second = leader.one();
    assert!(second.request.offers.is_empty());
    leader.nothing(&second);
    leader
        .memory
        .turn_was_void(&first, &trapped(), leader.world.now);
    assert_eq!(offered(&leader.one()), [(agent, 2)]);
}

fn status(leader: &Leader, message: &str) -> Op {
    Op::SetStatus {
        workload: leader.world.workload(&service("web")),
        generation: 1,
        health: Health::Progressing,
        rollout: RolloutState::Progressing,
        reason: String::new(),
        message: message.to_owned(),
    }
}

#[test]
fn the_status_that_a_seat_says_is_no_news_to_it() {
    let mut leader = Leader::new();
    leader.world.serve(&service("web"), spec("a", 1));
    let turn = leader.one();
    let op = status(&leader, "it is 12:01");
    leader.count(&turn, |wish| wish.operations = vec![alone(op)]);
    assert!(leader.is_quiet());
    let task = {
        let agent = leader.world.agent(4, 1024);
        leader.world.launch(&service("web"), 0, agent)
    };
    leader.settle();
    leader.world.say(task, TaskState::Running);
    let turn = leader.one();
    assert!(
        turn.request.changed.workloads.is_empty(),
        "its row is as it was"
    );
    assert_eq!(turn.request.changed.tasks.len(), 1);
}

#[test]
fn a_demand_with_a_new_key_in_every_turn_is_paced() {
    let mut leader = Leader::new();
    leader.world.agent(4, 1024);
    let workload = leader.world.serve(&service("web"), spec("a", 1));
    let mut turns = 0;
    loop {
        let round = leader.plan();
        let Some(turn) = round.turns.first() else {
            break;
        };
        turns += 1;
        assert!(turns < 1000, "there is no end of turns");
        leader.count(turn, |wish| {
            wish.demand = Some(vec![demand(turns, workload, 1, 1)]);
        });
    }
    assert!(turns > 100, "a long pass is no chatter: {turns}");
    let round = leader.plan();
    let until = round.wake_at.unwrap();
    assert!(until > leader.world.now && until.0 <= leader.world.now.0 + 1000);
    assert_eq!(
        overlooked(&mut leader),
        [] as [String; 0],
        "it waits for a time"
    );
    leader.world.now = until;
    let turn = leader.one();
    leader.count(&turn, |wish| {
        wish.demand = Some(vec![demand(turns + 1, workload, 1, 1)]);
    });
    assert!(leader.is_quiet());
    // What comes from elsewhere is shown at once.
    leader.world.serve(&service("web"), spec("b", 1));
    leader.one();
}

#[test]
fn a_wish_that_was_taken_for_nothing_is_noticed() {
    let (mut leader, due) = Leader::with_wake_up();
    leader.world.now = due;
    let turn = leader.one();
    let outcome = wake_up(Some(due));
    leader.memory.turn_wishes(&turn, &outcome);
    assert_eq!(overlooked(&mut leader), [] as [String; 0]);
    // As a leader would that writes no entry for it.
    leader.nothing(&turn);
    let overlooked = overlooked(&mut leader);
    assert!(
        overlooked[0].contains("asked to be woken"),
        "{overlooked:?}"
    );
}

#[test]
fn a_seat_that_left_its_only_offer_is_shown_the_other_agents_too() {
    let mut leader = Leader::new();
    for _ in 0..3 {
        leader.world.agent(1, 1024);
    }
    leader.wanting("default", 1);
    let mut shown = Vec::new();
    loop {
        let round = leader.plan();
        let Some(turn) = round.turns.first() else {
            break;
        };
        shown.extend(offered(turn).into_iter().map(|(agent, _)| agent));
        leader.nothing(turn);
    }
    shown.sort();
    shown.dedup();
    assert_eq!(shown.len(), 3, "each once");
    assert_eq!(overlooked(&mut leader), [] as [String; 0]);
}

/// Numbers that look random, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

#[test]
fn launches_from_offers_are_never_refused_however_turns_overlap() {
    for seed in 1..=20 {
        let mut dice = Dice(seed);
        let mut leader = Leader::new();
        for _ in 0..4 {
            leader.world.agent(3, 1024);
        }
        let names = ["a", "b", "c", "d"];
        for name in names {
            leader.wanting(name, 4);
        }
        let mut under_way = Vec::new();
        let mut slot = 0;
        for _ in 0..60 {
            under_way.extend(leader.plan().turns);
            if under_way.is_empty() {
                break;
            }
            let turn = under_way.swap_remove(dice.below(under_way.len()));
            match dice.below(4) {
                0 => leader.memory.turn_was_lost(&turn),
                1 => leader.nothing(&turn),
                _ => {
                    let mut ops = Vec::new();
                    for offer in &turn.request.offers {
                        for _ in 0..=dice.below(usize::try_from(offer.count).unwrap()) {
                            slot += 1;
                            let op = launch(offer.workload, offer.generation, slot, offer.agent);
                            ops.push(alone(op));
                        }
                    }
                    leader.count(&turn, |wish| wish.operations = ops);
                    let known = &leader.world.state.seats[&turn.request.seat];
                    assert_eq!(*known.refusals, [], "seed {seed}");
                }
            }
        }
    }
}
