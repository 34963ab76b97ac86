//! Stop: a task is asked to end.

use kelson_model::id::TaskId;
use kelson_model::task::StopReason;

use crate::context::Context;
use crate::record::StopOrder;
use crate::state::State;

/// Asks a task to end; a task that was asked already keeps its first reason. Returns whether the
/// order is new.
pub(crate) fn order_stop(
    state: &mut State,
    context: &Context,
    id: TaskId,
    reason: StopReason,
) -> bool {
    let Some(task) = state.tasks.get(id) else {
        return false;
    };
    if task.state().is_terminal() || task.stop().is_some() {
        return false;
    }
    let mut draft = task.draft();
    draft.set_stop(StopOrder {
        reason,
        by: context.principal.clone(),
    });
    draft.assign_again();
    let why = match reason {
        StopReason::Replaced => "a newer generation replaces it",
        StopReason::ScaledDown => "fewer are wanted",
        StopReason::Removed => "its workload was removed",
        StopReason::Unhealthy => "its health check failed",
        StopReason::ByHand => "somebody asked for it",
    };
    let message = format!("{} is asked to end: {why}", task.name());
    let event = context.event("TaskStopping", Some(task.object()), message);
    state.push_event(event);
    state.put_task(draft);
    true
}
