//! Rows: what a seat sees of the state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kelson_model::agent::AgentState;
use kelson_model::id::{AgentId, TaskId, WorkloadId};
use kelson_model::object::ObjectKey;

use crate::object::Object;
use crate::port::{AgentRow, Demand, Op, SeatId, SeatRows, SeatView, TaskRow, WorkloadRow};
use crate::record::{Agent, Task};
use crate::state::{Farewell, RowKey, State};

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
            tasks.any(|task| task.seat == self.seat)
        };
        (may_serve || serves()).then(|| agent.attributes.clone())
    }

    fn end(&self, task: TaskId) -> Option<String> {
        let task = self.state.tasks.get(&task)?;
        let exit = task.exit.as_ref().filter(|_| task.seat == self.seat)?;
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
        let seat = self.state.seat_of(&object.key);
        (seat.as_ref() == Some(&self.seat)).then_some(object)
    }
}

/// What has changed for one seat.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    /// The rows that were written.
    pub(crate) keys: BTreeSet<RowKey>,
    /// The rows that are gone.
    pub(crate) gone: BTreeSet<Farewell>,
}

/// All rows of a seat: its workloads, their tasks, and the agents that run them.
pub(crate) fn all_rows(state: &State, seat: &SeatId) -> SeatRows {
    let kinds = state
        .frameworks
        .get(&seat.framework)
        .and_then(|framework| framework.description.clone());
    let mut keys = BTreeSet::new();
    for kind in kinds.iter().flat_map(|description| &description.kinds) {
        let first = ObjectKey::new(&kind.kind, seat.namespace.clone(), "");
        let of_seat = state
            .objects
            .range(first..)
            .take_while(|(key, _)| key.kind == kind.kind && key.namespace == seat.namespace);
        for (key, object) in of_seat.filter(|(key, _)| state.seat_of(key).as_ref() == Some(seat)) {
            keys.insert(RowKey::Object(key.clone()));
            keys.extend(
                object
                    .workload
                    .iter()
                    .flat_map(|workload| state.tasks_of(*workload))
                    .map(|task| RowKey::Task(task.id)),
            );
        }
    }
    let changes = Changes {
        keys,
        gone: BTreeSet::new(),
    };
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
    let mut tasks = BTreeMap::new();
    let mut agents: BTreeSet<AgentId> = offered.iter().copied().collect();
    let mut workloads = BTreeMap::new();
    let is_own = |workload: WorkloadId| {
        state
            .object_of(workload)
            .is_some_and(|object| state.seat_of(&object.key).as_ref() == Some(seat))
    };
    for key in &changes.keys {
        match key {
            RowKey::Object(key) => {
                let Some(object) = state.objects.get(key) else {
                    continue;
                };
                let Some(workload) = object.workload else {
                    continue;
                };
                let own = Some(object).filter(|_| is_own(workload));
                let row = own
                    .and_then(|object| workload_row(state, object))
                    .unwrap_or_else(|| gone_workload(workload));
                workloads.insert(workload, row);
            }
            RowKey::Task(id) => match state.tasks.get(id).filter(|task| task.seat == *seat) {
                Some(task) => {
                    tasks.insert(*id, task_row(task));
                    agents.insert(task.agent);
                    if !is_own(task.workload) {
                        workloads.insert(task.workload, gone_workload(task.workload));
                    }
                }
                None => {
                    tasks.insert(*id, gone_task(*id));
                }
            },
            RowKey::Agent(id) => {
                agents.insert(*id);
            }
            RowKey::Framework(_) | RowKey::Source(_) | RowKey::Drift | RowKey::Event(..) => {}
        }
    }
    for farewell in &changes.gone {
        match farewell {
            Farewell::Workload(id) if !is_own(*id) => {
                workloads.insert(*id, gone_workload(*id));
            }
            Farewell::Task(id, _) if state.tasks.get(id).is_none_or(|task| task.seat != *seat) => {
                tasks.insert(*id, gone_task(*id));
            }
            // It has come back since.
            Farewell::Workload(_) | Farewell::Task(..) => {}
        }
    }
    SeatRows {
        workloads: workloads.into_values().collect(),
        tasks: tasks.into_values().collect(),
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

fn task_row(task: &Task) -> TaskRow {
    TaskRow {
        id: task.id,
        workload: task.workload,
        generation: task.generation,
        template: task.template,
        template_id: task.template_id,
        slot: task.slot,
        agent: task.agent,
        state: task.state,
        health: task.health,
        is_ready: task.is_ready,
        is_stop_asked: task.stop.is_some(),
        is_ended_by_hand: task.is_ended_by_hand(),
        is_out_of_memory: task.exit.as_ref().is_some_and(|exit| exit.oom),
        is_agent_lost: is_agent_lost(task),
        is_port_taken: task.is_port_taken(),
        is_gone: task.is_forgotten,
        state_since: task.state_since,
        healthy_since: task.healthy_since,
        exit_code: task.exit.as_ref().and_then(|exit| exit.code),
        attempts: if task.is_port_taken() {
            task.refusals.saturating_add(1)
        } else {
            task.attempts
        },
    }
}

fn is_agent_lost(task: &Task) -> bool {
    let cause = task.exit.as_ref().and_then(|exit| exit.cause);
    cause.is_some_and(kelson_model::task::ExitCause::is_death_of_the_agent)
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
