//! Rounds over random states.

use std::collections::BTreeMap;

use kelson_kernel_core::round::{Round, RoundMemory, plan_round};
use kelson_model::id::AgentId;
use kelson_model::quantity::Resources;
use proptest::prelude::*;

use crate::properties::generator::{run, steps};
use crate::world::through_snapshot;

fn shown(round: &Round) -> Vec<impl PartialEq + std::fmt::Debug + use<>> {
    let turns = round.turns.iter();
    turns
        .map(|turn| (turn.request.seat.clone(), turn.request.offers.clone()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn offers_never_exceed_what_is_free_and_rounds_come_to_an_end(steps in steps(40)) {
        let mut memory = RoundMemory::default();
        for one in run(&steps) {
            let round = plan_round(&one.after, &mut memory, one.after.time);
            let mut held: BTreeMap<AgentId, Resources> = BTreeMap::new();
            for offer in round.turns.iter().flat_map(|turn| &turn.request.offers) {
                let object = one.after.object_of(offer.workload).unwrap();
                let templates = &object.generation_of(offer.generation).unwrap().templates;
                let held = held.entry(offer.agent).or_default();
                for _ in 0..offer.count {
                    *held = held.plus(&templates[0].resources);
                }
            }
            for (agent, held) in held {
                prop_assert!(one.after.agents[&agent].free().fits(&held));
            }
            for turn in &round.turns {
                memory.turn_counted(turn, &one.after);
            }
        }
        let last = run(&steps).pop().unwrap().after;
        let mut rounds = 0;
        loop {
            let round = plan_round(&last, &mut memory, last.time);
            if round.turns.is_empty() {
                break;
            }
            for turn in &round.turns {
                // A turn that says nothing while refusals are shown would be committed; it is none
                // of these.
                memory.turn_counted(turn, &last);
            }
            rounds += 1;
            prop_assert!(rounds < 50, "there is no end of turns");
            if last.seats.values().any(|seat| !seat.refusals.is_empty()) {
                break;
            }
        }
    }

    #[test]
    fn a_round_is_a_function_of_state_and_memory(steps in steps(40)) {
        let mut memory = RoundMemory::default();
        for one in run(&steps) {
            let mut other = memory.clone();
            let first = plan_round(&one.after, &mut memory, one.after.time);
            let second = plan_round(&one.after.clone(), &mut other, one.after.time);
            prop_assert_eq!(shown(&first), shown(&second));
            prop_assert_eq!(first.wake_at, second.wake_at);
            for (first, second) in first.turns.iter().zip(&second.turns) {
                prop_assert_eq!(&first.request.changed, &second.request.changed);
                prop_assert_eq!(first.request.seed, second.request.seed);
                memory.turn_counted(first, &one.after);
            }
        }
    }

    #[test]
    fn members_that_read_a_snapshot_cut_the_same_offers(steps in steps(40)) {
        let last = run(&steps).pop().unwrap().after;
        let plan = |state| plan_round(state, &mut RoundMemory::default(), last.time);
        prop_assert_eq!(shown(&plan(&last)), shown(&plan(&through_snapshot(&last))));
    }
}
