//! The journal: which row changed when, and which rows have gone, so that seats, sessions and
//! watchers are told what is news to them.
//!
//! *Flow:* each change is one item of a ring, newest last; beside it each row knows the entry that
//! changed it last (a task in its own record), so an item that a newer one follows is seen to be
//! old. Whoever follows walks back from the newest item to the one it knows. *Guarantees:* "changed
//! since" is exact, or the journal says that it does not know any more, and then everything is
//! told. Every ring has a limit and a floor: what came up to the floor is not known any more.
//! A snapshot holds what the rings of what has gone hold and when each row changed, so that a state
//! which was read from one knows as much as the one that was written. *Caveats:* the floor of the
//! ring of changes depends on when this member was started, the others on the entries alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::{OrdMap, Vector};
use kelson_model::event::Event;
use kelson_model::id::{AgentId, Index, TaskId, WorkloadId};
use kelson_model::object::ObjectKey;

use super::{Records, RowKey, State};
use crate::port::SeatId;

/// How many changes are remembered, at most, where there are not more tasks than that; else as many
/// as there are tasks.
const KEPT_CHANGES: usize = 1 << 16;
/// How many rows that are gone are remembered for watchers, at most.
const KEPT_TOMBSTONES: usize = 100_000;
/// How many rows that are gone are remembered for the seats that saw them, at most.
const KEPT_FAREWELLS: usize = 100_000;
/// How many changes of seats are remembered, at most.
const KEPT_SEAT_CHANGES: usize = 1 << 16;

/// A row that is gone and that its seat may still know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Farewell {
    /// A workload.
    Workload(WorkloadId),
    /// A task, and where it ran.
    Task(TaskId, AgentId),
}

/// Which row changed when.
#[derive(Debug, Clone, Default)]
pub(super) struct Journal {
    /// Changes of rows, oldest first. A row may be in it more than once.
    changes: Vector<(Index, RowKey)>,
    /// Changes up to this index are not known any more.
    floor: Index,
    /// Rows that are gone, oldest first.
    tombstones: Vector<(Index, RowKey)>,
    /// Which rows have gone up to this index is not known any more.
    tombstone_floor: Index,
    /// What is gone and whose it was, oldest first.
    farewells: Vector<(Index, Arc<SeatId>, Farewell)>,
    /// What has gone up to this index is not known any more.
    farewell_floor: Index,
    /// Changes of seats, oldest first.
    seats: Vector<(Index, Arc<SeatId>)>,
    /// Seats that changed up to this index are not known any more.
    seat_floor: Index,
    /// Events up to this index are not all kept any more.
    event_floor: Index,
    /// How many events the newest entry has made.
    events_of_entry: u32,
    /// When each object changed last.
    objects: OrdMap<Arc<ObjectKey>, Index>,
    agents: OrdMap<AgentId, Index>,
    frameworks: OrdMap<Arc<ObjectKey>, Index>,
    sources: OrdMap<Arc<String>, Index>,
    drift: Option<Index>,
}

impl PartialEq for Journal {
    /// Whether both know the same of the rows that there are and of those that have gone. How far
    /// back the rings of changes go is each member's own.
    fn eq(&self, other: &Self) -> bool {
        let known = |one: &Self| {
            (
                one.floors(),
                one.drift,
                one.tombstones.clone(),
                one.farewells.clone(),
            )
        };
        let rows = |one: &Self| {
            (
                one.objects.clone(),
                one.agents.clone(),
                one.frameworks.clone(),
                one.sources.clone(),
            )
        };
        known(self) == known(other) && rows(self) == rows(other)
    }
}

impl Journal {
    /// A journal that knows these rows as changed by the newest entry, and nothing before.
    pub(super) fn beginning_at(records: &Records) -> Self {
        let index = records.index;
        let mut journal = Self::default();
        journal.set_floors(index, index, index, 0);
        for key in records.keys_but_tasks() {
            journal.set_changed(key, index);
        }
        journal
    }

    /// Up to which index is not known any more what has gone, what was a farewell, and events; and
    /// how many events the newest entry has made.
    pub(super) fn floors(&self) -> (Index, Index, Index, u32) {
        (
            self.tombstone_floor,
            self.farewell_floor,
            self.event_floor,
            self.events_of_entry,
        )
    }

    /// Takes the floors of a journal that is being read, see [`Journal::floors`].
    pub(super) fn set_floors(
        &mut self,
        tombstone_floor: Index,
        farewell_floor: Index,
        event_floor: Index,
        events_of_entry: u32,
    ) {
        self.tombstone_floor = tombstone_floor;
        self.farewell_floor = farewell_floor;
        self.event_floor = event_floor;
        self.events_of_entry = events_of_entry;
    }

    /// Takes when a row changed that neither is a task, which knows it itself, nor an event.
    pub(super) fn set_changed(&mut self, key: RowKey, at: Index) {
        match key {
            RowKey::Object(key) => {
                self.objects.insert(key, at);
            }
            RowKey::Framework(key) => {
                self.frameworks.insert(key, at);
            }
            RowKey::Source(name) => {
                self.sources.insert(name, at);
            }
            RowKey::Agent(id) => {
                self.agents.insert(id, at);
            }
            RowKey::Drift => self.drift = Some(at),
            RowKey::Task(_) | RowKey::Event(..) => {}
        }
    }

    /// Takes the next tombstone of a journal that is being read; `false`: it is older than the one
    /// before.
    pub(super) fn restore_tombstone(&mut self, at: Index, key: RowKey) -> bool {
        let is_in_order = self.tombstones.last().is_none_or(|(last, _)| *last <= at);
        self.tombstones.push_back((at, key));
        is_in_order
    }

    /// Takes the next farewell of a journal that is being read; `false`: it is older than the one
    /// before.
    pub(super) fn restore_farewell(
        &mut self,
        at: Index,
        seat: Arc<SeatId>,
        farewell: Farewell,
    ) -> bool {
        let is_in_order = self.farewells.last().is_none_or(|(last, ..)| *last <= at);
        self.farewells.push_back((at, seat, farewell));
        is_in_order
    }

    pub(super) fn begin_entry(&mut self) {
        self.events_of_entry = 0;
    }

    /// Notes a change of a row that knows itself when it changed.
    pub(super) fn note(&mut self, at: Index, key: RowKey) {
        self.changes.push_back((at, key));
    }

    /// Notes a change of an object.
    pub(super) fn touch_object(&mut self, at: Index, key: &ObjectKey) {
        if let Some(key) = touch_named(&mut self.objects, at, key) {
            self.note(at, RowKey::Object(key));
        }
    }

    pub(super) fn touch_framework(&mut self, at: Index, key: &ObjectKey) {
        if let Some(key) = touch_named(&mut self.frameworks, at, key) {
            self.note(at, RowKey::Framework(key));
        }
    }

    pub(super) fn touch_source(&mut self, at: Index, name: &String) {
        if let Some(name) = touch_named(&mut self.sources, at, name) {
            self.note(at, RowKey::Source(name));
        }
    }

    pub(super) fn touch_agent(&mut self, at: Index, id: AgentId) {
        if self.agents.insert(id, at) != Some(at) {
            self.note(at, RowKey::Agent(id));
        }
    }

    pub(super) fn touch_drift(&mut self, at: Index) {
        if self.drift != Some(at) {
            self.drift = Some(at);
            self.note(at, RowKey::Drift);
        }
    }

    /// Notes a change of a seat.
    pub(super) fn touch_seat(&mut self, at: Index, seat: &SeatId) {
        if let Some((index, newest)) = self.seats.back()
            && **newest == *seat
        {
            if *index == at {
                return;
            }
            let seat = Arc::clone(newest);
            self.seats.push_back((at, seat));
        } else {
            self.seats.push_back((at, Arc::new(seat.clone())));
        }
        while self.seats.len() > KEPT_SEAT_CHANGES {
            if let Some((index, _)) = self.seats.pop_front() {
                self.seat_floor = self.seat_floor.max(index);
            }
        }
    }

    /// Notes that a row is gone.
    pub(super) fn bury(&mut self, at: Index, key: RowKey) {
        match &key {
            RowKey::Object(key) => {
                self.objects.remove(key);
            }
            RowKey::Framework(key) => {
                self.frameworks.remove(key);
            }
            RowKey::Source(name) => {
                self.sources.remove(name);
            }
            RowKey::Agent(id) => {
                self.agents.remove(id);
            }
            RowKey::Task(_) | RowKey::Drift | RowKey::Event(..) => {}
        }
        self.tombstones.push_back((at, key));
        while self.tombstones.len() > KEPT_TOMBSTONES {
            if let Some((index, _)) = self.tombstones.pop_front() {
                self.tombstone_floor = self.tombstone_floor.max(index);
            }
        }
    }

    /// Notes that a row has gone that its seat may still know.
    pub(super) fn bid_farewell(&mut self, at: Index, seat: Arc<SeatId>, farewell: Farewell) {
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
    }
}

/// Sets when a row changed; its name where that is news.
fn touch_named<K: Ord + Clone + std::fmt::Debug>(
    rows: &mut OrdMap<Arc<K>, Index>,
    at: Index,
    key: &K,
) -> Option<Arc<K>> {
    match rows.get_key_value_mut(key) {
        Some((_, before)) if *before == at => None,
        Some((name, before)) => {
            *before = at;
            Some(Arc::clone(name))
        }
        None => {
            let name = Arc::new(key.clone());
            rows.insert(Arc::clone(&name), at);
            Some(name)
        }
    }
}

impl State {
    /// Forgets the oldest changes where there are too many. What a newer change of the same row
    /// follows is no loss.
    pub(super) fn trim_changes(&mut self) {
        let most = KEPT_CHANGES.max(self.tasks.len());
        while self.journal.changes.len() > most {
            let Some((index, key)) = self.journal.changes.pop_front() else {
                break;
            };
            if self.changed_at(&key) == Some(index) {
                self.journal.floor = self.journal.floor.max(index);
            }
        }
    }

    /// The rows changed after `since`, oldest change first, gone ones included; `None` where that
    /// is not known any more. It costs what has changed.
    pub fn changed_since(&self, since: Index) -> Option<Vec<RowKey>> {
        let journal = &self.journal;
        if since < journal.floor.max(journal.tombstone_floor) {
            return None;
        }
        let is_new = |(index, _): &&(Index, RowKey)| *index > since;
        let changed = journal.changes.iter().rev().take_while(is_new);
        let changed = changed.filter(|(index, key)| self.changed_at(key) == Some(*index));
        let mut gone: BTreeMap<&RowKey, Index> = BTreeMap::new();
        for (index, key) in journal.tombstones.iter().rev().take_while(is_new) {
            if self.changed_at(key).is_none() {
                gone.entry(key).or_insert(*index);
            }
        }
        let events = self.events.iter().rev();
        let events = events.take_while(|event| event.index > since);
        let mut found: Vec<(Index, RowKey)> = changed
            .cloned()
            .chain(gone.into_iter().map(|(key, index)| (index, key.clone())))
            .chain(events.map(|event| (event.index, event_key(event))))
            .collect();
        found.sort_unstable();
        Some(found.into_iter().map(|(_, key)| key).collect())
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
            .filter(|(_, task)| !self.tasks.contains(*task));
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
            .map(|(_, seat, farewell)| (&**seat, *farewell));
        Some(farewells)
    }

    /// The seats whose records changed after `since`, some of them more than once; `None` where
    /// that is not known any more.
    pub(crate) fn seats_since(&self, since: Index) -> Option<impl Iterator<Item = &SeatId> + '_> {
        if since < self.journal.seat_floor {
            return None;
        }
        let seats = self.journal.seats.iter().rev();
        let seats = seats.take_while(move |(index, _)| *index > since);
        Some(seats.map(|(_, seat)| &**seat))
    }

    /// Whether all events after `since` are kept.
    pub fn knows_events_since(&self, since: Index) -> bool {
        since >= self.journal.event_floor
    }

    /// The entry that changed a row last; `None`: there is no such row.
    pub fn changed_at(&self, key: &RowKey) -> Option<Index> {
        let journal = &self.journal;
        match key {
            RowKey::Object(key) => journal.objects.get(&**key).copied(),
            RowKey::Task(id) => self.tasks.get(*id).map(|task| task.changed()),
            RowKey::Agent(id) => journal.agents.get(id).copied(),
            RowKey::Framework(key) => journal.frameworks.get(&**key).copied(),
            RowKey::Source(name) => journal.sources.get(&**name).copied(),
            RowKey::Drift => journal.drift,
            RowKey::Event(index, place) => {
                let event = self.event(Index(*index), *place);
                event.map(|event| event.index)
            }
        }
    }

    /// Rows that are gone, oldest first.
    pub(crate) fn tombstones(&self) -> impl Iterator<Item = &(Index, RowKey)> + '_ {
        self.journal.tombstones.iter()
    }

    /// What is gone and whose it was, oldest first.
    pub(crate) fn farewells(&self) -> impl Iterator<Item = &(Index, Arc<SeatId>, Farewell)> + '_ {
        self.journal.farewells.iter()
    }

    /// Makes the ring of changes of what each row knows of itself: the newest change of each, as
    /// far back as it is known which rows have gone.
    pub(super) fn lay_out_changes(&mut self) {
        let floor = self.journal.tombstone_floor;
        let tasks = self.tasks.iter();
        let tasks = tasks.map(|task| (task.changed(), RowKey::Task(task.id())));
        let others = self.keys_but_tasks();
        let others = others.filter_map(|key| Some((self.changed_at(&key)?, key)));
        let mut changes: Vec<(Index, RowKey)> =
            tasks.chain(others).filter(|(at, _)| *at > floor).collect();
        changes.sort_unstable();
        self.journal.changes = changes.into_iter().collect();
        self.journal.seat_floor = self.index;
        self.trim_changes();
    }

    /// Rows of which the journal does not know when they changed, or that it knows too late or too
    /// long.
    pub(super) fn broken_journal(&self) -> Vec<String> {
        let journal = &self.journal;
        let mut broken = Vec::new();
        let floor = journal.floor.max(journal.tombstone_floor);
        let noted: BTreeSet<&(Index, RowKey)> = journal.changes.iter().collect();
        let tasks = self.tasks.ids().map(RowKey::Task);
        for key in self.keys_but_tasks().chain(tasks) {
            match self.changed_at(&key) {
                None if key == RowKey::Drift => {}
                None => broken.push(format!("{key:?} has never changed")),
                Some(at) if at > self.index => broken.push(format!("{key:?} changes later")),
                Some(at) if at > floor && !noted.contains(&(at, key.clone())) => {
                    broken.push(format!("{key:?} is not among the changes"));
                }
                Some(_) => {}
            }
        }
        let known = [
            (journal.objects.len(), self.objects.len(), "objects"),
            (journal.agents.len(), self.agents.len(), "agents"),
            (
                journal.frameworks.len(),
                self.frameworks.len(),
                "frameworks",
            ),
            (journal.sources.len(), self.sources.len(), "sources"),
        ];
        for (noted, there, what) in known {
            if noted != there {
                broken.push(format!("{noted} {what} are noted, and {there} there"));
            }
        }
        broken
    }
}

impl Records {
    /// The rows that are no tasks and no events.
    fn keys_but_tasks(&self) -> impl Iterator<Item = RowKey> + '_ {
        let objects = self.objects.keys().cloned().map(Arc::new);
        let frameworks = self.frameworks.keys().cloned().map(Arc::new);
        let sources = self.sources.keys().cloned().map(Arc::new);
        (objects.map(RowKey::Object))
            .chain(self.agents.keys().copied().map(RowKey::Agent))
            .chain(frameworks.map(RowKey::Framework))
            .chain(sources.map(RowKey::Source))
            .chain([RowKey::Drift])
    }
}

/// Names the row of an event.
pub(super) fn event_key(event: &Event) -> RowKey {
    RowKey::Event(event.index.0, event.place)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use kelson_model::object::Namespace;
    use kelson_model::time::ClusterTime;

    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("Service", Namespace::default_namespace(), name)
    }

    fn seat(name: &str) -> SeatId {
        SeatId {
            framework: key(name),
            namespace: Namespace::default_namespace(),
        }
    }

    /// Two entries for each thing that is kept.
    fn twice(kept: usize) -> (u64, Index) {
        let entries = u64::try_from(kept * 2).unwrap();
        (entries, Index(entries / 2))
    }

    #[test]
    fn what_has_gone_is_known_as_far_as_it_is_kept_and_never_half() {
        let mut state = State::default();
        let seat = Arc::new(seat("seat"));
        let (entries, oldest) = twice(KEPT_FAREWELLS);
        for number in 1..=entries {
            state.begin_entry(Index(number), ClusterTime(0));
            let farewell = Farewell::Task(TaskId(number), AgentId(1));
            state.bid_farewell(Arc::clone(&seat), farewell);
        }
        assert_eq!(
            state.dropped_tasks_since(oldest).unwrap().count(),
            KEPT_FAREWELLS
        );
        assert!(state.dropped_tasks_since(Index(oldest.0 - 1)).is_none());
    }

    #[test]
    fn rows_that_are_gone_are_told_as_far_as_they_are_kept_and_never_half() {
        let mut state = State::default();
        let (entries, oldest) = twice(KEPT_TOMBSTONES);
        for number in 1..=entries {
            state.begin_entry(Index(number), ClusterTime(0));
            state.bury(RowKey::Task(TaskId(number)));
        }
        let gone = state.changed_since(oldest).unwrap();
        assert_eq!(gone.len(), KEPT_TOMBSTONES);
        assert!(state.changed_since(Index(oldest.0 - 1)).is_none());
        assert_eq!(state.journal.tombstones.len(), KEPT_TOMBSTONES);
    }

    #[test]
    fn changes_are_known_as_far_as_they_are_kept_and_a_row_that_changes_often_costs_none() {
        let mut state = State::default();
        let (entries, _) = twice(KEPT_CHANGES);
        let still = key("still");
        for number in 1..=entries {
            state.begin_entry(Index(number), ClusterTime(0));
            let index = state.index;
            if number == 2 {
                state.journal.touch_object(index, &still);
            }
            state.journal.touch_object(index, &key("busy"));
        }
        state.begin_entry(Index(entries + 1), ClusterTime(0));
        assert!(state.journal.changes.len() <= KEPT_CHANGES);
        // The one change that is lost is that of the row that has been still since.
        assert!(state.changed_since(Index(1)).is_none());
        let busy = RowKey::Object(Arc::new(key("busy")));
        let busy = [busy];
        assert_eq!(state.changed_since(Index(2)).unwrap(), busy);
        assert_eq!(state.changed_since(Index(entries - 1)).unwrap(), busy);
        assert!(state.changed_since(Index(entries)).unwrap().is_empty());
    }

    #[test]
    fn seats_that_change_are_known_as_far_as_they_are_kept() {
        let mut state = State::default();
        let (entries, oldest) = twice(KEPT_SEAT_CHANGES);
        let seats = [seat("one"), seat("two")];
        for (number, seat) in (1..=entries).zip(seats.iter().cycle()) {
            state.begin_entry(Index(number), ClusterTime(0));
            state.ensure_seat(seat);
            let record = state.seats.get(seat).unwrap();
            let record = crate::record::Seat::clone(record);
            state.put_seat(record);
        }
        let known = state.seats_since(oldest).unwrap().count();
        assert_eq!(known, KEPT_SEAT_CHANGES);
        assert!(state.seats_since(Index(oldest.0 - 1)).is_none());
        assert_eq!(state.journal.seats.len(), KEPT_SEAT_CHANGES);
    }

    #[test]
    fn a_state_without_a_history_takes_every_row_for_changed_by_the_newest_entry() {
        let mut state = State::default();
        state.begin_entry(Index(9), ClusterTime(0));
        state.put_source(kelson_model::source::SourceRecord {
            name: "s".to_owned(),
            ..Default::default()
        });
        let anew = State::from(Records::clone(&state));
        assert!(anew.changed_since(Index(8)).is_none());
        assert!(anew.changed_since(Index(9)).unwrap().is_empty());
        let source = RowKey::Source(Arc::new("s".to_owned()));
        assert_eq!(anew.changed_at(&source), Some(Index(9)));
    }
}
