//! The one place where rows are written. Each write keeps the journal and the index of tasks in
//! step.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;
use kelson_model::drift::{DriftItem, DriftState};
use kelson_model::event::Event;
use kelson_model::id::{AgentId, Index, TaskId, WorkloadId};
use kelson_model::object::{Namespace, ObjectKey};
use kelson_model::quantity::Resources;
use kelson_model::source::SourceRecord;
use kelson_model::time::ClusterTime;

use super::drift::{brief_healed, keep_fitting};
use super::journal::event_key;
use super::{Farewell, RowKey, State};
use crate::object::Object;
use crate::port::SeatId;
use crate::record::{Agent, Client, Framework, NamespaceRecord, Seat, Staged, Task};

/// How many clients are remembered, at most; the longest silent ones are dropped first.
const KEPT_CLIENTS: usize = 10_000;
impl State {
    pub(crate) fn begin_entry(&mut self, index: Index, time: ClusterTime) {
        self.records.index = index;
        self.records.time = self.records.time.max(time);
        self.journal.begin_entry();
    }

    /// Notes the term of a turn that counts.
    pub(crate) fn see_term(&mut self, term: u64) {
        self.records.term = term;
    }

    /// Raises what all members know.
    pub(crate) fn raise_cluster_version(&mut self, version: u32) {
        self.records.cluster_version = self.records.cluster_version.max(version);
    }

    /// Names the cluster; a second name is ignored.
    pub(crate) fn name_cluster(&mut self, name: &str) {
        if self.records.cluster.is_empty() {
            name.clone_into(&mut self.records.cluster);
        }
    }

    pub(crate) fn next_task(&mut self) -> TaskId {
        self.records.last_task.0 += 1;
        self.records.last_task
    }

    pub(crate) fn next_agent(&mut self) -> AgentId {
        self.records.last_agent.0 += 1;
        self.records.last_agent
    }

    pub(crate) fn next_workload(&mut self) -> WorkloadId {
        self.records.last_workload.0 += 1;
        self.records.last_workload
    }

    /// Says that a row is news, as it is or after a write.
    pub(crate) fn touch(&mut self, key: RowKey) {
        self.journal.touch(self.records.index, key);
    }

    fn bury(&mut self, key: RowKey) {
        self.journal.bury(self.records.index, key);
    }

    pub(super) fn bid_farewell(&mut self, seat: SeatId, farewell: Farewell) {
        self.journal
            .bid_farewell(self.records.index, seat, farewell);
    }

    /// Writes an object; its workload, where it has one, is known by it from here on. What its
    /// tasks' assignments take from it beside the template goes to their agents again where it
    /// changes.
    pub(crate) fn put_object(&mut self, object: Object) {
        self.touch(RowKey::Object(object.key.clone()));
        if let Some(workload) = object.workload
            && self.workloads.get(&workload) != Some(&object.key)
        {
            self.records.workloads.insert(workload, object.key.clone());
        }
        let known = self.objects.get(&object.key);
        let is_order_new =
            known.is_some_and(|known| known.lifecycle.drift != object.lifecycle.drift);
        let workload = object.workload.filter(|_| is_order_new);
        self.records
            .objects
            .insert(object.key.clone(), Arc::new(object));
        if let Some(workload) = workload {
            self.assign_again(workload);
        }
    }

    /// Gives the running tasks of a workload assignments of a newer generation.
    fn assign_again(&mut self, workload: WorkloadId) {
        let is_running = |task: &&Arc<Task>| task.stop.is_none();
        let live = self.live_tasks_of(workload);
        let tasks: Vec<Arc<Task>> = live.filter(is_running).cloned().collect();
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
        if !self.objects.contains_key(key) {
            return;
        }
        self.bury(RowKey::Object(key.clone()));
        if let Some(workload) = self.orphan_tasks(key) {
            self.drop_tasks_of(workload);
        }
    }

    /// Drops an object and leaves its tasks, under the old workload, until they have ended. Returns
    /// that workload.
    pub(crate) fn orphan_tasks(&mut self, key: &ObjectKey) -> Option<WorkloadId> {
        let workload = self.records.objects.remove(key)?.workload?;
        self.records.workloads.remove(&workload);
        let mut seats: BTreeSet<SeatId> = self.seat_of(key).into_iter().collect();
        seats.extend(self.tasks_of(workload).map(|task| task.seat.clone()));
        for seat in seats {
            self.bid_farewell(seat, Farewell::Workload(workload));
        }
        Some(workload)
    }

    /// Drops the tasks of a workload, all of which have ended.
    pub(crate) fn drop_tasks_of(&mut self, workload: WorkloadId) {
        let tasks: Vec<TaskId> = self.tasks_of(workload).map(|task| task.id).collect();
        for task in tasks {
            self.drop_task(task);
        }
    }

    /// Writes a task. Its object's row tells how many tasks run and are healthy, so that one is
    /// news too where this has changed.
    pub(crate) fn put_task(&mut self, task: Task) {
        self.touch(RowKey::Task(task.id));
        let counts = |task: &Task| (task.state, task.health);
        let known = self.records.tasks.get(&task.id);
        let is_news = known.is_none_or(|known| counts(known) != counts(&task));
        self.task_index.put(known.map(AsRef::as_ref), &task);
        let is_current = || {
            let object = self.records.objects.get(&task.object);
            object.is_some_and(|object| object.workload == Some(task.workload))
        };
        if is_news && is_current() {
            self.touch(RowKey::Object(task.object.clone()));
        }
        self.records.tasks.insert(task.id, Arc::new(task));
    }

    pub(crate) fn drop_task(&mut self, id: TaskId) {
        let Some(task) = self.records.tasks.remove(&id) else {
            return;
        };
        self.task_index.remove(&task);
        self.bury(RowKey::Task(id));
        self.bid_farewell(task.seat.clone(), Farewell::Task(id, task.agent));
    }

    /// Writes an agent.
    pub(crate) fn put_agent(&mut self, agent: Agent) {
        self.touch(RowKey::Agent(agent.id));
        self.records.agents.insert(agent.id, Arc::new(agent));
    }

    pub(crate) fn put_seat(&mut self, seat: Seat) {
        self.records.seats.insert(seat.id.clone(), Arc::new(seat));
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
                said_at: Index(0),
                refusals: Arc::default(),
                used: Resources::default(),
            });
        }
    }

    pub(crate) fn put_framework(&mut self, framework: Framework) {
        self.touch(RowKey::Framework(framework.key.clone()));
        self.records
            .frameworks
            .insert(framework.key.clone(), Arc::new(framework));
    }

    pub(crate) fn drop_framework(&mut self, key: &ObjectKey) {
        if self.records.frameworks.remove(key).is_some() {
            self.bury(RowKey::Framework(key.clone()));
        }
    }

    pub(crate) fn put_source(&mut self, source: SourceRecord) {
        self.touch(RowKey::Source(source.name.clone()));
        self.records
            .sources
            .insert(source.name.clone(), Arc::new(source));
    }

    pub(crate) fn put_staged(&mut self, source: &str, staged: Staged) {
        self.records
            .staged
            .insert(source.to_owned(), Arc::new(staged));
    }

    pub(crate) fn drop_staged(&mut self, source: &str) {
        self.records.staged.remove(source);
    }

    pub(crate) fn put_namespace(&mut self, namespace: Namespace, record: NamespaceRecord) {
        self.records.namespaces.insert(namespace, record);
    }

    /// Writes the drift ledger: the open items, the first of them where there are too many, and the
    /// newest healed ones, cut to what one row can carry.
    pub(crate) fn put_drift(&mut self, items: Vec<Arc<DriftItem>>) {
        let (mut open, mut healed): (Vec<_>, Vec<_>) = items
            .into_iter()
            .partition(|item| item.state == DriftState::Open);
        keep_fitting(&mut open);
        open.truncate(DriftItem::KEPT_OPEN);
        healed.sort_by_key(|item| item.healed_at);
        let surplus = healed.len().saturating_sub(DriftItem::KEPT_HEALED);
        let mut healed = healed.split_off(surplus);
        healed.iter_mut().for_each(brief_healed);
        let ledger = open.into_iter().chain(healed).collect();
        if ledger != self.drift {
            self.touch(RowKey::Drift);
            self.records.drift = ledger;
        }
    }

    pub(crate) fn push_event(&mut self, mut event: Event) {
        event.place = self.journal.next_event();
        self.touch(event_key(&event));
        let events = &mut self.records.events;
        events.push_back(Arc::new(event));
        while events.len() > Event::KEPT {
            if let Some(event) = events.pop_front() {
                self.journal.drop_event(&event);
            }
        }
    }

    /// Remembers what a client was answered.
    pub(crate) fn put_client(&mut self, name: &str, client: Client) {
        let clients = &mut self.records.clients;
        clients.insert(name.to_owned(), client);
        if clients.len() > KEPT_CLIENTS {
            let oldest = clients
                .iter()
                .min_by_key(|(name, client)| (client.at, (*name).clone()))
                .map(|(name, _)| name.clone());
            if let Some(name) = oldest {
                clients.remove(&name);
            }
        }
    }
}
