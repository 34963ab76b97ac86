//! Stage: lays one part of a revision's objects beside the state. Nothing that runs sees them
//! before they are accepted.

use std::sync::Arc;

use imbl::Vector;
use kelson_model::code::Code;
use kelson_model::request::{Refusal, Stage};
use kelson_model::spec::Spec;

use crate::context::Context;
use crate::record::Staged;
use crate::reply::{Reply, refusal};
use crate::state::State;

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &Stage,
) -> Result<Reply, Refusal> {
    let before = state
        .staged
        .get(&command.source)
        .filter(|staged| staged.revision == command.revision && command.part > 0);
    let mut staged = match before {
        Some(staged) => Staged::clone(staged),
        None => Staged {
            revision: command.revision.clone(),
            parts: 0,
            objects: Vector::new(),
            prune: Vector::new(),
        },
    };
    if staged.parts != command.part {
        let message = format!(
            "part {} of revision {} came where part {} was due",
            command.part,
            command.revision.short(),
            staged.parts
        );
        return Err(refusal(
            Code::NotStaged,
            message,
            "stage the revision again from part 0",
        ));
    }
    let set = staged.objects.len() + command.objects.len();
    let going = staged.prune.len() + command.prune.len();
    if set.max(going) > Stage::MAX_OBJECTS {
        return Err(refusal(
            Code::TooMuchAtOnce,
            format!(
                "a revision sets and takes away at most {} objects each",
                Stage::MAX_OBJECTS
            ),
            "split the change into several commits",
        ));
    }
    for desired in &command.objects {
        let depth = desired.spec.depth();
        if depth > Spec::MAX_DEPTH {
            return Err(refusal(
                Code::TooMuchAtOnce,
                format!(
                    "{} is nested {depth} deep; at most {} are taken",
                    desired.key,
                    Spec::MAX_DEPTH
                ),
                "nest it less deep",
            ));
        }
    }
    staged.parts += 1;
    staged
        .objects
        .extend(command.objects.iter().cloned().map(Arc::new));
    staged.prune.extend(command.prune.iter().cloned());
    state.put_staged(&command.source, staged);
    Ok(context.done(None))
}
