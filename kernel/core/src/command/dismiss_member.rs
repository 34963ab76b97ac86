//! DismissMember: takes a member out for good.

use kelson_model::id::MemberId;
use kelson_model::request::Refusal;

use super::member::refuse;
use crate::context::Context;
use crate::record::MemberRecord;
use crate::reply::Reply;
use crate::state::State;

/// Dismisses a member; its record stays, so that it can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DismissMember {
    /// Which one.
    pub member: MemberId,
}

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &DismissMember,
) -> Result<Reply, Refusal> {
    let id = command.member;
    let Some(known) = state.members.get(&id).cloned() else {
        return Err(refuse(
            format!("{id} is not a member of this cluster"),
            "see `kelson members`",
        ));
    };
    if known.is_dismissed() {
        return Ok(context.done(None));
    }
    if state.living_members().all(|member| member.id == id) {
        return Err(refuse(
            format!("{id} is the only member"),
            "a cluster has one member at least",
        ));
    }
    state.push_event(context.event(
        "MemberRemoved",
        None,
        format!("{id} ({}) was removed", known.description.name),
    ));
    state.put_member(MemberRecord {
        dismissed: Some(context.now),
        ..(*known).clone()
    });
    Ok(context.done(None))
}
