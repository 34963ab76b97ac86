//! RecordAgentDrift: what really runs differs from its assignment, or does so no more.

use std::sync::Arc;

use kelson_model::drift::{DriftItem, DriftState, FieldDrift, Plane};
use kelson_model::id::{AgentId, TaskId};
use kelson_model::principal::Principal;
use kelson_model::request::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::command::session::refuse_older;
use crate::context::Context;
use crate::reply::Reply;
use crate::state::State;

/// Records what an agent sees differ on its machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordAgentDrift {
    /// Who says so.
    pub agent: AgentId,
    /// The incarnation of its session.
    pub incarnation: u64,
    /// About which task.
    pub task: TaskId,
    /// `cgroup/memory.limit_in_bytes`.
    pub field: String,
    /// What was assigned.
    pub desired: Value,
    /// What is.
    pub live: Value,
    /// Whether the difference is gone.
    pub is_healed: bool,
}

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &RecordAgentDrift,
) -> Result<Reply, Refusal> {
    if let Some(over) = refuse_older(state, command.agent, command.incarnation) {
        return Ok(over);
    }
    let Some(task) = state
        .tasks
        .get(command.task)
        .filter(|task| task.agent() == command.agent)
    else {
        return Ok(context.done(None));
    };
    let Some(object) = state.object_of(task.workload()) else {
        return Ok(context.done(None));
    };
    let key = object.key.clone();
    let is_same = |item: &DriftItem| {
        item.plane == Plane::Agent
            && item.task == Some(command.task)
            && item.fields.iter().any(|field| field.path == command.field)
    };
    let mut items: Vec<Arc<DriftItem>> = state.drift.iter().cloned().collect();
    let place = items
        .iter()
        .position(|item| item.state == DriftState::Open && is_same(item));
    let fields = vec![FieldDrift {
        path: command.field.clone(),
        op: "changed".to_owned(),
        desired: command.desired.clone(),
        live: command.live.clone(),
        changed_by: None,
    }];
    match (
        place.and_then(|place| items.get_mut(place)),
        command.is_healed,
    ) {
        (Some(item), true) => {
            let item = Arc::make_mut(item);
            item.state = DriftState::Healed;
            item.healed_at = Some(context.wall);
        }
        (Some(item), false) => {
            let item = Arc::make_mut(item);
            item.count += 1;
            item.fields = fields;
        }
        (None, is_healed) => items.push(Arc::new(DriftItem {
            object: key.clone(),
            task: Some(command.task),
            plane: Plane::Agent,
            state: if is_healed {
                DriftState::Healed
            } else {
                DriftState::Open
            },
            policy: object.lifecycle.drift,
            origin: object.origin.clone(),
            fields,
            changed_by: Principal::new("unknown", "agent"),
            first_seen: context.wall,
            healed_at: is_healed.then_some(context.wall),
            count: 1,
        })),
    }
    state.put_drift(items);
    let is_kept = || {
        let mut open = state.drift.iter();
        open.any(|item| item.state == DriftState::Open && is_same(item))
    };
    let (name, verb) = if command.is_healed {
        ("DriftHealed", "is as assigned again")
    } else if is_kept() {
        ("DriftSeen", "was changed by hand")
    } else {
        (
            "DriftSeen",
            "was changed by hand (the drift report has no room for it)",
        )
    };
    let message = format!(
        "{} of {} on {} {verb}: {} → {}",
        command.field, command.task, command.agent, command.desired, command.live
    );
    state.push_event(context.event(name, Some(&key), message));
    Ok(context.done(None))
}
