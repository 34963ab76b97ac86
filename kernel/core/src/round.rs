//! Rounds: which seats get a turn now, with which changes and which offers.
//!
//! *Flow:* the leader calls `plan_round` after every change and at every wake-up; each planned turn runs in its sandbox, and what it
//! wants is proposed in the round's order. *Guarantees:* a round in which nobody has changes, demand with new room, or a due wake-up
//! plans nothing and costs what changed, not what there is. *Assumes:* one leader, which hands the same memory to every call and tells
//! it how each turn ended. *Caveats:* the memory is the leader's own; a new leader starts with an empty one and shows every row once more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kelson_model::id::{AgentId, Digest, Index, TaskId};
use kelson_model::quantity::Millis;
use kelson_model::time::ClusterTime;

use crate::allocator::cut_offers;
use crate::command::{Command, CommitTurn};
use crate::demand::demand_after;
use crate::fairness::Queue;
use crate::port::{Demand, Offer, SeatId, SeatRows, TurnFault, TurnOutcome, TurnRequest};
use crate::rows::{Changes, StateView, rows_of};
use crate::state::{RowKey, State};

/// First and longest pause of a seat whose turn was void; it doubles in between.
const FIRST_PAUSE: Millis = Millis(1000);
const LONGEST_PAUSE: Millis = Millis(60_000);

/// What a leader remembers from round to round. Nothing in it is replicated.
#[derive(Debug, Clone, Default)]
pub struct RoundMemory {
    scanned: Option<Index>,
    pending: BTreeMap<SeatId, Changes>,
    pauses: BTreeMap<SeatId, Pause>,
    declined: BTreeMap<SeatId, Declined>,
    seen_room: u64,
    /// A turn of the last round was offered room: what it left is new to those who got less than they want.
    is_room_left: bool,
    /// Somebody got less than it wants in the last round.
    is_hungry: bool,
    seen_demand: BTreeMap<SeatId, u64>,
    woken: BTreeMap<SeatId, u64>,
    refused: BTreeMap<SeatId, Refused>,
}

/// When a seat is shown what was refused of its last turn: at once, but ever later where turn after turn is refused.
#[derive(Debug, Clone)]
struct Refused {
    turn_no: u64,
    turns: u32,
    at: ClusterTime,
}

/// Why and until when a seat gets no turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// The last fault.
    pub fault: String,
    /// How many turns in a row were void.
    pub failures: u32,
    /// When it is tried again.
    pub until: ClusterTime,
    /// The component that was at fault; another one is tried at once.
    pub component: Digest,
}

#[derive(Debug, Clone, Default)]
struct Declined {
    demand_version: u64,
    /// For each demand and agent, the agent's room when it was declined.
    rooms: BTreeMap<(u64, AgentId), u64>,
}

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
    /// In fair-share order; their outcomes are proposed in this order.
    pub turns: Vec<PlannedTurn>,
    /// Seats whose instances may remember what is gone: they are dropped before these turns, and see all rows when they come back.
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

impl RoundMemory {
    /// The seats that are paused, and why.
    pub fn pauses(&self) -> &BTreeMap<SeatId, Pause> {
        &self.pauses
    }

    /// Lets a paused seat be tried again at once.
    pub fn reset(&mut self, seat: &SeatId) {
        self.pauses.remove(seat);
    }

    /// Says that a turn was void: its changes are shown again after a pause.
    pub fn turn_was_void(&mut self, turn: &PlannedTurn, fault: &TurnFault, now: ClusterTime) {
        let seat = &turn.request.seat;
        let is_guard = matches!(fault, TurnFault::TimedOut { .. });
        let before = self
            .pauses
            .get(seat)
            .filter(|pause| pause.component == turn.request.component);
        let failures = before
            .map_or(0, |pause| pause.failures)
            .saturating_add(u32::from(!is_guard));
        let until = now.after(pause_after(failures));
        let pause = Pause {
            fault: fault.to_string(),
            failures,
            until,
            component: turn.request.component.clone(),
        };
        self.pauses.insert(seat.clone(), pause);
        self.show_again(turn);
    }

    /// Says that a turn was not committed for no fault of its own: it is shown again at once.
    pub fn turn_was_lost(&mut self, turn: &PlannedTurn) {
        self.show_again(turn);
    }

    fn show_again(&mut self, turn: &PlannedTurn) {
        let seat = &turn.request.seat;
        self.is_room_left |= !turn.request.offers.is_empty();
        let pending = self.pending.entry(seat.clone()).or_default();
        pending.keys.extend(turn.changes.keys.iter().cloned());
        pending.gone.extend(turn.changes.gone.iter().copied());
        self.seen_demand.remove(seat);
        self.declined.remove(seat);
    }

    /// Says that a turn counts: agents that it was offered are declined for the demands that asked for them, as long as those demands
    /// stay as they were. `after` is the state that it came to.
    pub fn turn_counted(&mut self, turn: &PlannedTurn, after: &State) {
        let seat = &turn.request.seat;
        self.pauses.remove(seat);
        let offered: u64 = turn
            .request
            .offers
            .iter()
            .map(|offer| u64::from(offer.count))
            .sum();
        let first = TaskId(turn.last_task.0.saturating_add(1));
        let launched = after
            .tasks
            .range(first..)
            .filter(|(_, task)| task.seat == *seat)
            .count();
        self.is_room_left |= u64::try_from(launched).is_ok_and(|launched| launched < offered);
        let declined = self.declined.entry(seat.clone()).or_default();
        if declined.demand_version != turn.demand_version {
            *declined = Declined {
                demand_version: turn.demand_version,
                rooms: BTreeMap::new(),
            };
        }
        for offer in &turn.request.offers {
            let room = turn.rooms.get(&offer.agent).copied().unwrap_or(0);
            declined.rooms.insert((offer.key, offer.agent), room);
        }
    }
}

/// Plans the next round. `now` is cluster time; the state's own time may lag behind it.
pub fn plan_round(state: &State, memory: &mut RoundMemory, now: ClusterTime) -> Round {
    let unsure = collect_changes(state, memory);
    let mut wake_at: Option<ClusterTime> = None;
    let mut note_wake =
        |at: ClusterTime| wake_at = Some(wake_at.map_or(at, |known: ClusterTime| known.min(at)));
    let room_is_new = memory.seen_room != state.room_version
        || std::mem::take(&mut memory.is_room_left) && memory.is_hungry;
    memory.seen_room = state.room_version;
    let mut due: BTreeSet<SeatId> = BTreeSet::new();
    let mut wanting: BTreeMap<SeatId, Arc<Vec<Demand>>> = BTreeMap::new();
    for (id, seat) in &state.seats {
        let component = state
            .frameworks
            .get(&id.framework)
            .and_then(|framework| framework.component.clone());
        let Some(component) = component else { continue };
        if let Some(pause) = memory.pauses.get(id) {
            if pause.until > now && pause.component == component {
                note_wake(pause.until);
                continue;
            }
            due.insert(id.clone());
        }
        if let Some(at) = seat.wake_at {
            let is_fresh = memory.woken.get(id) != Some(&seat.turn_no);
            if at <= now && is_fresh {
                memory.woken.insert(id.clone(), seat.turn_no);
                memory.declined.remove(id);
                due.insert(id.clone());
            } else if at > now {
                note_wake(at);
            }
        }
        if seat.refusals.is_empty() {
            memory.refused.remove(id);
        } else {
            let at = show_refusals_at(&mut memory.refused, id, seat.turn_no, now);
            if at <= now {
                due.insert(id.clone());
            } else {
                note_wake(at);
            }
        }
        if memory.pending.contains_key(id) {
            due.insert(id.clone());
        }
        let is_new_demand = memory.seen_demand.get(id) != Some(&seat.demand_version);
        if !seat.demand.is_empty() && (room_is_new || is_new_demand || due.contains(id)) {
            wanting.insert(id.clone(), seat.demand.clone());
        }
        memory.seen_demand.insert(id.clone(), seat.demand_version);
    }
    let declined = &memory.declined;
    let offers = cut_offers(state, &wanting, |seat, demand, agent| {
        let known = declined.get(seat).filter(|known| {
            state
                .seats
                .get(seat)
                .is_some_and(|seat| seat.demand_version == known.demand_version)
        });
        let room = state
            .agents
            .get(&agent)
            .map_or(0, |agent| agent.room_version);
        known
            .and_then(|known| known.rooms.get(&(demand.key, agent)))
            .is_some_and(|declined| *declined == room)
    });
    let offered = |seat: &SeatId| -> u64 {
        let counts = offers.get(seat).into_iter().flatten();
        counts.map(|offer| u64::from(offer.count)).sum()
    };
    let wanted = |demands: &[Demand]| -> u64 {
        let counts = demands.iter();
        counts.map(|demand| u64::from(demand.count)).sum()
    };
    if !wanting.is_empty() {
        memory.is_hungry = wanting
            .iter()
            .any(|(seat, demands)| offered(seat) < wanted(demands));
    }
    due.extend(offers.keys().cloned());
    let order = Queue::new(state, due.iter()).in_order();
    let turns = order
        .into_iter()
        .filter_map(|seat| {
            plan_turn(
                state,
                memory,
                &seat,
                offers.get(&seat).cloned().unwrap_or_default(),
                now,
            )
        })
        .collect();
    Round {
        turns,
        unsure,
        wake_at,
    }
}

/// Whether an outcome of a turn that began at `now` would leave the state as it is: then no entry is written.
///
/// A wish to be woken that is due is never the same as one before: the one before was answered by this very turn.
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

/// The pause after so many failures in a row.
fn pause_after(failures: u32) -> Millis {
    let doubled = FIRST_PAUSE
        .0
        .checked_shl(failures.saturating_sub(1).min(16))
        .unwrap_or(LONGEST_PAUSE.0);
    Millis(doubled.min(LONGEST_PAUSE.0))
}

/// When the refusals of this turn are shown: at once after the first, then after a pause, since a scheduler that asks for the same
/// again and again would fill the log.
fn show_refusals_at(
    refused: &mut BTreeMap<SeatId, Refused>,
    seat: &SeatId,
    turn_no: u64,
    now: ClusterTime,
) -> ClusterTime {
    let turns = match refused.get(seat) {
        Some(known) if known.turn_no == turn_no => return known.at,
        Some(known) => known.turns.saturating_add(1),
        None => 1,
    };
    let at = if turns == 1 {
        now
    } else {
        now.after(pause_after(turns - 1))
    };
    let record = Refused { turn_no, turns, at };
    refused.insert(seat.clone(), record);
    at
}

/// Sorts the rows that have changed since the last round by the seats that care. Gives the seats of which nobody knows any more
/// which of their rows have gone.
fn collect_changes(state: &State, memory: &mut RoundMemory) -> Vec<SeatId> {
    let since = memory.scanned.unwrap_or_default();
    memory.scanned = Some(state.index);
    let unsure = match state.farewells_since(since) {
        Some(farewells) => {
            for (seat, farewell) in farewells {
                let pending = memory.pending.entry(seat.clone()).or_default();
                pending.gone.insert(farewell);
            }
            Vec::new()
        }
        None => state.seats.keys().cloned().collect(),
    };
    let changed = state.changed_since(since);
    let keys: Vec<RowKey> = match changed {
        Some(keys) => keys.cloned().collect(),
        None => (state.objects.keys().cloned().map(RowKey::Object))
            .chain(state.tasks.keys().copied().map(RowKey::Task))
            .collect(),
    };
    for key in keys {
        match &key {
            RowKey::Object(object) => {
                if let Some(seat) = state
                    .objects
                    .get(object)
                    .and_then(|object| state.seat_of(&object.key))
                {
                    memory.pending.entry(seat).or_default().keys.insert(key);
                }
            }
            RowKey::Task(id) => {
                if let Some(task) = state.tasks.get(id) {
                    memory
                        .pending
                        .entry(task.seat.clone())
                        .or_default()
                        .keys
                        .insert(key);
                }
            }
            RowKey::Agent(id) => {
                let seats: BTreeSet<SeatId> = state
                    .tasks_on(*id)
                    .filter(|task| !task.is_forgotten)
                    .map(|task| task.seat.clone())
                    .collect();
                for seat in seats {
                    let pending = memory.pending.entry(seat).or_default();
                    pending.keys.insert(key.clone());
                }
            }
            RowKey::Framework(framework) => {
                let seats = state
                    .seats
                    .keys()
                    .filter(|seat| seat.framework == *framework);
                for seat in seats.cloned().collect::<Vec<_>>() {
                    let pending = memory.pending.entry(seat).or_default();
                    pending.keys.insert(key.clone());
                }
            }
            RowKey::Source(_) | RowKey::Drift | RowKey::Event(..) => {}
        }
    }
    unsure
}

fn plan_turn(
    state: &State,
    memory: &mut RoundMemory,
    seat: &SeatId,
    offers: Vec<Offer>,
    now: ClusterTime,
) -> Option<PlannedTurn> {
    let record = state.seats.get(seat)?;
    let framework = state.frameworks.get(&seat.framework)?;
    let changes = memory.pending.remove(seat).unwrap_or_default();
    let offered: Vec<AgentId> = offers.iter().map(|offer| offer.agent).collect();
    let changed: SeatRows = rows_of(state, seat, &changes, &offered);
    let rooms = offered
        .iter()
        .filter_map(|id| state.agents.get(id))
        .map(|agent| (agent.id, agent.room_version))
        .collect();
    let turn_no = record.turn_no + 1;
    let request = TurnRequest {
        seat: seat.clone(),
        component: framework.component.clone()?,
        limits: framework.limits.clone(),
        config: framework.config.clone(),
        turn_no,
        now,
        seed: seed(state, seat, turn_no),
        changed,
        offers,
        refusals: record.refusals.to_vec(),
        pairs: record.pairs.clone(),
        view: Arc::new(StateView {
            state: state.clone(),
            seat: seat.clone(),
        }),
        is_throw_away: false,
    };
    Some(PlannedTurn {
        request,
        cursor: state.index,
        changes,
        demand_version: record.demand_version,
        rooms,
        last_task: state.last_task,
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
