//! Assignments: what an agent must run now.

use std::collections::BTreeMap;
use std::sync::Arc;

use kelson_model::id::{AgentId, TaskId};
use kelson_model::object::DriftPolicy;
use kelson_model::task::StopReason;
use kelson_model::template::TaskTemplate;

use crate::state::State;
use crate::tasks::TaskRef;

/// What an agent must do about one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Which.
    pub task: TaskId,
    /// Grows with each change; an older one is ignored.
    pub generation: u64,
    /// What to do.
    pub order: Order,
}

/// What to do about a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Run it.
    Run(Box<RunOrder>),
    /// End it.
    Stop(StopReason),
    /// Its end is recorded: what is left of it may go.
    Forget,
}

/// Everything an agent needs to run a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOrder {
    /// `web.2`.
    pub name: String,
    /// Whose.
    pub object: kelson_model::object::ObjectKey,
    /// Which slot.
    pub slot: u32,
    /// Of which generation.
    pub generation: u64,
    /// What to run.
    pub template: Arc<TaskTemplate>,
    /// The ports it was given.
    pub ports: BTreeMap<String, u16>,
    /// Whether limits that were changed by hand are put back.
    pub is_drift_enforced: bool,
}

/// The assignment of one task. A task whose template is not kept any more can only be ended.
pub fn assignment(state: &State, task: TaskRef<'_>) -> Assignment {
    let order = if task.state().is_terminal() {
        Order::Forget
    } else if let Some(stop) = task.stop() {
        Order::Stop(stop.reason)
    } else {
        let object = state.object_of(task.workload());
        let place = usize::try_from(task.template()).unwrap_or(usize::MAX);
        let template = object.and_then(|object| {
            let own = object
                .generation_of(task.generation())
                .and_then(|generation| generation.templates.get(place));
            // Its own generation may not be kept any more while newer ones still run the same
            // template.
            let same = || {
                object.history.iter().rev().find_map(|generation| {
                    let is_same = generation.template_ids.get(place) == Some(&task.template_id());
                    generation.templates.get(place).filter(|_| is_same)
                })
            };
            own.or_else(same).cloned()
        });
        match (object, template) {
            (Some(object), Some(template)) => Order::Run(Box::new(RunOrder {
                name: task.name(),
                object: task.object().clone(),
                slot: task.slot(),
                generation: task.generation(),
                template,
                ports: task.ports(),
                is_drift_enforced: object.lifecycle.drift == DriftPolicy::Enforce,
            })),
            (Some(_), None) | (None, _) => Order::Stop(StopReason::Removed),
        }
    };
    Assignment {
        task: task.id(),
        generation: task.assignment(),
        order,
    }
}

/// All that an agent must run: what is not in it must not run there.
pub fn full_assignment(state: &State, agent: AgentId) -> Vec<Assignment> {
    state
        .tasks_on(agent)
        .filter(|task| !task.state().is_terminal())
        .map(|task| assignment(state, task))
        .collect()
}
