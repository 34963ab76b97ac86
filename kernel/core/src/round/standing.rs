//! Standing: whether a seat is to get a turn now, why, and if not, what it waits for.

use std::sync::Arc;

use kelson_model::id::{AgentId, Digest, Index, TaskId};
use kelson_model::object::ObjectKey;
use kelson_model::time::ClusterTime;

use super::memory::{Cut, Pause, RoundMemory, SeatMemory};
use crate::port::SeatId;
use crate::record::Seat;
use crate::rows::Changes;
use crate::state::{Farewell, RowKey, State};

/// How a seat stands at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Its framework has no component in force.
    NoComponent,
    /// Its turn is under way since then.
    UnderWay {
        /// Cluster time.
        since: ClusterTime,
    },
    /// Its last turns were void.
    Paused {
        /// When it is tried again.
        until: ClusterTime,
    },
    /// Its last turns were full, one after another.
    Slowed {
        /// When it is asked again.
        until: ClusterTime,
    },
    /// It has spent its budget of turns that answer nothing new.
    Paced {
        /// When the budget has room for the next one.
        until: ClusterTime,
    },
    /// It gets a turn in the next round; where nothing but its demand stands for that, only if room
    /// is found.
    Due(Reasons),
    /// Nothing is new to it.
    Waits {
        /// When it is called even if nothing changes.
        until: Option<ClusterTime>,
    },
}

/// What stands for a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reasons {
    /// Rows that it has not seen, or a turn that is to be repeated.
    pub news: bool,
    /// Its wish to be woken.
    pub wake: bool,
    /// What was refused of its last turn.
    pub refusals: bool,
    /// A pause that is over.
    pub after_pause: bool,
    /// Demand for which offers were not cut since room, demand or what others left has changed.
    pub demand: bool,
    /// Whether any of it comes from elsewhere than the seat's own last turn.
    pub is_new: bool,
}

impl Reasons {
    /// For people.
    pub fn in_words(self) -> String {
        let words = [
            (self.news, "it has not seen what has changed"),
            (self.wake, "it asked to be woken"),
            (self.refusals, "something of its last turn was refused"),
            (self.after_pause, "its pause is over"),
            (self.demand, "there may be room for what it wants"),
        ];
        let said: Vec<&str> = words
            .into_iter()
            .filter_map(|(stands, word)| stands.then_some(word))
            .collect();
        said.join("; ")
    }

    /// Whether there is a turn even without an offer.
    pub(super) fn is_certain(self) -> bool {
        self.news || self.wake || self.refusals || self.after_pause
    }
}

impl RoundMemory {
    /// How a seat stands now. What the next round would note first (rows that have changed,
    /// refusals) is to be noted before.
    pub fn standing(&self, state: &State, id: &SeatId, now: ClusterTime) -> Standing {
        let Some(seat) = state.seats.get(id) else {
            return Standing::Waits { until: None };
        };
        let component = state
            .frameworks
            .get(&id.framework)
            .and_then(|framework| framework.component.as_ref());
        let Some(component) = component else {
            return Standing::NoComponent;
        };
        match self.seats.get(id) {
            Some(known) => self.standing_of(state, seat, component, known, now),
            None => self.standing_of(state, seat, component, &SeatMemory::default(), now),
        }
    }

    pub(super) fn standing_of(
        &self,
        state: &State,
        seat: &Seat,
        component: &Digest,
        known: &SeatMemory,
        now: ClusterTime,
    ) -> Standing {
        if let Some(flight) = &known.flight {
            return Standing::UnderWay {
                since: flight.since,
            };
        }
        let pause = self.pauses.get(&seat.id);
        if let Some(until) = pause.and_then(|pause| lasting(pause, component, now)) {
            return Standing::Paused { until };
        }
        let full = known.full.as_ref().filter(|_| !self.is_unpaced);
        if let Some(until) = full.and_then(|full| full.lasting(component, now)) {
            return Standing::Slowed { until };
        }
        let wake = seat.wake_at.filter(|_| known.woken != Some(seat.turn_no));
        let refusals = known.refused.as_ref().map(|refused| refused.at);
        let certain = Reasons {
            news: known.pending.is_some(),
            wake: wake.is_some_and(|at| at <= now),
            refusals: refusals.is_some_and(|at| at <= now),
            after_pause: pause.is_some(),
            ..Reasons::default()
        };
        let cut = Cut {
            room: state.room_version,
            times_left: self.times_left,
            demand: seat.demand_version,
        };
        let mut reasons = Reasons {
            demand: !seat.demand.is_empty() && (known.cut != Some(cut) || certain.is_certain()),
            ..certain
        };
        if !reasons.is_certain() && !reasons.demand {
            let until = wake.into_iter().chain(refusals).min();
            return Standing::Waits { until };
        }
        let has_new_room = reasons.demand && known.cut.is_some_and(|known| known.room != cut.room);
        reasons.is_new = reasons.after_pause
            || has_new_room
            || known
                .pending
                .as_ref()
                .is_some_and(|changes| is_from_outside(state, seat, changes));
        let next = known.pace.next(now);
        if !reasons.is_new && next > now && !self.is_unpaced {
            return Standing::Paced { until: next };
        }
        Standing::Due(reasons)
    }
}

/// Until when a pause lasts; nothing where it is over, or was another component's.
fn lasting(pause: &Pause, component: &Digest, now: ClusterTime) -> Option<ClusterTime> {
    (pause.until > now && pause.component == *component).then_some(pause.until)
}

/// Whether some of these changes come from elsewhere than the seat's own last turn.
fn is_from_outside(state: &State, seat: &Seat, changes: &Changes) -> bool {
    let is_foreign = |farewell: &Farewell| matches!(farewell, Farewell::Workload(_));
    let is_own = |at: Option<Index>| at == Some(seat.said_at);
    let task = |id: &TaskId| {
        // One that has gone since is told as gone.
        let task = state.tasks.get(*id);
        task.is_none_or(|task| is_own(Some(task.changed())))
    };
    let agent = |id: &AgentId| is_own(state.changed_at(&RowKey::Agent(*id)));
    let object = |key: &ObjectKey| {
        let key = RowKey::Object(Arc::new(key.clone()));
        is_own(state.changed_at(&key))
    };
    changes.is_framework_new
        || changes.gone.iter().any(is_foreign)
        || !changes.tasks.iter().all(task)
        || !changes.objects.iter().all(object)
        || !changes.agents.iter().all(agent)
}
