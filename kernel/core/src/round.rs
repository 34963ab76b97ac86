//! Rounds: which seats get a turn now, with which changes and which offers.
//!
//! *Flow:* the leader calls `plan_round` after every change, whenever a turn has ended, and at
//! every wake-up; each planned turn runs in its sandbox, and what it wants is proposed when it
//! ends. *Guarantees:* a seat that has unseen changes, demand with new room, or a due wake-up gets
//! a turn; a seat whose turn is under way is left alone and the room that it was shown is kept for
//! it; a round in which there is nothing to do plans nothing and costs what changed, not what there
//! is. *Assumes:* one leader, which hands the same memory to every call and tells it once how each
//! turn ended. *Caveats:* the memory is the leader's own; a new leader starts with an empty one and
//! shows every row once more.

mod changes;
mod memory;
mod overlooked;
mod pace;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kelson_model::id::{AgentId, Digest, Index, TaskId};
use kelson_model::template::TaskTemplate;
use kelson_model::time::ClusterTime;

use crate::allocator::{Held, cut_offers};
use crate::command::{Command, CommitTurn};
use crate::demand::demand_after;
use crate::fairness::Queue;
use crate::port::{Demand, Offer, SeatId, SeatRows, TurnOutcome, TurnRequest};
use crate::rows::{Changes, StateView, rows_of};
use crate::state::State;

use changes::collect_changes;
use memory::{Cut, Declined, Flight};
pub use memory::{Pause, RoundMemory};
pub use overlooked::overlooked_seats;
pub use standing::{Reasons, Standing};

/// One turn to run.
#[derive(Clone)]
pub struct PlannedTurn {
    /// Everything that the turn is a function of.
    pub request: TurnRequest,
    /// The index up to which it sees changes.
    pub cursor: Index,
    /// The changed rows, to be shown again where the turn does not become true.
    changes: Changes,
    /// The version of the demand that its offers answer.
    demand_version: u64,
    /// The room of each offered agent when it was offered.
    rooms: BTreeMap<AgentId, u64>,
    /// The newest task when it was planned.
    last_task: TaskId,
}

/// One round.
#[derive(Clone, Default)]
pub struct Round {
    /// In fair-share order, in which they are begun.
    pub turns: Vec<PlannedTurn>,
    /// Seats whose instances may remember what is gone: they are dropped before these turns, and
    /// see all rows when they come back.
    pub unsure: Vec<SeatId>,
    /// When the next round is due even if nothing changes.
    pub wake_at: Option<ClusterTime>,
}

impl PlannedTurn {
    /// The command that makes true what this turn wants.
    pub fn commit(&self, outcome: TurnOutcome) -> Command {
        Command::CommitTurn(CommitTurn {
            seat: self.request.seat.clone(),
            turn_no: self.request.turn_no,
            component: self.request.component.clone(),
            cursor: self.cursor,
            operations: outcome.operations,
            writes: outcome.writes,
            demand: outcome.demand,
            demand_changes: outcome.demand_changes,
            wake_at: outcome.wake_at,
        })
    }
}

/// Plans the next round. `now` is cluster time; the state's own time may lag behind it.
pub fn plan_round(state: &State, memory: &mut RoundMemory, now: ClusterTime) -> Round {
    let unsure = collect_changes(state, memory);
    memory.forget_gone(state);
    let mut due: BTreeSet<SeatId> = BTreeSet::new();
    let mut own: BTreeSet<SeatId> = BTreeSet::new();
    let mut wanting: BTreeMap<SeatId, Arc<Vec<Demand>>> = BTreeMap::new();
    for id in memory.take_stirred(state, now) {
        let Some(seat) = state.seats.get(&id) else {
            continue;
        };
        #[cfg(test)]
        steps::count();
        let is_refused = !seat.refusals.is_empty();
        if is_refused
            || memory
                .seats
                .get(&id)
                .is_some_and(|known| known.refused.is_some())
        {
            memory
                .seat(&id)
                .note_refusals(seat.turn_no, is_refused, now);
        }
        let wants = !seat.demand.is_empty();
        let reasons = match memory.standing(state, &id, now) {
            Standing::NoComponent | Standing::UnderWay { .. } => {
                memory.set_alarm(&id, None, wants);
                continue;
            }
            Standing::Paused { until } | Standing::Slowed { until } | Standing::Paced { until } => {
                memory.set_alarm(&id, Some(until), wants);
                continue;
            }
            Standing::Waits { until } => {
                memory.set_alarm(&id, until, wants);
                continue;
            }
            Standing::Due(reasons) => reasons,
        };
        let times_left = memory.times_left;
        let known = memory.seat(&id);
        if reasons.wake {
            known.woken = Some(seat.turn_no);
            known.declined = Declined::default();
        }
        if reasons.demand {
            known.cut = Some(Cut {
                room: state.room_version,
                times_left,
                demand: seat.demand_version,
            });
            wanting.insert(id.clone(), seat.demand.clone());
        }
        let refused = known.refused.as_ref().map(|refused| refused.at);
        let moments = seat.wake_at.into_iter().chain(refused);
        memory.set_alarm(&id, moments.filter(|at| *at > now).min(), wants);
        if reasons.is_certain() {
            due.insert(id.clone());
        }
        if !reasons.is_new {
            own.insert(id);
        }
    }
    let mut offers = cut_for(state, memory, &wanting);
    due.extend(offers.keys().cloned());
    let order = Queue::new(state, due.iter()).in_order();
    let mut turns = Vec::new();
    for seat in order {
        let offers = offers.remove(&seat).unwrap_or_default();
        if own.contains(&seat) {
            memory.seat(&seat).pace.pay(now);
        }
        match plan_turn(state, memory, &seat, offers, now) {
            Some(turn) => turns.push(turn),
            None => memory.stir(&seat),
        }
    }
    Round {
        turns,
        unsure,
        wake_at: memory.first_alarm(),
    }
}

/// Cuts offers for these demands from what is free and not kept for turns under way.
fn cut_for(
    state: &State,
    memory: &RoundMemory,
    wanting: &BTreeMap<SeatId, Arc<Vec<Demand>>>,
) -> BTreeMap<SeatId, Vec<(Offer, Arc<TaskTemplate>)>> {
    if wanting.is_empty() {
        return BTreeMap::new();
    }
    let held: Vec<Held> = memory.held();
    cut_offers(state, wanting, &held, |id, demand, agent| {
        let version = state.seats.get(id).map(|seat| seat.demand_version);
        let declined = memory
            .seats
            .get(id)
            .map(|known| &known.declined)
            .filter(|declined| version == Some(declined.demand_version));
        let room = state
            .agents
            .get(&agent)
            .map_or(0, |agent| agent.room_version);
        declined.and_then(|declined| declined.rooms.get(&(demand.key, agent))) == Some(&room)
    })
}

/// Whether an outcome of a turn that began at `now` would leave the state as it is: then no entry
/// is written.
///
/// A wish to be woken that is due is never the same as one before: the one before was answered by
/// this very turn.
pub fn says_nothing(state: &State, seat: &SeatId, outcome: &TurnOutcome, now: ClusterTime) -> bool {
    let Some(record) = state.seats.get(seat) else {
        return true;
    };
    let same_demand = demand_after(
        &record.demand,
        outcome.demand.as_deref(),
        &outcome.demand_changes,
    );
    let same_wake = match outcome.wake_at {
        Some(at) => at > now && record.wake_at == Some(at),
        None => record.wake_at.is_none_or(|at| at <= now),
    };
    outcome.operations.is_empty()
        && outcome.writes.is_empty()
        && same_demand == Ok(None)
        && same_wake
        && record.refusals.is_empty()
}

fn plan_turn(
    state: &State,
    memory: &mut RoundMemory,
    seat: &SeatId,
    offers: Vec<(Offer, Arc<TaskTemplate>)>,
    now: ClusterTime,
) -> Option<PlannedTurn> {
    let record = state.seats.get(seat)?;
    let framework = state.frameworks.get(&seat.framework)?;
    let component = framework.component.clone()?;
    let known = memory.seat(seat);
    let changes = known.pending.take().unwrap_or_default();
    let offered: Vec<AgentId> = offers.iter().map(|(offer, _)| offer.agent).collect();
    let changed: SeatRows = rows_of(state, seat, &changes, &offered);
    let rooms = offered
        .iter()
        .filter_map(|id| state.agents.get(id))
        .map(|agent| (agent.id, agent.room_version))
        .collect();
    let turn_no = record.turn_no + 1;
    let request = TurnRequest {
        seat: seat.clone(),
        component,
        limits: framework.limits.clone(),
        config: framework.config.clone(),
        turn_no,
        now,
        seed: seed(state, seat, turn_no),
        changed,
        offers: offers.iter().map(|(offer, _)| offer.clone()).collect(),
        refusals: record.refusals.to_vec(),
        pairs: record.pairs.clone(),
        view: Arc::new(StateView {
            state: state.clone(),
            seat: seat.clone(),
        }),
        is_throw_away: false,
    };
    known.flight = Some(Flight { since: now, offers });
    Some(PlannedTurn {
        request,
        cursor: state.index,
        changes,
        demand_version: record.demand_version,
        rooms,
        last_task: state.last_task,
    })
}

/// What a read-only question to a scheduler is asked with, on a throw-away instance; `None` where
/// no component is in force, or it does not serve the namespace.
pub fn plan_query(state: &State, seat: &SeatId, now: ClusterTime) -> Option<TurnRequest> {
    let framework = state.frameworks.get(&seat.framework)?;
    if !framework.serves(&seat.namespace) {
        return None;
    }
    let record = state.seats.get(seat);
    let turn_no = record.map_or(0, |record| record.turn_no);
    Some(TurnRequest {
        seat: seat.clone(),
        component: framework.component.clone()?,
        limits: framework.limits.clone(),
        config: framework.config.clone(),
        turn_no,
        now,
        seed: seed(state, seat, turn_no),
        changed: SeatRows::default(),
        offers: Vec::new(),
        refusals: Vec::new(),
        pairs: record
            .map(|record| record.pairs.clone())
            .unwrap_or_default(),
        view: Arc::new(StateView {
            state: state.clone(),
            seat: seat.clone(),
        }),
        is_throw_away: true,
    })
}

/// A hash of cluster, seat and turn number, below 2^53.
fn seed(state: &State, seat: &SeatId, turn_no: u64) -> u64 {
    let digest = Digest::of(
        format!(
            "{} {} {} {turn_no}",
            state.cluster, seat.framework, seat.namespace
        )
        .as_bytes(),
    );
    digest
        .hex()
        .get(..13)
        .and_then(|hex| u64::from_str_radix(hex, 16).ok())
        .unwrap_or(0)
}

/// Counts how many seats were looked at, for tests of what a round costs.
#[cfg(test)]
pub(crate) mod steps {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn count() {
        STEPS.set(STEPS.get() + 1);
    }

    /// Returns the number so far and begins again.
    pub(crate) fn take() -> u64 {
        STEPS.take()
    }
}
