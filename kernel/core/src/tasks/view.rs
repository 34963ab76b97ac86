//! A task as it is read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use kelson_model::id::{AgentId, Index, TaskId, WorkloadId};
use kelson_model::object::ObjectKey;
use kelson_model::quantity::Resources;
use kelson_model::task::{CheckState, Exit, ExitCause, TaskState, is_ended_by_hand};
use kelson_model::time::{ClusterTime, WallTime};

use super::draft::Draft;
use super::packed::{Packed, flag};
use super::shape::Shape;
use crate::port::SeatId;
use crate::record::{StopOrder, Task};

/// One task of a state. The fields of [`Task`], which say what they mean, are its methods.
#[derive(Clone, Copy)]
pub struct TaskRef<'a> {
    id: TaskId,
    packed: &'a Packed,
}

impl fmt::Debug for TaskRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_task().fmt(f)
    }
}

impl<'a> TaskRef<'a> {
    pub(super) fn new(id: TaskId, packed: &'a Packed) -> Self {
        Self { id, packed }
    }

    pub(crate) fn shape(self) -> &'a Arc<Shape> {
        &self.packed.shape
    }

    /// Whether both hold one cold part, or none.
    pub(crate) fn has_cold_of(self, other: TaskRef<'_>) -> bool {
        match (&self.packed.cold, &other.packed.cold) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// A draft of it, to be changed.
    pub(crate) fn draft(self) -> Draft {
        Draft::new(self.id, self.packed.clone())
    }

    /// Names it for ever.
    pub fn id(self) -> TaskId {
        self.id
    }

    /// Whose it is.
    pub fn workload(self) -> WorkloadId {
        self.packed.shape.workload
    }

    /// The object of that workload.
    pub fn object(self) -> &'a ObjectKey {
        &self.packed.shape.object
    }

    /// The seat that it belongs to.
    pub fn seat(self) -> &'a SeatId {
        &self.packed.shape.seat
    }

    /// What it runs.
    pub fn generation(self) -> u64 {
        self.packed.shape.generation
    }

    /// Which template of the generation.
    pub fn template(self) -> u32 {
        self.packed.shape.template
    }

    /// Content id of that template.
    pub fn template_id(self) -> u64 {
        self.packed.shape.template_id
    }

    /// What it takes from its agent until it has ended.
    pub fn resources(self) -> &'a Resources {
        &self.packed.shape.resources
    }

    /// Which slot of the workload.
    pub fn slot(self) -> u32 {
        self.packed.slot
    }

    /// Where.
    pub fn agent(self) -> AgentId {
        self.packed.agent()
    }

    /// The numbers of its ports, in the order of their names.
    pub fn port_numbers(self) -> &'a [u16] {
        self.packed.ports()
    }

    /// The ports it was given, by name.
    pub fn ports(self) -> BTreeMap<String, u16> {
        let names = self.packed.shape.ports.iter().cloned();
        names.zip(self.port_numbers().iter().copied()).collect()
    }

    /// Whether, why and by whom it is asked to end.
    pub fn stop(self) -> Option<&'a StopOrder> {
        self.packed.cold.as_ref()?.stop.as_ref()
    }

    /// Grows with each change of its assignment; begins at 1.
    pub fn assignment(self) -> u64 {
        self.packed.assignment()
    }

    /// Where it stands.
    pub fn state(self) -> TaskState {
        self.packed.state
    }

    /// Since when.
    pub fn state_since(self) -> ClusterTime {
        self.packed.state_since
    }

    /// What its health check says.
    pub fn health(self) -> CheckState {
        self.packed.health
    }

    /// Since when it is healthy without a break.
    pub fn healthy_since(self) -> Option<ClusterTime> {
        self.packed.healthy_since()
    }

    /// Whether it is ready for traffic.
    pub fn is_ready(self) -> bool {
        self.packed.has(flag::READY)
    }

    /// The process id of its program.
    pub fn pid(self) -> Option<u32> {
        self.packed.pid()
    }

    /// When its program started, for people.
    pub fn started_at(self) -> Option<WallTime> {
        self.packed.started_at()
    }

    /// How it ended.
    pub fn exit(self) -> Option<&'a Exit> {
        self.packed.cold.as_ref()?.exit.as_ref()
    }

    /// The sequence of the last status update that was applied.
    pub fn sequence(self) -> u64 {
        self.packed.sequence()
    }

    /// How often its slot was tried in a row, this task included.
    pub fn attempts(self) -> u32 {
        self.packed.attempts
    }

    /// How often in a row its slot was refused its ports before it.
    pub fn refusals(self) -> u32 {
        self.packed.cold.as_ref().map_or(0, |cold| cold.refusals)
    }

    /// Whether its scheduler has done with it.
    pub fn is_forgotten(self) -> bool {
        self.packed.has(flag::FORGOTTEN)
    }

    /// What is not enforced for it.
    pub fn isolation(self) -> &'a str {
        let cold = self.packed.cold.as_ref();
        cold.map_or("", |cold| &cold.isolation)
    }

    /// What its agent says it does or waits for.
    pub fn message(self) -> &'a str {
        let cold = self.packed.cold.as_ref();
        cold.map_or("", |cold| &cold.message)
    }

    /// The entry that changed it last.
    pub fn changed(self) -> Index {
        self.packed.changed
    }

    /// `web.2`: the workload's name and the slot.
    pub fn name(self) -> String {
        format!("{}.{}", self.object().name, self.slot())
    }

    /// Whether a person ended it.
    pub fn is_ended_by_hand(self) -> bool {
        is_ended_by_hand(self.stop().map(|stop| stop.reason), self.exit())
    }

    /// Whether it never ran because others had its ports.
    pub fn is_port_taken(self) -> bool {
        let cause = self.exit().and_then(|exit| exit.cause);
        cause == Some(ExitCause::PortsTaken)
    }

    /// The whole record.
    pub fn to_task(self) -> Task {
        Task {
            id: self.id(),
            workload: self.workload(),
            object: self.object().clone(),
            seat: self.seat().clone(),
            generation: self.generation(),
            template: self.template(),
            template_id: self.template_id(),
            slot: self.slot(),
            agent: self.agent(),
            resources: *self.resources(),
            ports: self.ports(),
            stop: self.stop().cloned(),
            assignment: self.assignment(),
            state: self.state(),
            state_since: self.state_since(),
            health: self.health(),
            healthy_since: self.healthy_since(),
            is_ready: self.is_ready(),
            pid: self.pid(),
            started_at: self.started_at(),
            exit: self.exit().cloned(),
            sequence: self.sequence(),
            attempts: self.attempts(),
            refusals: self.refusals(),
            is_forgotten: self.is_forgotten(),
            isolation: self.isolation().to_owned(),
            message: self.message().to_owned(),
        }
    }
}
