//! Rounds: plans turns, runs them in the sandbox, proposes what they want.
//!
//! *Flow:* wait for a change, a wake-up or a poke; plan a round; run its turns side by side on blocking threads; propose their outcomes in the
//! round's order. *Guarantees:* a turn that is void, lost or not accepted has changed nothing, its instance is dropped, and its changes are
//! shown again; an outcome that says nothing new writes no entry. *Assumes:* this member leads. *Caveats:* a round waits for its slowest turn,
//! which the fuel limit bounds.

use std::time::Duration;

use kelson_kernel_core::port::{TurnFault, TurnOutcome};
use kelson_kernel_core::round::{PlannedTurn, Round, plan_round, says_nothing};
use kelson_kernel_core::{Reply, State};
use tokio::task::JoinSet;
use tracing::{Instrument, info_span, warn};

use crate::kernel::{Kernel, SubmitError};

/// Longest sleep without a wake-up; a round that finds nothing costs microseconds.
const IDLE: Duration = Duration::from_secs(60);

/// Runs rounds for ever; returns when the log has stopped.
pub async fn run_rounds(kernel: Kernel) {
    let mut view = kernel.watch();
    let mut pokes = kernel.watch_pokes();
    loop {
        let state = view.borrow_and_update().clone();
        let now = kernel.now();
        let round = plan_round(&state, &mut kernel.memory(), now);
        for seat in &round.unsure {
            kernel.host().drop_instance(seat);
        }
        let had_turns = !round.turns.is_empty();
        let sleep = round
            .wake_at
            .map_or(IDLE, |at| Duration::from_millis(at.since(now).0));
        if had_turns && run_round(&kernel, &state, round).await.is_err() {
            return;
        }
        if had_turns {
            // Its own outcome may be news for others, and wake-ups may have moved: look once more before sleeping.
            if view.has_changed().is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            _ = pokes.changed() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

async fn run_round(kernel: &Kernel, state: &State, round: Round) -> Result<(), SubmitError> {
    let mut running = JoinSet::new();
    let mut results: Vec<Option<(PlannedTurn, Result<TurnOutcome, TurnFault>)>> =
        round.turns.iter().map(|_| None).collect();
    for (place, turn) in round.turns.into_iter().enumerate() {
        let host = kernel.host().clone();
        let span = info_span!("turn", seat = %turn.request.seat, turn = turn.request.turn_no);
        running.spawn_blocking(move || {
            let _entered = span.enter();
            let result = host.turn(&turn.request);
            (place, turn, result)
        });
    }
    while let Some(joined) = running.join_next().await {
        match joined {
            Ok((place, turn, result)) => {
                if let Some(slot) = results.get_mut(place) {
                    *slot = Some((turn, result));
                }
            }
            Err(error) => warn!(%error, "a turn's thread ended early"),
        }
    }
    for (turn, result) in results.into_iter().flatten() {
        let seat = turn.request.seat.clone();
        let number = turn.request.turn_no;
        let span = info_span!("commit", seat = %seat, turn = number);
        settle(kernel, state, &turn, result)
            .instrument(span)
            .await?;
    }
    Ok(())
}

/// Makes one turn true, or sees to it that it has changed nothing.
async fn settle(
    kernel: &Kernel,
    state: &State,
    turn: &PlannedTurn,
    result: Result<TurnOutcome, TurnFault>,
) -> Result<(), SubmitError> {
    let seat = &turn.request.seat;
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(fault) => {
            void(kernel, turn, &fault);
            return Ok(());
        }
    };
    for (level, line) in &outcome.log {
        match level {
            0 => tracing::debug!(target: "scheduler", %seat, "{line}"),
            1 => tracing::info!(target: "scheduler", %seat, "{line}"),
            2 => tracing::warn!(target: "scheduler", %seat, "{line}"),
            _ => tracing::error!(target: "scheduler", %seat, "{line}"),
        }
    }
    if says_nothing(state, seat, &outcome, turn.request.now) {
        kernel.memory().turn_counted(turn, state);
        return Ok(());
    }
    let command = turn.commit(outcome);
    if !kernel.fits(&command) {
        let message =
            "its outcome is larger than a log entry; ask for less in one turn and wake again"
                .to_owned();
        void(kernel, turn, &TurnFault::Malformed { message });
        return Ok(());
    }
    match kernel.propose(command).await {
        Ok(Reply::Counted { .. }) => {
            kernel.memory().turn_counted(turn, &kernel.state());
            Ok(())
        }
        Ok(reply) => {
            warn!(?reply, "the turn did not count");
            lost(kernel, turn);
            Ok(())
        }
        Err(error) => {
            lost(kernel, turn);
            Err(error)
        }
    }
}

fn void(kernel: &Kernel, turn: &PlannedTurn, fault: &TurnFault) {
    warn!(%fault, "the turn is void");
    kernel.host().drop_instance(&turn.request.seat);
    let now = kernel.now();
    kernel.memory().turn_was_void(turn, fault, now);
}

fn lost(kernel: &Kernel, turn: &PlannedTurn) {
    kernel.host().drop_instance(&turn.request.seat);
    kernel.memory().turn_was_lost(turn);
}
