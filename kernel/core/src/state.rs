//! The state: everything that the kernel owns, in persistent maps. Anyone may read them; only the
//! files below this one write.
//!
//! A clone costs nothing. What is stored are the [`Records`]; a [`State`] is these and what is
//! derived from them: who changed when (`state/journal.rs`), which tasks belong to whom
//! (`state/task_index.rs`) and who is meant by a kind or a token (`state/directory.rs`). Rows are
//! written in `state/write.rs` and what they take is accounted in
//! `state/ledger.rs`, which keep the derived parts in step. Commands call these, or what several of
//! them share (`lifecycle/`), and touch no map themselves.

mod clients;
mod directory;
mod drift;
mod journal;
mod ledger;
mod members;
mod restore;
mod task_index;
mod tokens;
mod write;

use std::ops::Deref;
use std::sync::Arc;

use imbl::{OrdMap, Vector};
use kelson_model::drift::DriftItem;
use kelson_model::event::Event;
use kelson_model::id::{AgentId, Index, MemberId, TaskId, TokenId, WorkloadId};
use kelson_model::object::{Namespace, ObjectKey};
use kelson_model::quantity::Resources;
use kelson_model::source::SourceRecord;
use kelson_model::time::ClusterTime;
use serde::{Deserialize, Serialize};

use self::clients::ClientIndex;
use self::directory::Directory;
use self::journal::Journal;
use self::task_index::TaskIndex;
use crate::form::Hashes;
use crate::object::Object;
use crate::port::SeatId;
use crate::record::{
    Agent, Client, Framework, MemberRecord, NamespaceRecord, Seat, Staged, TokenRecord,
};
use crate::tasks::{Shape, TaskRef, Tasks};

pub(crate) use self::clients::Standing;
pub(crate) use self::drift::{brief_healed, open_bytes};
pub(crate) use self::journal::Farewell;
pub(crate) use self::restore::{HeadRow, Restoring};
pub use self::task_index::Counts;
#[cfg(test)]
pub(crate) use self::task_index::steps;

/// Names one row of the state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKey {
    /// An object.
    Object(Arc<ObjectKey>),
    /// A task.
    Task(TaskId),
    /// An agent.
    Agent(AgentId),
    /// A framework.
    Framework(Arc<ObjectKey>),
    /// A source.
    Source(Arc<String>),
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
    pub tasks: Tasks,
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
    /// Until when a client that is not known any more may have asked; absent: none was dropped.
    #[serde(skip)]
    pub forgotten: Option<ClusterTime>,
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
    /// The members of the kernel, and those that were removed.
    #[serde(skip)]
    pub members: OrdMap<MemberId, Arc<MemberRecord>>,
    /// The member id that was given last.
    #[serde(skip)]
    pub last_member: MemberId,
}

/// The records and what is derived from them. It reads as its [`Records`], and nothing outside this
/// room writes it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Records", into = "Records")]
pub struct State {
    records: Records,
    /// Derived: which tasks belong to whom.
    task_index: TaskIndex,
    /// Derived: which client is silent for longest.
    client_index: ClientIndex,
    /// Derived: who is meant by a kind or a token.
    directory: Directory,
    /// Derived: which row changed when.
    journal: Journal,
    /// Derived: the hashes of the rows, as of the end of an entry.
    hashes: Hashes,
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
        records.tasks.set_changed(records.index);
        let journal = Journal::beginning_at(&records);
        Self::put_together(records, journal)
    }
}

impl Records {
    /// Whether a framework is only there until the last of its objects has gone.
    pub(crate) fn is_leaving(&self, framework: &ObjectKey) -> bool {
        let known = self.frameworks.get(framework);
        let object = self.objects.get(framework);
        known.is_some_and(|known| !known.is_built_in)
            && object.is_some_and(|object| object.is_removed)
    }

    /// The event of an entry at this place among those that it made.
    pub fn event(&self, index: Index, place: u32) -> Option<&Arc<Event>> {
        let found = self
            .events
            .binary_search_by(|event| (event.index, event.place).cmp(&(index, place)));
        self.events.get(found.ok()?)
    }

    /// The objects of a kind, by namespace and name.
    pub fn objects_of_kind<'a>(
        &'a self,
        kind: &'a str,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a Arc<Object>)> + 'a {
        let first = ObjectKey::new(kind, Namespace::first(), "");
        let from = self.objects.range(first..);
        from.take_while(move |(key, _)| key.kind == kind)
    }

    /// The kinds of which there are objects, in order.
    pub fn kinds(&self) -> impl Iterator<Item = &str> + '_ {
        let mut next = self.objects.keys().next();
        std::iter::from_fn(move || {
            let kind = next?.kind.as_str();
            // No kind comes between this one and itself with the smallest character behind it.
            let beyond = ObjectKey::new(&format!("{kind}\0"), Namespace::first(), "");
            next = self.objects.get_next(&beyond).map(|(key, _)| key);
            Some(kind)
        })
    }
}

impl State {
    /// Derives everything else from the records and when they changed.
    fn put_together(records: Records, journal: Journal) -> Self {
        let mut state = Self {
            task_index: TaskIndex::of(&records.tasks),
            client_index: ClientIndex::of(&records.clients),
            directory: Directory::of(&records),
            journal,
            hashes: Hashes::of(&records),
            records,
        };
        state.lay_out_changes();
        state
    }

    /// The sums of the rows' hashes.
    pub(crate) fn hashes(&self) -> &Hashes {
        &self.hashes
    }

    /// Takes what an entry has changed into the hashes; `before` is the state that it found.
    pub(crate) fn keep_hashes(&mut self, before: &Self) {
        self.hashes.keep(&before.records, &self.records);
    }

    /// The object of a workload.
    pub fn object_of(&self, workload: WorkloadId) -> Option<&Arc<Object>> {
        self.objects.get(self.workloads.get(&workload)?)
    }

    /// The tasks of a workload: those that live, then those that have ended; by slot and then by
    /// age.
    pub fn tasks_of(&self, workload: WorkloadId) -> impl Iterator<Item = TaskRef<'_>> + '_ {
        self.known(self.task_index.of_workload(workload))
    }

    /// The tasks of a workload that have not ended, by slot and then by age.
    pub fn live_tasks_of(&self, workload: WorkloadId) -> impl Iterator<Item = TaskRef<'_>> + '_ {
        self.known(self.task_index.live_of_workload(workload))
    }

    /// How many tasks of a workload live, run and are healthy.
    pub fn counts_of(&self, workload: WorkloadId) -> Counts {
        self.task_index.counts(workload)
    }

    /// How many tasks on an agent have not ended.
    pub fn live_on(&self, agent: AgentId) -> u64 {
        self.task_index.live_on(agent)
    }

    /// Whether a task that lives has its scheduler in a framework.
    pub(crate) fn has_live_tasks_of(&self, framework: &ObjectKey) -> bool {
        self.task_index.has_live_of(framework)
    }

    /// The shape of a workload that is as it is asked for, where tasks have it.
    pub(crate) fn find_shape(
        &self,
        workload: WorkloadId,
        is_meant: impl Fn(&Shape) -> bool,
    ) -> Option<Arc<Shape>> {
        self.task_index.find_shape(workload, is_meant)
    }

    /// The agent that was registered under a token.
    pub(crate) fn agent_of(&self, token: &str) -> Option<&Arc<Agent>> {
        self.agents.get(&self.directory.agent_of(token)?)
    }

    /// The frameworks that are only there until the last of their objects has gone.
    pub(crate) fn leaving(&self) -> impl Iterator<Item = &ObjectKey> + '_ {
        self.directory.leaving().iter()
    }

    /// Whether an agent sees something differ of a task.
    pub(crate) fn is_drifting(&self, task: TaskId) -> bool {
        self.directory.is_drifting(task)
    }

    /// The ended tasks of a slot, in no order that means anything.
    pub(crate) fn ended_tasks_of_slot(
        &self,
        workload: WorkloadId,
        slot: u32,
    ) -> impl Iterator<Item = TaskRef<'_>> + '_ {
        self.known(self.task_index.ended_of_slot(workload, slot))
    }

    /// The tasks of a workload that its scheduler has done with.
    pub(crate) fn forgotten_tasks_of(
        &self,
        workload: WorkloadId,
    ) -> impl Iterator<Item = TaskRef<'_>> + '_ {
        self.known(self.task_index.forgotten_of_workload(workload))
    }

    /// The youngest task of a slot.
    pub(crate) fn newest_of_slot(&self, workload: WorkloadId, slot: u32) -> Option<TaskRef<'_>> {
        self.tasks
            .get(self.task_index.newest_of_slot(workload, slot)?)
    }

    /// The tasks on an agent, by id.
    pub fn tasks_on(&self, agent: AgentId) -> impl Iterator<Item = TaskRef<'_>> + '_ {
        self.known(self.task_index.on_agent(agent))
    }

    fn known<'a>(
        &'a self,
        ids: impl Iterator<Item = TaskId> + 'a,
    ) -> impl Iterator<Item = TaskRef<'a>> + 'a {
        ids.filter_map(|id| self.tasks.get(id))
    }

    /// The framework that handles a kind in a namespace: the first by key, those from git before
    /// those in the box.
    pub fn framework_for(&self, kind: &str, namespace: &Namespace) -> Option<&Arc<Framework>> {
        self.frameworks
            .get(self.directory.handler(kind, namespace)?)
    }

    /// The seat that an object belongs to.
    pub fn seat_of(&self, key: &ObjectKey) -> Option<SeatId> {
        let framework = self.framework_for(&key.kind, &key.namespace)?;
        Some(SeatId {
            framework: framework.key.clone(),
            namespace: key.namespace.clone(),
        })
    }

    /// Whether an object of this key belongs to a seat.
    pub(crate) fn is_of_seat(&self, key: &ObjectKey, seat: &SeatId) -> bool {
        let framework = || self.framework_for(&key.kind, &key.namespace);
        key.namespace == seat.namespace
            && framework().is_some_and(|framework| framework.key == seat.framework)
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
            .filter(|object| self.is_of_seat(&object.key, seat))
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
        self.directory.capacity()
    }

    /// What does not agree with what is derived anew from the records.
    pub(crate) fn broken_indexes(&self) -> Vec<String> {
        let mut broken = Vec::new();
        if self.task_index != TaskIndex::of(&self.tasks) {
            broken.push("the index of tasks is not that of the tasks".to_owned());
        }
        if self.directory != Directory::of(&self.records) {
            broken.push("the directory is not that of the records".to_owned());
        }
        broken.extend(self.broken_journal());
        broken
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
