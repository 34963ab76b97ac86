//! Restoring: a state that is made row by row from a snapshot, and what a snapshot has beside rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use kelson_model::id::{AgentId, Index, MemberId, TaskId, WorkloadId};
use kelson_model::time::ClusterTime;

use super::journal::Journal;
use super::{Farewell, Records, RowKey, State};
use crate::port::SeatId;
use crate::record::Task;
use crate::tasks::Gathering;

/// What a state has once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HeadRow {
    pub(crate) cluster: String,
    pub(crate) index: Index,
    pub(crate) time: ClusterTime,
    pub(crate) term: u64,
    pub(crate) cluster_version: u32,
    pub(crate) last_task: TaskId,
    pub(crate) last_agent: AgentId,
    pub(crate) last_workload: WorkloadId,
    pub(crate) last_member: MemberId,
    pub(crate) forgotten: Option<ClusterTime>,
    pub(crate) room_version: u64,
    /// When the drift ledger changed last.
    pub(crate) drift_changed: Option<Index>,
    /// The floors of the journal.
    pub(crate) floor: Index,
    pub(crate) farewell_floor: Index,
    pub(crate) event_floor: Index,
    /// How many events the newest entry has made.
    pub(crate) events_of_entry: u32,
}

impl HeadRow {
    /// Leaves out what counts entries, and the journal.
    pub(crate) fn forget_counts(&mut self) {
        self.index = Index(0);
        self.term = 0;
        self.drift_changed = None;
        self.floor = Index(0);
        self.farewell_floor = Index(0);
        self.event_floor = Index(0);
        self.events_of_entry = 0;
    }
}

/// A state that is being read.
#[derive(Debug, Default)]
pub(crate) struct Restoring {
    /// The rows so far; whoever adds one says when it changed.
    pub(crate) records: Records,
    tasks: Gathering,
    journal: Journal,
    /// The seats of farewells, each held once.
    seats: BTreeMap<SeatId, Arc<SeatId>>,
    has_head: bool,
}

impl Restoring {
    /// Takes what there is once; `false`: it was there already.
    pub(crate) fn put_head(&mut self, row: HeadRow) -> bool {
        let HeadRow {
            cluster,
            index,
            time,
            term,
            cluster_version,
            last_task,
            last_agent,
            last_workload,
            last_member,
            forgotten,
            room_version,
            drift_changed,
            floor,
            farewell_floor,
            event_floor,
            events_of_entry,
        } = row;
        let records = &mut self.records;
        records.cluster = cluster;
        records.index = index;
        records.time = time;
        records.term = term;
        records.cluster_version = cluster_version;
        records.last_task = last_task;
        records.last_agent = last_agent;
        records.last_workload = last_workload;
        records.last_member = last_member;
        records.forgotten = forgotten;
        records.room_version = room_version;
        self.journal
            .set_floors(floor, farewell_floor, event_floor, events_of_entry);
        self.put_changed(RowKey::Drift, drift_changed);
        !std::mem::replace(&mut self.has_head, true)
    }

    /// Takes a task, and when it changed last; `false`: it was there already.
    pub(crate) fn put_task(&mut self, task: &Task, changed: Option<Index>) -> bool {
        self.tasks.put(task, changed.unwrap_or(self.records.index))
    }

    /// Says when a row changed last that is no task, where the journal knows it.
    pub(crate) fn put_changed(&mut self, key: RowKey, changed: Option<Index>) {
        if let Some(index) = changed {
            self.journal.set_changed(key, index);
        }
    }

    /// Takes a row that is gone, after all that are there; `false`: it is out of order.
    pub(crate) fn put_tombstone(&mut self, index: Index, key: RowKey) -> bool {
        self.journal.restore_tombstone(index, key)
    }

    /// Takes a farewell; `false`: it is out of order.
    pub(crate) fn put_farewell(&mut self, index: Index, seat: SeatId, farewell: Farewell) -> bool {
        let seat = match self.seats.get(&seat) {
            Some(known) => Arc::clone(known),
            None => {
                let shared = Arc::new(seat.clone());
                self.seats.insert(seat, Arc::clone(&shared));
                shared
            }
        };
        self.journal.restore_farewell(index, seat, farewell)
    }

    /// The state; `None` where what there is once is missing.
    pub(crate) fn finish(mut self) -> Option<State> {
        self.records.tasks = self.tasks.finish();
        self.has_head
            .then(|| State::put_together(self.records, self.journal))
    }
}

impl State {
    /// What it has once.
    pub(crate) fn head_row(&self) -> HeadRow {
        let (floor, farewell_floor, event_floor, events_of_entry) = self.journal.floors();
        HeadRow {
            cluster: self.cluster.clone(),
            index: self.index,
            time: self.time,
            term: self.term,
            cluster_version: self.cluster_version,
            last_task: self.last_task,
            last_agent: self.last_agent,
            last_workload: self.last_workload,
            last_member: self.last_member,
            forgotten: self.forgotten,
            room_version: self.room_version,
            drift_changed: self.changed_at(&RowKey::Drift),
            floor,
            farewell_floor,
            event_floor,
            events_of_entry,
        }
    }
}
