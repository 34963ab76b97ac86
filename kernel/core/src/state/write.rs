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
use super::{Farewell, RowKey, State};
use crate::object::Object;
use crate::port::SeatId;
use crate::record::{Agent, Framework, NamespaceRecord, Seat, Staged};
use crate::tasks::{Draft, Shape, TaskRef};

impl State {
    pub(crate) fn begin_entry(&mut self, index: Index, time: ClusterTime) {
        self.records.index = index;
        self.records.time = self.records.time.max(time);
        self.journal.begin_entry();
        self.trim_changes();
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

    pub(super) fn bury(&mut self, key: RowKey) {
        self.journal.bury(self.records.index, key);
    }

    pub(super) fn bid_farewell(&mut self, seat: Arc<SeatId>, farewell: Farewell) {
        self.journal
            .bid_farewell(self.records.index, seat, farewell);
    }

    /// Writes an object; its workload, where it has one, is known by it from here on. What its
    /// tasks' assignments take from it beside the template goes to their agents again where it
    /// changes.
    pub(crate) fn put_object(&mut self, object: Object) {
        self.journal.touch_object(self.records.index, &object.key);
        if let Some(workload) = object.workload
            && self.workloads.get(&workload) != Some(&object.key)
        {
            self.records.workloads.insert(workload, object.key.clone());
        }
        let known = self.objects.get(&object.key);
        let is_order_new =
            known.is_some_and(|known| known.lifecycle.drift != object.lifecycle.drift);
        let workload = object.workload.filter(|_| is_order_new);
        let key = object.key.clone();
        self.records.objects.insert(key.clone(), Arc::new(object));
        self.note_leaving(&key);
        if let Some(workload) = workload {
            self.assign_again(workload);
        }
    }

    /// Gives the running tasks of a workload assignments of a newer generation.
    fn assign_again(&mut self, workload: WorkloadId) {
        let is_running = |task: &TaskRef<'_>| task.stop().is_none();
        let live = self.live_tasks_of(workload);
        let drafts: Vec<Draft> = live.filter(is_running).map(TaskRef::draft).collect();
        for mut task in drafts {
            task.assign_again();
            self.put_task(task);
        }
    }

    /// Drops an object whose tasks have all ended, and those tasks.
    pub(crate) fn drop_object(&mut self, key: &ObjectKey) {
        if !self.objects.contains_key(key) {
            return;
        }
        self.bury(RowKey::Object(Arc::new(key.clone())));
        if let Some(workload) = self.orphan_tasks(key) {
            self.drop_tasks_of(workload);
        }
    }

    /// Drops an object and leaves its tasks, under the old workload, until they have ended. Returns
    /// that workload.
    pub(crate) fn orphan_tasks(&mut self, key: &ObjectKey) -> Option<WorkloadId> {
        let workload = self.records.objects.remove(key)?.workload?;
        self.records.workloads.remove(&workload);
        self.note_leaving(key);
        let mut seats: BTreeSet<Arc<SeatId>> = BTreeSet::new();
        seats.extend(self.seat_of(key).map(Arc::new));
        seats.extend(
            self.tasks_of(workload)
                .map(|task| Arc::clone(&task.shape().seat)),
        );
        for seat in seats {
            self.bid_farewell(seat, Farewell::Workload(workload));
        }
        Some(workload)
    }

    /// Drops the tasks of a workload, all of which have ended.
    pub(crate) fn drop_tasks_of(&mut self, workload: WorkloadId) {
        let tasks: Vec<TaskId> = self.tasks_of(workload).map(|task| task.id()).collect();
        for task in tasks {
            self.drop_task(task);
        }
    }

    /// Writes a task. Its object's row tells how many tasks run and are healthy, so that one is
    /// news too where this has changed.
    pub(crate) fn put_task(&mut self, mut task: Draft) {
        let at = self.records.index;
        let id = task.as_ref().id();
        let known = self.records.tasks.get(id);
        let is_noted = known.is_some_and(|known| known.changed() == at);
        task.set_changed(at);
        if known.is_none_or(|known| !known.has_cold_of(task.as_ref())) {
            self.task_index.share_cold(&mut task);
        }
        let counts = |task: TaskRef<'_>| (task.state(), task.health());
        let is_news = known.is_none_or(|known| counts(known) != counts(task.as_ref()));
        self.task_index.put(known, task.as_ref());
        let shape = Arc::clone(task.as_ref().shape());
        self.records.tasks.put(task);
        if !is_noted {
            self.journal.note(at, RowKey::Task(id));
        }
        let is_current = || {
            let object = self.records.objects.get(&*shape.object);
            object.is_some_and(|object| object.workload == Some(shape.workload))
        };
        if is_news && is_current() {
            self.journal.touch_object(at, &shape.object);
        }
    }

    /// Says that a task is news as it is.
    pub(crate) fn touch_task(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get(id).map(TaskRef::draft) {
            self.put_task(task);
        }
    }

    /// The shape that tasks of a workload share.
    pub(crate) fn share_shape(&mut self, shape: Shape) -> Arc<Shape> {
        self.task_index.share_shape(shape)
    }

    pub(crate) fn drop_task(&mut self, id: TaskId) {
        let Some(task) = self.records.tasks.remove(id) else {
            return;
        };
        let task = task.as_ref();
        self.task_index.remove(task);
        self.bury(RowKey::Task(id));
        self.bid_farewell(
            Arc::clone(&task.shape().seat),
            Farewell::Task(id, task.agent()),
        );
    }

    /// Writes an agent.
    pub(crate) fn put_agent(&mut self, agent: Agent) {
        self.journal.touch_agent(self.records.index, agent.id);
        let known = self.records.agents.get(&agent.id);
        self.directory.put_agent(known.map(AsRef::as_ref), &agent);
        self.records.agents.insert(agent.id, Arc::new(agent));
    }

    /// Writes a seat.
    pub(crate) fn put_seat(&mut self, seat: Seat) {
        self.journal.touch_seat(self.records.index, &seat.id);
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
        let key = framework.key.clone();
        self.journal.touch_framework(self.records.index, &key);
        let known = self.records.frameworks.get(&key);
        let known = known.map(AsRef::as_ref);
        self.directory.put_framework(known, Some(&framework));
        self.records
            .frameworks
            .insert(key.clone(), Arc::new(framework));
        self.note_leaving(&key);
    }

    pub(crate) fn drop_framework(&mut self, key: &ObjectKey) {
        if let Some(framework) = self.records.frameworks.remove(key) {
            self.bury(RowKey::Framework(Arc::new(key.clone())));
            self.directory.put_framework(Some(&framework), None);
            self.note_leaving(key);
        }
    }

    fn note_leaving(&mut self, key: &ObjectKey) {
        if key.kind == "Framework" {
            let is_leaving = self.records.is_leaving(key);
            self.directory.note_leaving(key, is_leaving);
        }
    }

    pub(crate) fn put_source(&mut self, source: SourceRecord) {
        self.journal.touch_source(self.records.index, &source.name);
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
            self.journal.touch_drift(self.records.index);
            self.records.drift = ledger;
            self.directory.note_drift(&self.records);
        }
    }

    pub(crate) fn push_event(&mut self, mut event: Event) {
        event.place = self.journal.next_event();
        let events = &mut self.records.events;
        events.push_back(Arc::new(event));
        while events.len() > Event::KEPT {
            if let Some(event) = events.pop_front() {
                self.journal.drop_event(&event);
            }
        }
    }
}
