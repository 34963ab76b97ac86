//! What must hold after every round: nobody is forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use kelson_model::time::ClusterTime;

use super::memory::{RoundMemory, SeatMemory};
use super::{Round, Standing, cut_for};
use crate::port::SeatId;
use crate::record::Seat;
use crate::rows::workload_row;
use crate::state::State;

/// Says which seats were overlooked by the round that was just planned on this state: those that
/// have unseen changes, demand with room or a due wish to be woken, and neither get a turn nor wait
/// for a moment at which the next round is due.
///
/// It looks at what the state holds and not at why the round thought so. Tests call it after every
/// round.
pub fn overlooked_seats(
    state: &State,
    memory: &RoundMemory,
    round: &Round,
    now: ClusterTime,
) -> Vec<String> {
    let mut overlooked = Vec::new();
    let unknown = SeatMemory::default();
    for (id, seat) in &state.seats {
        let known = memory.seats.get(id).unwrap_or(&unknown);
        let due = match memory.standing(state, id, now) {
            Standing::NoComponent | Standing::UnderWay { .. } => continue,
            Standing::Paused { until } | Standing::Slowed { until } | Standing::Paced { until } => {
                Some(until)
            }
            Standing::Due(_) | Standing::Waits { .. } => {
                let reasons = [
                    unseen(state, id, known),
                    lost_wish(seat, known, now),
                    unmet(state, memory, id, seat),
                ];
                let reasons = reasons.into_iter().flatten();
                overlooked.extend(reasons.map(|reason| format!("{id} gets no turn: {reason}")));
                seat.wake_at.filter(|at| *at > now)
            }
        };
        if let Some(due) = due
            && round.wake_at.is_none_or(|at| at > due)
        {
            overlooked.push(format!(
                "{id} waits until {due:?}, and the next round is due at {:?}",
                round.wake_at
            ));
        }
    }
    overlooked
}

/// A row of the seat that has changed since its last turn.
fn unseen(state: &State, id: &SeatId, known: &SeatMemory) -> Option<String> {
    let object = state.objects.values().find(|object| {
        let row = workload_row(state, object);
        row.is_some_and(|row| known.rows.get(&row.id) != Some(&row))
            && state.seat_of(&object.key).as_ref() == Some(id)
    });
    if let Some(object) = object {
        return Some(format!("it has not seen how {} is now", object.key));
    }
    let task = state
        .tasks
        .iter()
        .find(|task| task.seat() == id && task.changed() > known.seen);
    task.map(|task| format!("it has not seen how {} is now", task.id()))
}

/// A wish to be woken that nobody will answer.
fn lost_wish(seat: &Seat, known: &SeatMemory, now: ClusterTime) -> Option<String> {
    let is_answered = known.woken == Some(seat.turn_no);
    let is_overdue = seat.wake_at.is_some_and(|at| at <= now) && !is_answered;
    let is_lost = known.wish.is_some() && (seat.wake_at.is_none() || is_answered);
    (is_overdue || is_lost).then(|| {
        format!(
            "it asked to be woken at {:?}; the state says {:?}",
            known.wish, seat.wake_at
        )
    })
}

/// Demand for which there is room that it was not shown.
fn unmet(state: &State, memory: &RoundMemory, id: &SeatId, seat: &Seat) -> Option<String> {
    if seat.demand.is_empty() {
        return None;
    }
    let alone = BTreeMap::from([(id.clone(), Arc::clone(&seat.demand))]);
    let offers = cut_for(state, memory, &alone);
    let offer = offers.values().flatten().next()?;
    Some(format!(
        "{} has room for its demand {}",
        offer.0.agent, offer.0.key
    ))
}
