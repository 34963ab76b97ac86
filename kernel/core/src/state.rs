//! The state: everything that the kernel owns, in persistent maps. Anyone may read them; only the
//! files below this one write.
//!
//! A clone costs nothing. What is stored are the [`Records`]; a [`State`] is these and what is
//! derived from them: who changed when (`state/journal.rs`) and which tasks belong to whom
//! (`state/task_index.rs`). Rows are written in `state/write.rs` and what they take is accounted in
//! `state/ledger.rs`, which keep the derived parts in step. Commands call these, or what several of
//! them share (`lifecycle/`), and touch no map themselves.

mod drift;
mod journal;
mod ledger;
mod restore;
mod task_index;
mod tokens;
mod write;

use std::ops::Deref;
use std::sync::Arc;

use imbl::{OrdMap, Vector};
use kelson_model::drift::DriftItem;
use kelson_model::event::Event;
use kelson_model::id::{AgentId, Index, TaskId, TokenId, WorkloadId};
use kelson_model::object::{Namespace, ObjectKey};
use kelson_model::quantity::Resources;
use kelson_model::source::SourceRecord;
use kelson_model::time::ClusterTime;
use serde::{Deserialize, Serialize};

use self::journal::Journal;
use self::task_index::TaskIndex;
use crate::object::Object;
use crate::port::SeatId;
use crate::record::{Agent, Client, Framework, NamespaceRecord, Seat, Staged, Task, TokenRecord};

pub(crate) use self::drift::{brief_healed, open_bytes};
pub(crate) use self::journal::Farewell;
pub(crate) use self::restore::{HeadRow, Restoring};
#[cfg(test)]
pub(crate) use self::task_index::steps;

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

/// Everything that the kernel owns, as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Records {
    /// Names the cluster; made by its first entry.
    pub cluster: String,
    /// The log entry that this state is after.
    pub index: Index,
    /// The time of the newest entry; never goes back.
    pub time: ClusterTime,
    /// The newest term that was seen.
    pub term: u64,
    /// What all members know: commands and forms since this version are taken; 0 at first.
    #[serde(skip)]
    pub cluster_version: u32,
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
    /// The tokens that hold, and some that have expired.
    #[serde(skip)]
    pub tokens: OrdMap<TokenId, Arc<TokenRecord>>,
    /// The task id that was given last.
    pub last_task: TaskId,
    /// The agent id that was given last.
    pub last_agent: AgentId,
    /// The workload id that was given last.
    pub last_workload: WorkloadId,
    /// Grows whenever room is made anywhere.
    pub room_version: u64,
}

/// The records and what is derived from them. It reads as its [`Records`], and nothing outside this
/// room writes it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Records", into = "Records")]
pub struct State {
    records: Records,
    /// Derived: which tasks belong to whom.
    task_index: TaskIndex,
    /// Derived: which row changed when.
    journal: Journal,
}

impl Deref for State {
    type Target = Records;

    fn deref(&self) -> &Records {
        &self.records
    }
}

impl From<State> for Records {
    fn from(state: State) -> Self {
        state.records
    }
}

impl From<Records> for State {
    /// Makes the derived parts anew, as of a snapshot that does not hold them: every row counts as
    /// changed by the entry that it was made after.
    fn from(mut records: Records) -> Self {
        number_events(&mut records.events);
        complete_objects(&mut records.objects);
        share_specifications(&mut records.objects);
        let keys = (records.objects.keys().cloned().map(RowKey::Object))
            .chain(records.tasks.keys().copied().map(RowKey::Task))
            .chain(records.agents.keys().copied().map(RowKey::Agent))
            .chain(records.frameworks.keys().cloned().map(RowKey::Framework))
            .chain(records.sources.keys().cloned().map(RowKey::Source))
            .chain([RowKey::Drift]);
        Self {
            task_index: TaskIndex::of(&records.tasks),
            journal: Journal::beginning_at(records.index, keys),
            records,
        }
    }
}

impl State {
    /// The object of a workload.
    pub fn object_of(&self, workload: WorkloadId) -> Option<&Arc<Object>> {
        self.objects.get(self.workloads.get(&workload)?)
    }

    /// The tasks of a workload: those that live, then those that have ended; by slot and then by
    /// age.
    pub fn tasks_of(&self, workload: WorkloadId) -> impl Iterator<Item = &Arc<Task>> + '_ {
        self.known(self.task_index.of_workload(workload))
    }

    /// The tasks of a workload that have not ended, by slot and then by age.
    pub fn live_tasks_of(&self, workload: WorkloadId) -> impl Iterator<Item = &Arc<Task>> + '_ {
        self.known(self.task_index.live_of_workload(workload))
    }

    /// The ended tasks of a slot, in no order that means anything.
    pub(crate) fn ended_tasks_of_slot(
        &self,
        workload: WorkloadId,
        slot: u32,
    ) -> impl Iterator<Item = &Arc<Task>> + '_ {
        self.known(self.task_index.ended_of_slot(workload, slot))
    }

    /// The tasks of a workload that its scheduler has done with.
    pub(crate) fn forgotten_tasks_of(
        &self,
        workload: WorkloadId,
    ) -> impl Iterator<Item = &Arc<Task>> + '_ {
        self.known(self.task_index.forgotten_of_workload(workload))
    }

    /// The youngest task of a slot.
    pub(crate) fn newest_of_slot(&self, workload: WorkloadId, slot: u32) -> Option<&Arc<Task>> {
        self.tasks
            .get(&self.task_index.newest_of_slot(workload, slot)?)
    }

    /// The tasks on an agent, by id.
    pub fn tasks_on(&self, agent: AgentId) -> impl Iterator<Item = &Arc<Task>> + '_ {
        self.known(self.task_index.on_agent(agent))
    }

    fn known<'a>(
        &'a self,
        ids: impl Iterator<Item = TaskId> + 'a,
    ) -> impl Iterator<Item = &'a Arc<Task>> + 'a {
        ids.filter_map(|id| self.tasks.get(&id))
    }

    /// The framework that handles a kind in a namespace: the first by key, those from git before
    /// those in the box.
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

    /// The object of a workload, where this seat handles it.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn own_object(
        &self,
        seat: &SeatId,
        workload: WorkloadId,
    ) -> Result<&Arc<Object>, String> {
        self.object_of(workload)
            .filter(|object| self.seat_of(&object.key).as_ref() == Some(seat))
            .ok_or_else(|| "no workload of this seat".to_owned())
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

    /// The event of an entry at this place among those that it made.
    pub fn event(&self, index: Index, place: u32) -> Option<&Arc<Event>> {
        let found = self
            .events
            .binary_search_by(|event| (event.index, event.place).cmp(&(index, place)));
        self.events.get(found.ok()?)
    }
}

/// Lets each object and its newest generation hold one specification, of which a snapshot has two.
fn share_specifications(objects: &mut OrdMap<ObjectKey, Arc<Object>>) {
    let held_twice = objects.values().filter(|object| object.holds_twice());
    let held_twice: Vec<ObjectKey> = held_twice.map(|object| object.key.clone()).collect();
    for key in held_twice {
        if let Some(object) = objects.get_mut(&key) {
            Arc::make_mut(object).share();
        }
    }
}

/// Adds what records from before it was kept do not say.
fn complete_objects(objects: &mut OrdMap<ObjectKey, Arc<Object>>) {
    let completed: Vec<Arc<Object>> = objects
        .values()
        .filter_map(|object| object.completed())
        .map(Arc::new)
        .collect();
    for object in completed {
        objects.insert(object.key.clone(), object);
    }
}

/// Numbers the events of each entry, of which a snapshot of an earlier version does not know the
/// places.
fn number_events(events: &mut Vector<Arc<Event>>) {
    let mut before: Option<(Index, u32)> = None;
    for event in events.iter_mut() {
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
