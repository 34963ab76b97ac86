//! The state: everything that the kernel owns, in persistent maps, and the one place where rows are written.
//!
//! A clone costs nothing. Every write goes through a method here, which keeps the derived parts (who changed when, which tasks
//! belong to whom, what is used) in step; commands never touch a map themselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};
use kelson_model::drift::DriftItem;
use kelson_model::event::Event;
use kelson_model::id::{AgentId, Index, TaskId, WorkloadId};
use kelson_model::object::{Namespace, ObjectKey};
use kelson_model::quantity::Resources;
use kelson_model::source::SourceRecord;
use kelson_model::time::ClusterTime;
use serde::{Deserialize, Serialize};

use crate::object::Object;
use crate::port::SeatId;
use crate::record::{Agent, Client, Framework, NamespaceRecord, Seat, Staged, Task};

/// So many rows that are gone are remembered for watchers.
const KEPT_TOMBSTONES: usize = 10_000;

/// So many rows that are gone are remembered for the seats that saw them.
const KEPT_FAREWELLS: usize = 100_000;

/// A row that is gone and that its seat may still know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Farewell {
    /// A workload.
    Workload(WorkloadId),
    /// A task, and where it ran.
    Task(TaskId, AgentId),
}

/// Names one row of the state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKey {
    /// An object.
    Object(ObjectKey),
    /// A task.
    Task(TaskId),
    /// An agent.
    Agent(AgentId),
    /// A framework.
    Framework(ObjectKey),
    /// A source.
    Source(String),
    /// The drift ledger.
    Drift,
    /// The event made by an entry, with its place among the events of that entry.
    Event(u64, u32),
}

/// Everything that the kernel owns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Names the cluster; made by its first entry.
    pub cluster: String,
    /// The log entry that this state is after.
    pub index: Index,
    /// The time of the newest entry; never goes back.
    pub time: ClusterTime,
    /// The newest term that was seen.
    pub term: u64,
    /// All objects.
    pub objects: OrdMap<ObjectKey, Arc<Object>>,
    /// The object of each workload.
    pub workloads: OrdMap<WorkloadId, ObjectKey>,
    /// All tasks, ended ones included.
    pub tasks: OrdMap<TaskId, Arc<Task>>,
    /// All agents.
    pub agents: OrdMap<AgentId, Arc<Agent>>,
    /// All frameworks.
    pub frameworks: OrdMap<ObjectKey, Arc<Framework>>,
    /// All seats.
    pub seats: OrdMap<SeatId, Arc<Seat>>,
    /// All sources.
    pub sources: OrdMap<String, Arc<SourceRecord>>,
    /// What lies beside the state, by source.
    pub staged: OrdMap<String, Arc<Staged>>,
    /// Weights and use of namespaces.
    pub namespaces: OrdMap<Namespace, NamespaceRecord>,
    /// The drift ledger: open items, and the newest healed ones.
    pub drift: Vector<Arc<DriftItem>>,
    /// The newest events.
    pub events: Vector<Arc<Event>>,
    /// Who has asked what last.
    pub clients: OrdMap<String, Client>,
    /// The last ids that were given.
    pub last_task: TaskId,
    /// The last ids that were given.
    pub last_agent: AgentId,
    /// The last ids that were given.
    pub last_workload: WorkloadId,
    /// Grows whenever room is made anywhere.
    pub room_version: u64,

    /// Derived: tasks by workload.
    #[serde(skip)]
    pub(crate) tasks_of_workload: OrdSet<(WorkloadId, TaskId)>,
    /// Derived: tasks by agent.
    #[serde(skip)]
    pub(crate) tasks_of_agent: OrdSet<(AgentId, TaskId)>,
    /// Derived: when each row changed.
    #[serde(skip)]
    touched: OrdMap<RowKey, Index>,
    /// Derived: the same by index.
    #[serde(skip)]
    by_index: OrdSet<(Index, RowKey)>,
    /// Derived: rows that are gone, oldest first.
    #[serde(skip)]
    tombstones: Vector<(Index, RowKey)>,
    /// Derived: what is gone and whose it was, oldest first.
    #[serde(skip)]
    farewells: Vector<(Index, SeatId, Farewell)>,
    /// Derived: changes up to this index are not known any more.
    #[serde(skip)]
    floor: Index,
    /// Derived: what has gone up to this index is not known any more.
    #[serde(skip)]
    farewell_floor: Index,
    /// Derived: events up to this index are not all kept any more.
    #[serde(skip)]
    event_floor: Index,
    /// Derived: how many events this entry has made.
    #[serde(skip)]
    events_of_entry: u32,
}

impl State {
    /// Makes the derived parts anew, after a snapshot was read.
    pub fn rebuild(&mut self) {
        self.tasks_of_workload = self
            .tasks
            .values()
            .map(|task| (task.workload, task.id))
            .collect();
        self.tasks_of_agent = self
            .tasks
            .values()
            .map(|task| (task.agent, task.id))
            .collect();
        self.touched = OrdMap::new();
        self.by_index = OrdSet::new();
        self.tombstones = Vector::new();
        self.farewells = Vector::new();
        self.floor = self.index;
        self.farewell_floor = self.index;
        self.event_floor = self.index;
        self.number_events();
        let keys: Vec<RowKey> = (self.objects.keys().cloned().map(RowKey::Object))
            .chain(self.tasks.keys().copied().map(RowKey::Task))
            .chain(self.agents.keys().copied().map(RowKey::Agent))
            .chain(self.frameworks.keys().cloned().map(RowKey::Framework))
            .chain(self.sources.keys().cloned().map(RowKey::Source))
            .chain([RowKey::Drift])
            .collect();
        for key in keys {
            self.touch(key);
        }
    }

    /// The rows changed after `since`, oldest change first, gone ones included; `None` where that is no longer known.
    pub fn changed_since(&self, since: Index) -> Option<impl Iterator<Item = &RowKey> + '_> {
        if since < self.floor {
            return None;
        }
        let start = (Index(since.0 + 1), RowKey::Object(first_key()));
        Some(self.by_index.range(start..).map(|(_, key)| key))
    }

    /// The tasks that were dropped after `since`, with the agents that they were on: those agents may forget them. `None` where
    /// that is no longer known: then an agent is told the whole.
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

    /// The rows that have gone after `since`, with the seats that may know them; `None` where that is no longer known.
    pub(crate) fn farewells_since(
        &self,
        since: Index,
    ) -> Option<impl Iterator<Item = (&SeatId, Farewell)> + '_> {
        if since < self.farewell_floor {
            return None;
        }
        let farewells = self
            .farewells
            .iter()
            .rev()
            .take_while(move |(index, ..)| *index > since)
            .map(|(_, seat, farewell)| (seat, *farewell));
        Some(farewells)
    }

    /// Whether all events after `since` are kept.
    pub fn knows_events_since(&self, since: Index) -> bool {
        since >= self.event_floor
    }

    /// The index of the last change of a row.
    pub fn changed_at(&self, key: &RowKey) -> Index {
        self.touched.get(key).copied().unwrap_or_default()
    }

    /// The object of a workload.
    pub fn object_of(&self, workload: WorkloadId) -> Option<&Arc<Object>> {
        self.objects.get(self.workloads.get(&workload)?)
    }

    /// The tasks of a workload, by id.
    pub fn tasks_of(&self, workload: WorkloadId) -> impl Iterator<Item = &Arc<Task>> + '_ {
        self.tasks_of_workload
            .range((workload, TaskId(0))..=(workload, TaskId(u64::MAX)))
            .filter_map(|(_, id)| self.tasks.get(id))
    }

    /// The tasks on an agent, by id.
    pub fn tasks_on(&self, agent: AgentId) -> impl Iterator<Item = &Arc<Task>> + '_ {
        self.tasks_of_agent
            .range((agent, TaskId(0))..=(agent, TaskId(u64::MAX)))
            .filter_map(|(_, id)| self.tasks.get(id))
    }

    /// The framework that handles a kind in a namespace: the first by key, those from git before those in the box.
    pub fn framework_for(&self, kind: &str, namespace: &Namespace) -> Option<&Arc<Framework>> {
        let handles = |framework: &&Arc<Framework>| {
            framework.kind(kind).is_some() && framework.serves(namespace)
        };
        let from_git = self
            .frameworks
            .values()
            .find(|framework| !framework.is_built_in && handles(framework));
        from_git.or_else(|| self.frameworks.values().find(handles))
    }

    /// The seat that an object belongs to.
    pub fn seat_of(&self, key: &ObjectKey) -> Option<SeatId> {
        let framework = self.framework_for(&key.kind, &key.namespace)?;
        Some(SeatId {
            framework: framework.key.clone(),
            namespace: key.namespace.clone(),
        })
    }

    /// The JSON pointers of the templates of an object's kind; none where no framework handles it.
    pub(crate) fn template_pointers(&self, key: &ObjectKey) -> Vec<String> {
        let framework = self.framework_for(&key.kind, &key.namespace);
        framework
            .and_then(|framework| framework.kind(&key.kind))
            .map(|(_, kind)| kind.templates.clone())
            .unwrap_or_default()
    }

    /// What all agents that are ready have, used or not.
    pub fn capacity(&self) -> Resources {
        let ready = |agent: &&Arc<Agent>| agent.state == kelson_model::agent::AgentState::Ready;
        self.agents
            .values()
            .filter(ready)
            .map(|agent| &agent.description.resources)
            .sum()
    }

    pub(crate) fn begin_entry(&mut self, index: Index, time: ClusterTime) {
        self.index = index;
        self.time = self.time.max(time);
        self.events_of_entry = 0;
    }

    pub(crate) fn touch(&mut self, key: RowKey) {
        if let Some(before) = self.touched.insert(key.clone(), self.index) {
            self.by_index.remove(&(before, key.clone()));
        }
        self.by_index.insert((self.index, key));
    }

    fn bury(&mut self, key: RowKey) {
        self.touch(key.clone());
        self.tombstones.push_back((self.index, key));
        while self.tombstones.len() > KEPT_TOMBSTONES {
            let Some((index, key)) = self.tombstones.pop_front() else {
                break;
            };
            if self.touched.get(&key) == Some(&index) {
                self.touched.remove(&key);
                self.by_index.remove(&(index, key));
                self.floor = self.floor.max(index);
            }
        }
    }

    /// Writes an object. What its tasks' assignments take from it beside the template goes to their agents again where it changes.
    pub(crate) fn put_object(&mut self, object: Object) {
        self.touch(RowKey::Object(object.key.clone()));
        let is_order_new = self
            .objects
            .get(&object.key)
            .is_some_and(|known| known.lifecycle.drift != object.lifecycle.drift);
        let workload = object.workload.filter(|_| is_order_new);
        self.objects.insert(object.key.clone(), Arc::new(object));
        if let Some(workload) = workload {
            self.assign_again(workload);
        }
    }

    /// Gives the running tasks of a workload assignments of a newer generation.
    fn assign_again(&mut self, workload: WorkloadId) {
        let running = |task: &&Arc<Task>| !task.state.is_terminal() && task.stop.is_none();
        let tasks: Vec<Arc<Task>> = self.tasks_of(workload).filter(running).cloned().collect();
        for task in tasks {
            let assignment = task.assignment.saturating_add(1);
            self.put_task(Task {
                assignment,
                ..Task::clone(&task)
            });
        }
    }

    /// Drops an object whose tasks have all ended, and those tasks.
    pub(crate) fn drop_object(&mut self, key: &ObjectKey) {
        let Some(object) = self.objects.remove(key) else {
            return;
        };
        self.bury(RowKey::Object(key.clone()));
        if let Some(workload) = object.workload {
            self.drop_workload(workload, key);
            self.drop_tasks_of(workload);
        }
    }

    /// Drops a workload; its tasks stay until they have ended.
    pub(crate) fn drop_workload(&mut self, workload: WorkloadId, key: &ObjectKey) {
        self.workloads.remove(&workload);
        let mut seats: BTreeSet<SeatId> = self.seat_of(key).into_iter().collect();
        seats.extend(self.tasks_of(workload).map(|task| task.seat.clone()));
        for seat in seats {
            self.bid_farewell(seat, Farewell::Workload(workload));
        }
    }

    /// Drops the tasks of a workload, all of which have ended.
    pub(crate) fn drop_tasks_of(&mut self, workload: WorkloadId) {
        let tasks: Vec<TaskId> = self.tasks_of(workload).map(|task| task.id).collect();
        for task in tasks {
            self.drop_task(task);
        }
    }

    /// Gives the tasks of a workload to another seat, with what they hold.
    pub(crate) fn hand_over(&mut self, workload: WorkloadId, to: &SeatId) {
        let tasks: Vec<Arc<Task>> = self
            .tasks_of(workload)
            .filter(|task| task.seat != *to)
            .cloned()
            .collect();
        for task in tasks {
            let held = if task.state.is_terminal() {
                Resources::default()
            } else {
                task.resources
            };
            if let Some(seat) = self.seats.get_mut(&task.seat) {
                let seat = Arc::make_mut(seat);
                seat.used = seat.used.minus(&held);
            }
            if let Some(seat) = self.seats.get_mut(to) {
                let seat = Arc::make_mut(seat);
                seat.used = seat.used.plus(&held);
            }
            self.bid_farewell(task.seat.clone(), Farewell::Workload(workload));
            self.bid_farewell(task.seat.clone(), Farewell::Task(task.id, task.agent));
            self.put_task(Task {
                seat: to.clone(),
                ..Task::clone(&task)
            });
        }
    }

    fn bid_farewell(&mut self, seat: SeatId, farewell: Farewell) {
        self.farewells.push_back((self.index, seat, farewell));
        while self.farewells.len() > KEPT_FAREWELLS {
            if let Some((index, ..)) = self.farewells.pop_front() {
                self.farewell_floor = self.farewell_floor.max(index);
            }
        }
    }

    /// Writes a task. Its object's row tells how many tasks run and are healthy, so that one is news too where this has changed.
    pub(crate) fn put_task(&mut self, task: Task) {
        self.touch(RowKey::Task(task.id));
        let counts = |task: &Task| (task.state, task.health);
        let is_news = self
            .tasks
            .get(&task.id)
            .is_none_or(|known| counts(known) != counts(&task));
        if is_news
            && self
                .objects
                .get(&task.object)
                .is_some_and(|object| object.workload == Some(task.workload))
        {
            self.touch(RowKey::Object(task.object.clone()));
        }
        self.tasks_of_workload.insert((task.workload, task.id));
        self.tasks_of_agent.insert((task.agent, task.id));
        self.tasks.insert(task.id, Arc::new(task));
    }

    pub(crate) fn drop_task(&mut self, id: TaskId) {
        let Some(task) = self.tasks.remove(&id) else {
            return;
        };
        self.tasks_of_workload.remove(&(task.workload, id));
        self.tasks_of_agent.remove(&(task.agent, id));
        self.bury(RowKey::Task(id));
        self.bid_farewell(task.seat.clone(), Farewell::Task(id, task.agent));
    }

    /// Writes an agent; watchers hear of it only where `is_news`, since every launch changes what an agent has free.
    pub(crate) fn put_agent(&mut self, agent: Agent, is_news: bool) {
        if is_news {
            self.touch(RowKey::Agent(agent.id));
        }
        self.agents.insert(agent.id, Arc::new(agent));
    }

    pub(crate) fn put_seat(&mut self, seat: Seat) {
        self.seats.insert(seat.id.clone(), Arc::new(seat));
    }

    pub(crate) fn put_framework(&mut self, framework: Framework) {
        self.touch(RowKey::Framework(framework.key.clone()));
        self.frameworks
            .insert(framework.key.clone(), Arc::new(framework));
    }

    pub(crate) fn drop_framework(&mut self, key: &ObjectKey) {
        if self.frameworks.remove(key).is_some() {
            self.bury(RowKey::Framework(key.clone()));
        }
    }

    pub(crate) fn put_source(&mut self, source: SourceRecord) {
        self.touch(RowKey::Source(source.name.clone()));
        self.sources.insert(source.name.clone(), Arc::new(source));
    }

    pub(crate) fn put_drift(&mut self, drift: Vector<Arc<DriftItem>>) {
        self.touch(RowKey::Drift);
        self.drift = drift;
    }

    pub(crate) fn push_event(&mut self, mut event: Event) {
        event.place = self.events_of_entry;
        self.events_of_entry += 1;
        self.touch(RowKey::Event(event.index.0, event.place));
        self.events.push_back(Arc::new(event));
        while self.events.len() > Event::KEPT {
            if let Some(event) = self.events.pop_front() {
                self.event_floor = self.event_floor.max(event.index);
            }
        }
        let oldest = self
            .events
            .front()
            .map_or(RowKey::Event(0, 0), |event| event_key(event));
        while let Some(old) = self
            .touched
            .range(RowKey::Event(0, 0)..oldest.clone())
            .next()
            .map(|(key, index)| (*index, key.clone()))
        {
            self.touched.remove(&old.1);
            self.by_index.remove(&old);
        }
    }

    /// Numbers the events of each entry, of which a snapshot of an earlier version does not know the places.
    fn number_events(&mut self) {
        let mut before: Option<(Index, u32)> = None;
        for event in self.events.iter_mut() {
            let place = match before {
                Some((index, place)) if index == event.index => event.place.max(place + 1),
                Some(_) | None => event.place,
            };
            before = Some((event.index, place));
            if event.place != place {
                Arc::make_mut(event).place = place;
            }
        }
    }

    /// The event of an entry at this place among those that it made.
    pub fn event(&self, index: Index, place: u32) -> Option<&Arc<Event>> {
        let found = self
            .events
            .binary_search_by(|event| (event.index, event.place).cmp(&(index, place)));
        self.events.get(found.ok()?)
    }

    /// Makes the seat of a workload where there is none yet.
    pub(crate) fn ensure_seat(&mut self, id: &SeatId) {
        if !self.seats.contains_key(id) {
            self.put_seat(Seat {
                id: id.clone(),
                turn_no: 0,
                cursor: Index(0),
                demand: Arc::default(),
                demand_version: 0,
                wake_at: None,
                pairs: OrdMap::new(),
                pairs_size: 0,
                refusals: Arc::default(),
                used: Resources::default(),
            });
        }
    }

    /// Accounts resources to a task's seat and namespace (`is_taken`), or gives them back.
    pub(crate) fn account(&mut self, task: &Task, is_taken: bool) {
        let change = |used: &Resources| {
            if is_taken {
                used.plus(&task.resources)
            } else {
                used.minus(&task.resources)
            }
        };
        let mut record = self
            .namespaces
            .get(&task.object.namespace)
            .copied()
            .unwrap_or_default();
        record.used = change(&record.used);
        self.namespaces
            .insert(task.object.namespace.clone(), record);
        if let Some(seat) = self.seats.get_mut(&task.seat) {
            let seat = Arc::make_mut(seat);
            seat.used = change(&seat.used);
        }
        if let Some(agent) = self.agents.get_mut(&task.agent) {
            let agent = Arc::make_mut(agent);
            agent.used = change(&agent.used);
            let range = agent.description.ports;
            for port in task.ports.values() {
                let in_range = u32::from((range.first..=range.last).contains(port));
                if is_taken {
                    agent.used_ports.insert(*port, task.id);
                    agent.used_in_range += in_range;
                } else if agent.used_ports.get(port) == Some(&task.id) {
                    agent.used_ports.remove(port);
                    agent.used_in_range = agent.used_in_range.saturating_sub(in_range);
                }
            }
            if !is_taken {
                self.room_version += 1;
                agent.room_version = self.room_version;
            }
        }
    }

    /// Marks an agent as having new room or a new description.
    pub(crate) fn next_room_version(&mut self) -> u64 {
        self.room_version += 1;
        self.room_version
    }
}

/// Names the row of an event.
fn event_key(event: &Event) -> RowKey {
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
