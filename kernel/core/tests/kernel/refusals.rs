//! What was refused is shown in the next turn, and a scheduler that never learns does not fill the
//! log.

use kelson_kernel_core::port::Op;
use kelson_model::id::TaskId;

use crate::leader::Leader;
use crate::world::{alone, service, spec};

fn illegal() -> Op {
    Op::Forget { task: TaskId(99) }
}

#[test]
fn what_was_refused_is_shown_at_once() {
    let mut leader = Leader::new();
    leader.world.serve(&service("web"), spec("a", 1));
    let turn = leader.one();
    leader.count(&turn, |wish| wish.operations = vec![alone(illegal())]);
    let turn = leader.one();
    assert_eq!(turn.request.refusals.len(), 1);
    leader.count(&turn, |_| {});
    assert!(leader.is_quiet());
}

#[test]
fn turns_that_are_refused_again_and_again_come_ever_later() {
    let mut leader = Leader::new();
    leader.world.serve(&service("web"), spec("a", 1));
    let turn = leader.one();
    leader.count(&turn, |wish| wish.operations = vec![alone(illegal())]);
    for pause in [0, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
        if pause > 0 {
            let due = leader.world.now.0 + pause;
            let round = leader.plan();
            assert!(round.turns.is_empty());
            assert_eq!(round.wake_at.map(|at| at.0), Some(due));
            leader.world.wait(pause);
        }
        let turn = leader.one();
        leader.count(&turn, |wish| wish.operations = vec![alone(illegal())]);
    }
    assert!(leader.is_quiet());
    leader.world.wait(60_000);
    let turn = leader.one();
    leader.count(&turn, |_| {});
    assert!(leader.is_quiet());
}

#[test]
fn a_change_brings_refusals_along_before_their_time() {
    let mut leader = Leader::new();
    leader.world.serve(&service("web"), spec("a", 1));
    for _ in 0..2 {
        let turn = leader.one();
        leader.count(&turn, |wish| wish.operations = vec![alone(illegal())]);
    }
    assert!(leader.is_quiet());
    leader.world.serve(&service("web"), spec("a", 2));
    assert_eq!(leader.one().request.refusals.len(), 1);
}
