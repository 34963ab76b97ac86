//! What a leader remembers from round to round. Nothing in it is replicated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kelson_model::id::{AgentId, Digest, Index, TaskId, WorkloadId};
use kelson_model::quantity::Millis;
use kelson_model::template::TaskTemplate;
use kelson_model::time::ClusterTime;

use super::PlannedTurn;
use super::pace::{Full, Pace};
use crate::allocator::Held;
use crate::port::{Offer, SeatId, TurnFault, TurnOutcome, WorkloadRow};
use crate::reply::Reply;
use crate::rows::Changes;
use crate::state::State;

/// First and longest pause of a seat whose turn was void; it doubles in between.
const FIRST_PAUSE: Millis = Millis(1000);
const LONGEST_PAUSE: Millis = Millis(60_000);

/// What a leader remembers from round to round.
#[derive(Debug, Clone, Default)]
pub struct RoundMemory {
    /// Up to which entry the changed rows were sorted by seat.
    pub(super) scanned: Option<Index>,
    pub(super) seats: BTreeMap<SeatId, SeatMemory>,
    pub(super) pauses: BTreeMap<SeatId, Pause>,
    /// How often a turn has left room that it was offered: that is news for all who got less than
    /// they want.
    pub(super) times_left: u64,
    /// Seats that are to be looked at in the next round.
    stirred: BTreeSet<SeatId>,
    /// When a seat is to be looked at although nothing has stirred it.
    alarms: BTreeSet<(ClusterTime, SeatId)>,
    /// Seats that want offers: they are looked at whenever there may be room.
    wanting: BTreeSet<SeatId>,
    /// The room, and what others had left, as of the last round.
    room: Option<(u64, u64)>,
    /// No seat is held to its budget of turns: the rounds are bounded by whoever runs them.
    pub(super) is_unpaced: bool,
}

/// What is remembered of one seat.
#[derive(Debug, Clone, Default)]
pub(super) struct SeatMemory {
    /// What it has not been shown; present and empty where it is to get a turn all the same.
    pub(super) pending: Option<Changes>,
    /// Its workloads as it was last told of them: a row that is the same is no news.
    pub(super) rows: BTreeMap<WorkloadId, WorkloadRow>,
    /// Its turn that is under way.
    pub(super) flight: Option<Flight>,
    pub(super) declined: Declined,
    /// As of when offers were last cut for its demand.
    pub(super) cut: Option<Cut>,
    /// The turn whose wish to be woken was answered.
    pub(super) woken: Option<u64>,
    pub(super) refused: Option<Refused>,
    pub(super) pace: Pace,
    /// Its last turns, where they were full.
    pub(super) full: Option<Full>,
    /// When its last turn that ended well asked to be woken.
    pub(super) wish: Option<ClusterTime>,
    /// Up to which entry its last turn that ended well had seen changes.
    pub(super) seen: Index,
    /// Its alarm.
    alarm: Option<ClusterTime>,
}

/// A turn that is under way, and the room that is kept for it.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) since: ClusterTime,
    pub(super) offers: Vec<(Offer, Arc<TaskTemplate>)>,
}

/// What a cut of offers depends on beside the agents' room itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) room: u64,
    pub(super) times_left: u64,
    pub(super) demand: u64,
}

/// When a seat is shown what was refused of its last turn: at once, but ever later where turn after
/// turn is refused.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    turn_no: u64,
    turns: u32,
    pub(super) at: ClusterTime,
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

/// The agents that a seat was shown and left.
#[derive(Debug, Clone, Default)]
pub(super) struct Declined {
    pub(super) demand_version: u64,
    /// For each demand and agent, the agent's room when it was declined.
    pub(super) rooms: BTreeMap<(u64, AgentId), u64>,
}

impl RoundMemory {
    /// A memory for rounds whose number is bounded by who runs them: no seat is paced.
    pub fn unpaced() -> Self {
        Self {
            is_unpaced: true,
            ..Self::default()
        }
    }

    /// The seats that are paused, and why.
    pub fn pauses(&self) -> &BTreeMap<SeatId, Pause> {
        &self.pauses
    }

    /// Lets a paused seat be tried again at once.
    pub fn reset(&mut self, seat: &SeatId) {
        self.pauses.remove(seat);
        if let Some(known) = self.seats.get_mut(seat) {
            known.full = None;
        }
        self.stir(seat);
    }

    /// Has a seat looked at in the next round.
    pub(super) fn stir(&mut self, seat: &SeatId) {
        if !self.stirred.contains(seat) {
            self.stirred.insert(seat.clone());
        }
    }

    /// What a seat has not been shown, to be added to.
    pub(super) fn news(&mut self, seat: &SeatId) -> &mut Changes {
        self.stir(seat);
        self.seat(seat).pending.get_or_insert_default()
    }

    /// The seats that may be due: those that something has stirred, whose moment has come, or for
    /// whose demand there may be room.
    pub(super) fn take_stirred(&mut self, state: &State, now: ClusterTime) -> BTreeSet<SeatId> {
        let mut seats = std::mem::take(&mut self.stirred);
        let room = Some((state.room_version, self.times_left));
        if self.room != room {
            self.room = room;
            seats.extend(self.wanting.iter().cloned());
        }
        while let Some((at, seat)) = self.alarms.pop_first() {
            if at > now {
                self.alarms.insert((at, seat));
                break;
            }
            if let Some(known) = self.seats.get_mut(&seat) {
                known.alarm = None;
            }
            seats.insert(seat);
        }
        seats
    }

    /// Notes when a seat is to be looked at next at the latest, and whether it wants offers.
    pub(super) fn set_alarm(&mut self, seat: &SeatId, alarm: Option<ClusterTime>, wants: bool) {
        let known = self.seats.entry(seat.clone()).or_default();
        let before = std::mem::replace(&mut known.alarm, alarm);
        if before != alarm {
            if let Some(before) = before {
                self.alarms.remove(&(before, seat.clone()));
            }
            if let Some(alarm) = alarm {
                self.alarms.insert((alarm, seat.clone()));
            }
        }
        if !wants {
            self.wanting.remove(seat);
        } else if !self.wanting.contains(seat) {
            self.wanting.insert(seat.clone());
        }
    }

    /// When the next seat is to be looked at although nothing stirs it.
    pub(super) fn first_alarm(&self) -> Option<ClusterTime> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// The seats whose turns are under way, and since when.
    pub fn under_way(&self) -> impl Iterator<Item = (&SeatId, ClusterTime)> + '_ {
        let flights = self.seats.iter();
        flights.filter_map(|(seat, known)| Some((seat, known.flight.as_ref()?.since)))
    }

    /// What is remembered of a seat, made where there is nothing yet.
    pub(super) fn seat(&mut self, id: &SeatId) -> &mut SeatMemory {
        self.seats.entry(id.clone()).or_default()
    }

    /// Says that a turn was void: its changes are shown again after a pause.
    pub fn turn_was_void(&mut self, turn: &PlannedTurn, fault: &TurnFault, now: ClusterTime) {
        let before = self.pauses.remove(&turn.request.seat);
        self.pause(turn, before, fault.to_string(), now);
        self.show_again(turn);
    }

    fn pause(
        &mut self,
        turn: &PlannedTurn,
        before: Option<Pause>,
        fault: String,
        now: ClusterTime,
    ) {
        let component = &turn.request.component;
        let before = before.filter(|pause| pause.component == *component);
        let failures = before.map_or(0, |pause| pause.failures).saturating_add(1);
        let pause = Pause {
            fault,
            failures,
            until: now.after(pause_after(failures)),
            component: component.clone(),
        };
        self.pauses.insert(turn.request.seat.clone(), pause);
    }

    /// Says that a turn counts whose entry was answered with `reply`. Where full ones follow each
    /// other, the seat is asked ever later; a full one that has changed nothing is as good as void.
    pub fn turn_committed(
        &mut self,
        turn: &PlannedTurn,
        after: &State,
        is_full: bool,
        reply: &Reply,
        now: ClusterTime,
    ) {
        if !is_full {
            return self.turn_counted(turn, after);
        }
        let seat = &turn.request.seat;
        let known = self.seat(seat);
        let full = Full::after(known.full.take(), &turn.request.component, now);
        let pause = self.pauses.remove(seat);
        self.turn_counted(turn, after);
        self.seat(seat).full = Some(full);
        if !matches!(
            reply,
            Reply::Counted {
                has_changed: true,
                ..
            }
        ) {
            let fault = "the turn is full, and nothing of it could be done";
            self.pause(turn, pause, fault.to_owned(), now);
        }
    }

    /// Says that a turn was not committed for no fault of its own: it is shown again at once.
    pub fn turn_was_lost(&mut self, turn: &PlannedTurn) {
        self.show_again(turn);
    }

    fn show_again(&mut self, turn: &PlannedTurn) {
        self.times_left += u64::from(!turn.request.offers.is_empty());
        let known = self.seat(&turn.request.seat);
        known.flight = None;
        known.wish = None;
        known.cut = None;
        known.declined = Declined::default();
        self.news(&turn.request.seat).add(&turn.changes);
    }

    /// Notes what a turn wishes that ended well, before it becomes true.
    pub fn turn_wishes(&mut self, turn: &PlannedTurn, outcome: &TurnOutcome) {
        self.seat(&turn.request.seat).wish = outcome.wake_at;
    }

    /// Says that a turn counts: agents of which it has left something that it was offered are
    /// declined for the demands that asked for them, as long as those demands stay as they were.
    /// Where all was taken, as much may be wanted once more. `after` is the state that it came to.
    pub fn turn_counted(&mut self, turn: &PlannedTurn, after: &State) {
        let seat = &turn.request.seat;
        self.pauses.remove(seat);
        // What of the offers of each agent was not taken.
        let mut left: BTreeMap<AgentId, u64> = BTreeMap::new();
        for offer in &turn.request.offers {
            *left.entry(offer.agent).or_default() += u64::from(offer.count);
        }
        if !left.is_empty() {
            let first = TaskId(turn.last_task.0.saturating_add(1));
            let launched = after.tasks.since(first);
            for task in launched.filter(|task| task.seat() == seat) {
                if let Some(left) = left.get_mut(&task.agent()) {
                    *left = left.saturating_sub(1);
                }
            }
            self.times_left += u64::from(left.values().any(|left| *left > 0));
        }
        self.stir(seat);
        let known = self.seat(seat);
        known.flight = None;
        known.full = None;
        known.seen = turn.cursor;
        if known.declined.demand_version != turn.demand_version {
            known.declined = Declined {
                demand_version: turn.demand_version,
                rooms: BTreeMap::new(),
            };
        }
        for offer in &turn.request.offers {
            if left.get(&offer.agent).is_some_and(|left| *left == 0) {
                known.cut = None;
                continue;
            }
            let room = turn.rooms.get(&offer.agent).copied().unwrap_or(0);
            known.declined.rooms.insert((offer.key, offer.agent), room);
        }
    }

    /// The room that is kept for the turns under way.
    pub(super) fn held(&self) -> Vec<Held> {
        let flights = self
            .seats
            .iter()
            .filter_map(|(seat, known)| Some((seat, known.flight.as_ref()?)));
        let held = flights.flat_map(|(seat, flight)| {
            flight.offers.iter().map(|(offer, template)| Held {
                namespace: seat.namespace.clone(),
                agent: offer.agent,
                count: offer.count,
                template: Arc::clone(template),
            })
        });
        held.collect()
    }

    /// Forgets seats that are gone.
    pub(super) fn forget_gone(&mut self, state: &State) {
        if self.seats.len() > state.seats.len() {
            let is_there = |seat: &SeatId| state.seats.contains_key(seat);
            self.seats
                .retain(|seat, known| known.flight.is_some() || is_there(seat));
            self.pauses.retain(|seat, _| is_there(seat));
            self.stirred.retain(is_there);
            self.wanting.retain(is_there);
            self.alarms.retain(|(_, seat)| is_there(seat));
        }
    }
}

impl SeatMemory {
    /// Notes the refusals of this turn, or that there are none. They are shown at once after the
    /// first turn with some, then after a pause, since a scheduler that asks for the same again and
    /// again would fill the log.
    pub(super) fn note_refusals(&mut self, turn_no: u64, has_some: bool, now: ClusterTime) {
        if !has_some {
            self.refused = None;
            return;
        }
        let turns = match &self.refused {
            Some(known) if known.turn_no == turn_no => return,
            Some(known) => known.turns.saturating_add(1),
            None => 1,
        };
        let at = if turns == 1 {
            now
        } else {
            now.after(pause_after(turns - 1))
        };
        self.refused = Some(Refused { turn_no, turns, at });
    }
}

/// The pause after this many failures in a row.
pub(super) fn pause_after(failures: u32) -> Millis {
    let doubled = FIRST_PAUSE
        .0
        .checked_shl(failures.saturating_sub(1).min(16))
        .unwrap_or(LONGEST_PAUSE.0);
    Millis(doubled.min(LONGEST_PAUSE.0))
}
