//! StopTask: ends one task by hand. Its scheduler replaces it; the drift report names who did it.

use kelson_model::code::Code;
use kelson_model::request::{Refusal, StopTask};
use kelson_model::task::StopReason;

use crate::context::Context;
use crate::lifecycle::order_stop;
use crate::reply::{Reply, refusal};
use crate::state::State;

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &StopTask,
) -> Result<Reply, Refusal> {
    match state.tasks.get(command.task) {
        None => {
            return Err(refusal(
                Code::NoSuchTask,
                format!("there is no task {}", command.task),
                "see `kelson tasks`",
            ));
        }
        Some(task) if task.state().is_terminal() => {
            return Err(refusal(
                Code::NoSuchTask,
                format!("{} has already ended", command.task),
                "see `kelson tasks`",
            ));
        }
        Some(_) => {}
    }
    order_stop(state, context, command.task, StopReason::ByHand);
    Ok(context.done(None))
}
