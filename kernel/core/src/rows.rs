//! Rows: what a seat sees of the state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kelson_model::agent::AgentState;
use kelson_model::id::{AgentId, TaskId, WorkloadId};
use kelson_model::object::ObjectKey;
use kelson_model::task::ExitCause;

use crate::object::Object;
use crate::port::{AgentRow, Demand, Op, SeatId, SeatRows, SeatView, TaskRow, WorkloadRow};
use crate::record::Agent;
use crate::state::{Farewell, State};
use crate::tasks::TaskRef;

/// A state as one seat reads it.
#[derive(Clone)]
pub struct StateView {
    /// The state; a clone costs nothing.
    pub state: State,
    /// Who reads.
    pub seat: SeatId,
}

impl SeatView for StateView {
    fn all_rows(&self) -> SeatRows {
        all_rows(&self.state, &self.seat)
    }

    fn spec(&self, workload: WorkloadId, generation: u64) -> Option<String> {
        let object = self.own(workload)?;
        Some(object.generation_of(generation)?.spec.text().to_owned())
    }

    fn name(&self, workload: WorkloadId) -> Option<String> {
        Some(self.own(workload)?.key.name.clone())
    }

    fn attributes(&self, agent: AgentId) -> Option<Arc<Vec<(String, String)>>> {
        let agent = self.state.agents.get(&agent)?;
        let may_serve = agent.state == AgentState::Ready;
        let serves = || {
            let mut tasks = self.state.tasks_on(agent.id);
            tasks.any(|task| *task.seat() == self.seat)
        };
        (may_serve || serves()).then(|| agent.attributes.clone())
    }

    fn end(&self, task: TaskId) -> Option<String> {
        let task = self.state.tasks.get(task)?;
        let exit = task.exit().filter(|_| *task.seat() == self.seat)?;
        Some(exit.reason.clone())
    }

    fn is_said(&self, status: &Op) -> bool {
        let Op::SetStatus {
            workload,
            generation,
            health,
            rollout,
            reason,
            message,
        } = status
        else {
            return false;
        };
        self.own(*workload).is_some_and(|object| {
            let said = &object.status;
            (said.generation, said.health, said.rollout) == (*generation, *health, *rollout)
                && said.reason == *reason
                && said.message == *message
        })
    }

    fn demand(&self) -> Arc<Vec<Demand>> {
        let seat = self.state.seats.get(&self.seat);
        seat.map(|seat| Arc::clone(&seat.demand))
            .unwrap_or_default()
    }
}

impl StateView {
    /// The object of a workload, where it belongs to the seat that reads.
    fn own(&self, workload: WorkloadId) -> Option<&Arc<Object>> {
        let object = self.state.object_of(workload)?;
        self.state
            .is_of_seat(&object.key, &self.seat)
            .then_some(object)
    }
}

/// What has changed for one seat.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    /// Objects that were written.
    pub(crate) objects: BTreeSet<ObjectKey>,
    /// Tasks that were written.
    pub(crate) tasks: BTreeSet<TaskId>,
    /// Agents that were written.
    pub(crate) agents: BTreeSet<AgentId>,
    /// Whether its framework was written, of which there is no row.
    pub(crate) is_framework_new: bool,
    /// The rows that are gone.
    pub(crate) gone: BTreeSet<Farewell>,
}

impl Changes {
    /// Adds those of another.
    pub(crate) fn add(&mut self, other: &Self) {
        self.objects.extend(other.objects.iter().cloned());
        self.tasks.extend(other.tasks.iter().copied());
        self.agents.extend(other.agents.iter().copied());
        self.gone.extend(other.gone.iter().copied());
        self.is_framework_new |= other.is_framework_new;
    }
}

/// All rows of a seat: its workloads, their tasks, and the agents that run them.
pub(crate) fn all_rows(state: &State, seat: &SeatId) -> SeatRows {
    let kinds = state
        .frameworks
        .get(&seat.framework)
        .and_then(|framework| framework.description.clone());
    let mut changes = Changes::default();
    for kind in kinds.iter().flat_map(|description| &description.kinds) {
        let first = ObjectKey::new(&kind.kind, seat.namespace.clone(), "");
        let of_seat = state
            .objects
            .range(first..)
            .take_while(|(key, _)| key.kind == kind.kind && key.namespace == seat.namespace);
        for (key, object) in of_seat.filter(|(key, _)| state.is_of_seat(key, seat)) {
            changes.objects.insert(key.clone());
            let workload = object.workload.iter();
            let tasks = workload.flat_map(|workload| state.tasks_of(*workload));
            changes.tasks.extend(tasks.map(|task| task.id()));
        }
    }
    rows_of(state, seat, &changes, &[])
}

/// These rows of a seat, and the agents named beside them. A row that is gone appears with its
/// `gone` flag.
pub(crate) fn rows_of(
    state: &State,
    seat: &SeatId,
    changes: &Changes,
    offered: &[AgentId],
) -> SeatRows {
    let mut tasks: Vec<TaskRow> = Vec::with_capacity(changes.tasks.len());
    let mut foreign: BTreeMap<WorkloadId, bool> = BTreeMap::new();
    let mut agents: BTreeSet<AgentId> = offered.iter().chain(&changes.agents).copied().collect();
    let mut workloads = BTreeMap::new();
    let is_own = |workload: WorkloadId| {
        state
            .object_of(workload)
            .is_some_and(|object| state.is_of_seat(&object.key, seat))
    };
    for object in changes
        .objects
        .iter()
        .filter_map(|key| state.objects.get(key))
    {
        let Some(workload) = object.workload else {
            continue;
        };
        let own = Some(object).filter(|_| is_own(workload));
        let row = own
            .and_then(|object| workload_row(state, object))
            .unwrap_or_else(|| gone_workload(workload));
        workloads.insert(workload, row);
    }
    for id in &changes.tasks {
        match state.tasks.get(*id).filter(|task| task.seat() == seat) {
            Some(task) => {
                tasks.push(task_row(task));
                agents.insert(task.agent());
                foreign
                    .entry(task.workload())
                    .or_insert_with(|| !is_own(task.workload()));
            }
            None => tasks.push(gone_task(*id)),
        }
    }
    for (workload, _) in foreign.into_iter().filter(|(_, is_foreign)| *is_foreign) {
        workloads.insert(workload, gone_workload(workload));
    }
    for farewell in &changes.gone {
        match farewell {
            Farewell::Workload(id) if !is_own(*id) => {
                workloads.insert(*id, gone_workload(*id));
            }
            Farewell::Task(id, _)
                if state.tasks.get(*id).is_none_or(|task| task.seat() != seat) =>
            {
                tasks.push(gone_task(*id));
            }
            // It has come back since.
            Farewell::Workload(_) | Farewell::Task(..) => {}
        }
    }
    tasks.sort_by_key(|row| row.id);
    tasks.dedup_by_key(|row| row.id);
    SeatRows {
        workloads: workloads.into_values().collect(),
        tasks,
        agents: agents
            .iter()
            .filter_map(|id| state.agents.get(id))
            .map(|agent| agent_row(agent))
            .collect(),
    }
}

pub(crate) fn workload_row(state: &State, object: &Object) -> Option<WorkloadRow> {
    let template_id = |number: u64| {
        object
            .generation_of(number)
            .and_then(|generation| generation.template_ids.first().copied())
    };
    let framework = state.framework_for(&object.key.kind, &object.key.namespace)?;
    let (kind, _) = framework.kind(&object.key.kind)?;
    Some(WorkloadRow {
        id: object.workload?,
        generation: object.generation,
        good_generation: object.good_generation,
        quarantined_generation: object.quarantined_generation(),
        template_id: template_id(object.generation).unwrap_or(0),
        good_template_id: template_id(object.good_generation).unwrap_or(0),
        generation_since: object.generation_since,
        kind,
        is_gone: object.is_removed,
    })
}

fn gone_workload(id: WorkloadId) -> WorkloadRow {
    WorkloadRow {
        id,
        generation: 0,
        good_generation: 0,
        quarantined_generation: 0,
        template_id: 0,
        good_template_id: 0,
        generation_since: kelson_model::time::ClusterTime(0),
        kind: 0,
        is_gone: true,
    }
}

fn task_row(task: TaskRef<'_>) -> TaskRow {
    let cause = task.exit().and_then(|exit| exit.cause);
    TaskRow {
        id: task.id(),
        workload: task.workload(),
        generation: task.generation(),
        template: task.template(),
        template_id: task.template_id(),
        slot: task.slot(),
        agent: task.agent(),
        state: task.state(),
        health: task.health(),
        is_ready: task.is_ready(),
        is_stop_asked: task.stop().is_some(),
        is_ended_by_hand: task.is_ended_by_hand(),
        is_out_of_memory: task.exit().is_some_and(|exit| exit.oom),
        is_agent_lost: cause.is_some_and(ExitCause::is_death_of_the_agent),
        is_port_taken: task.is_port_taken(),
        is_gone: task.is_forgotten(),
        state_since: task.state_since(),
        healthy_since: task.healthy_since(),
        exit_code: task.exit().and_then(|exit| exit.code),
        attempts: if task.is_port_taken() {
            task.refusals().saturating_add(1)
        } else {
            task.attempts()
        },
    }
}

fn gone_task(id: TaskId) -> TaskRow {
    TaskRow {
        id,
        workload: WorkloadId(0),
        generation: 0,
        template: 0,
        template_id: 0,
        slot: 0,
        agent: AgentId(0),
        state: kelson_model::task::TaskState::Lost,
        health: kelson_model::task::CheckState::Unknown,
        is_ready: false,
        is_stop_asked: false,
        is_ended_by_hand: false,
        is_out_of_memory: false,
        is_agent_lost: false,
        is_port_taken: false,
        is_gone: true,
        state_since: kelson_model::time::ClusterTime(0),
        healthy_since: None,
        exit_code: None,
        attempts: 0,
    }
}

fn agent_row(agent: &Agent) -> AgentRow {
    AgentRow {
        id: agent.id,
        state: agent.state,
        free: agent.free(),
        attributes: agent.attributes.clone(),
    }
}
