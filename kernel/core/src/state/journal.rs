//! The journal: which row changed when, and which rows have gone, so that seats and watchers are
//! told what is news to them.
//!
//! *Guarantees:* "changed since" is exact, or the journal says that it does not know any more, and
//! then everything is told. A snapshot holds it, so that a state which was read from one knows as
//! much as the one that was written.

use std::collections::BTreeMap;

use imbl::{OrdMap, OrdSet, Vector};
use kelson_model::event::Event;
use kelson_model::id::{AgentId, Index, TaskId, WorkloadId};
use kelson_model::object::{Namespace, ObjectKey};

use super::{RowKey, State};
use crate::port::SeatId;

/// How many rows that are gone are remembered for watchers, at most.
const KEPT_TOMBSTONES: usize = 10_000;
/// How many rows that are gone are remembered for the seats that saw them, at most.
const KEPT_FAREWELLS: usize = 100_000;

/// A row that is gone and that its seat may still know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Farewell {
    /// A workload.
    Workload(WorkloadId),
    /// A task, and where it ran.
    Task(TaskId, AgentId),
}

/// Which row changed when.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Journal {
    /// When each row changed last.
    touched: OrdMap<RowKey, Index>,
    /// The same by index.
    by_index: OrdSet<(Index, RowKey)>,
    /// Rows that are gone, oldest first.
    tombstones: Vector<(Index, RowKey)>,
    /// What is gone and whose it was, oldest first.
    farewells: Vector<(Index, SeatId, Farewell)>,
    /// Changes up to this index are not known any more.
    floor: Index,
    /// What has gone up to this index is not known any more.
    farewell_floor: Index,
    /// Events up to this index are not all kept any more.
    event_floor: Index,
    /// How many events the newest entry has made.
    events_of_entry: u32,
}

impl Journal {
    /// A journal that knows these rows as changed at `index`, and nothing before.
    pub(super) fn beginning_at(index: Index, keys: impl Iterator<Item = RowKey>) -> Self {
        let touched: BTreeMap<RowKey, Index> = keys.map(|key| (key, index)).collect();
        Self {
            by_index: touched.keys().cloned().map(|key| (index, key)).collect(),
            touched: touched.into(),
            floor: index,
            farewell_floor: index,
            event_floor: index,
            ..Self::default()
        }
    }

    /// Up to which index changes, what has gone, and events are not known any more; and how many
    /// events the newest entry has made.
    pub(super) fn floors(&self) -> (Index, Index, Index, u32) {
        (
            self.floor,
            self.farewell_floor,
            self.event_floor,
            self.events_of_entry,
        )
    }

    /// Takes the floors of a journal that is being read, see [`Journal::floors`].
    pub(super) fn set_floors(
        &mut self,
        floor: Index,
        farewell_floor: Index,
        event_floor: Index,
        events_of_entry: u32,
    ) {
        self.floor = floor;
        self.farewell_floor = farewell_floor;
        self.event_floor = event_floor;
        self.events_of_entry = events_of_entry;
    }

    /// Takes the next tombstone of a journal that is being read; `false`: it is older than the one
    /// before. A row that did not come again has changed when it went.
    pub(super) fn restore_tombstone(&mut self, at: Index, key: RowKey) -> bool {
        let is_in_order = self.tombstones.last().is_none_or(|(last, _)| *last <= at);
        if self.touched.get(&key).is_none_or(|touched| *touched < at) {
            self.touch(at, key.clone());
        }
        self.tombstones.push_back((at, key));
        is_in_order
    }

    /// Takes the next farewell of a journal that is being read; `false`: it is older than the one
    /// before.
    pub(super) fn restore_farewell(&mut self, at: Index, seat: SeatId, farewell: Farewell) -> bool {
        let is_in_order = self.farewells.last().is_none_or(|(last, ..)| *last <= at);
        self.farewells.push_back((at, seat, farewell));
        is_in_order
    }

    pub(super) fn begin_entry(&mut self) {
        self.events_of_entry = 0;
    }

    pub(super) fn touch(&mut self, at: Index, key: RowKey) {
        if let Some(before) = self.touched.insert(key.clone(), at) {
            if before == at {
                return;
            }
            self.by_index.remove(&(before, key.clone()));
        }
        self.by_index.insert((at, key));
    }

    /// Notes that a row is gone.
    pub(super) fn bury(&mut self, at: Index, key: RowKey) {
        self.touch(at, key.clone());
        self.tombstones.push_back((at, key));
        while self.tombstones.len() > KEPT_TOMBSTONES {
            let Some((index, key)) = self.tombstones.pop_front() else {
                break;
            };
            if self.touched.get(&key) == Some(&index) {
                self.forget(index, &key);
                self.floor = self.floor.max(index);
            }
        }
    }

    /// Notes that a row has gone that its seat may still know.
    pub(super) fn bid_farewell(&mut self, at: Index, seat: SeatId, farewell: Farewell) {
        self.farewells.push_back((at, seat, farewell));
        while self.farewells.len() > KEPT_FAREWELLS {
            if let Some((index, ..)) = self.farewells.pop_front() {
                self.farewell_floor = self.farewell_floor.max(index);
            }
        }
    }

    /// The place of the next event among those of the newest entry.
    pub(super) fn next_event(&mut self) -> u32 {
        let place = self.events_of_entry;
        self.events_of_entry += 1;
        place
    }

    /// Notes that an event is not kept any more.
    pub(super) fn drop_event(&mut self, event: &Event) {
        self.event_floor = self.event_floor.max(event.index);
        let key = event_key(event);
        if let Some(index) = self.touched.get(&key).copied() {
            self.forget(index, &key);
        }
    }

    fn forget(&mut self, index: Index, key: &RowKey) {
        self.touched.remove(key);
        self.by_index.remove(&(index, key.clone()));
    }
}

impl State {
    /// The rows changed after `since`, oldest change first, gone ones included; `None` where that
    /// is not known any more.
    pub fn changed_since(&self, since: Index) -> Option<impl Iterator<Item = &RowKey> + '_> {
        let journal = &self.journal;
        if since < journal.floor {
            return None;
        }
        let start = (Index(since.0 + 1), RowKey::Object(first_key()));
        Some(journal.by_index.range(start..).map(|(_, key)| key))
    }

    /// The tasks that were dropped after `since`, with the agents that they were on: those agents
    /// may forget them. `None` where that is not known any more: then an agent is told the whole.
    pub fn dropped_tasks_since(
        &self,
        since: Index,
    ) -> Option<impl Iterator<Item = (AgentId, TaskId)> + '_> {
        let dropped = self
            .farewells_since(since)?
            .filter_map(|(_, farewell)| match farewell {
                Farewell::Task(task, agent) => Some((agent, task)),
                Farewell::Workload(_) => None,
            })
            .filter(|(_, task)| !self.tasks.contains_key(task));
        Some(dropped)
    }

    /// The rows that have gone after `since`, with the seats that may know them; `None` where that
    /// is not known any more.
    pub(crate) fn farewells_since(
        &self,
        since: Index,
    ) -> Option<impl Iterator<Item = (&SeatId, Farewell)> + '_> {
        if since < self.journal.farewell_floor {
            return None;
        }
        let farewells = self
            .journal
            .farewells
            .iter()
            .rev()
            .take_while(move |(index, ..)| *index > since)
            .map(|(_, seat, farewell)| (seat, *farewell));
        Some(farewells)
    }

    /// Rows that are gone, oldest first.
    pub(crate) fn tombstones(&self) -> impl Iterator<Item = &(Index, RowKey)> + '_ {
        self.journal.tombstones.iter()
    }

    /// What is gone and whose it was, oldest first.
    pub(crate) fn farewells(&self) -> impl Iterator<Item = &(Index, SeatId, Farewell)> + '_ {
        self.journal.farewells.iter()
    }

    /// When a row changed last, where the journal knows it.
    pub(crate) fn touched_at(&self, key: &RowKey) -> Option<Index> {
        self.journal.touched.get(key).copied()
    }

    /// Whether all events after `since` are kept.
    pub fn knows_events_since(&self, since: Index) -> bool {
        since >= self.journal.event_floor
    }

    /// The index of the last change of a row.
    pub fn changed_at(&self, key: &RowKey) -> Index {
        self.journal.touched.get(key).copied().unwrap_or_default()
    }
}

/// Names the row of an event.
pub(super) fn event_key(event: &Event) -> RowKey {
    RowKey::Event(event.index.0, event.place)
}

fn first_key() -> ObjectKey {
    ObjectKey {
        kind: String::new(),
        namespace: Namespace::default_namespace(),
        name: String::new(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use kelson_model::time::ClusterTime;

    use super::*;

    #[test]
    fn what_has_gone_is_known_as_far_as_it_is_kept_and_never_half() {
        let mut state = State::default();
        let seat = SeatId {
            framework: first_key(),
            namespace: Namespace::default_namespace(),
        };
        let entries = u64::try_from(KEPT_FAREWELLS * 2).unwrap();
        for number in 1..=entries {
            state.begin_entry(Index(number), ClusterTime(0));
            let farewell = Farewell::Task(TaskId(number), AgentId(1));
            state.bid_farewell(seat.clone(), farewell);
        }
        let oldest = Index(entries / 2);
        assert_eq!(
            state.dropped_tasks_since(oldest).unwrap().count(),
            KEPT_FAREWELLS
        );
        assert!(state.dropped_tasks_since(Index(oldest.0 - 1)).is_none());
    }
}
