//! SetNamespace: the weight of a namespace in fair share.

use kelson_model::code::Code;
use kelson_model::request::{Refusal, SetNamespace};

use crate::context::Context;
use crate::reply::{Reply, refusal};
use crate::state::State;

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &SetNamespace,
) -> Result<Reply, Refusal> {
    if !(1..=1_000_000).contains(&command.weight) {
        return Err(refusal(
            Code::BadWeight,
            format!("{} is not a weight", command.weight),
            "a weight is a number from 1 to 1000000",
        ));
    }
    let mut record = state
        .namespaces
        .get(&command.namespace)
        .copied()
        .unwrap_or_default();
    record.weight = command.weight;
    state.put_namespace(command.namespace.clone(), record);
    state.push_event(context.event(
        "NamespaceSet",
        None,
        format!("{} weighs {}", command.namespace, command.weight),
    ));
    Ok(context.done(None))
}
