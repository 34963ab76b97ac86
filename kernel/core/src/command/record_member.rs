//! RecordMember: what a member says about itself, whenever it starts.

use kelson_model::id::MemberId;
use kelson_model::member::MemberDescription;
use kelson_model::request::Refusal;

use super::member::{FOUNDER, check, refuse};
use crate::context::Context;
use crate::record::MemberRecord;
use crate::reply::Reply;
use crate::state::State;

/// Records what a member says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordMember {
    /// Which one.
    pub member: MemberId,
    /// What it says.
    pub description: MemberDescription,
}

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &RecordMember,
) -> Result<Reply, Refusal> {
    let token = match state.members.get(&command.member) {
        Some(known) => known.token.clone(),
        // Nobody has admitted the one that founded the cluster.
        None if command.member == FOUNDER => String::new(),
        None => {
            return Err(refuse(
                format!("{} is not a member of this cluster", command.member),
                "see `kelson members`",
            ));
        }
    };
    check(state, command.member, &command.description)?;
    let record = MemberRecord {
        id: command.member,
        token,
        description: command.description.clone(),
        dismissed: None,
    };
    if state.members.get(&command.member).map(AsRef::as_ref) != Some(&record) {
        state.put_member(record);
    }
    Ok(context.done(None))
}
