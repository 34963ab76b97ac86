//! AdmitMember: gives a further member its id.

use kelson_model::id::MemberId;
use kelson_model::member::MemberDescription;
use kelson_model::request::Refusal;

use super::member::{MOST_MEMBERS, TOKEN_BYTES, check, refuse};
use crate::context::Context;
use crate::record::MemberRecord;
use crate::reply::Reply;
use crate::state::State;

/// Admits a member. Asked again under the same token, it is given the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmitMember {
    /// Names its data directory, at most 64 bytes; empty: the one that comes from this address
    /// first.
    pub token: String,
    /// What it says about itself.
    pub description: MemberDescription,
}

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &AdmitMember,
) -> Result<Reply, Refusal> {
    if command.token.len() > TOKEN_BYTES {
        return Err(refuse("a token has at most 64 bytes", "this is a defect"));
    }
    let description = &command.description;
    let known = (!command.token.is_empty())
        .then(|| {
            let mut members = state.members.values();
            members.find(|member| member.token == command.token)
        })
        .flatten();
    let awaited = || {
        let mut members = state.members.values();
        members.find(|member| {
            !member.is_dismissed()
                && member.token.is_empty()
                && member.description.address == description.address
        })
    };
    let id = match known.or_else(awaited).map(|member| member.id) {
        Some(id) => id,
        None if state.living_members().count() >= MOST_MEMBERS => {
            return Err(refuse(
                format!("this cluster has {MOST_MEMBERS} members already"),
                "remove one first: kelson members remove",
            ));
        }
        None => state.next_member(),
    };
    let is_new = !state.members.contains_key(&id);
    check(state, id, description)?;
    state.put_member(MemberRecord {
        id,
        token: command.token.clone(),
        description: description.clone(),
        dismissed: None,
    });
    if is_new {
        state.push_event(context.event("MemberAdmitted", None, told(id, description)));
    }
    Ok(Reply::Admitted { member: id })
}

fn told(id: MemberId, description: &MemberDescription) -> String {
    format!(
        "{id} ({}) was admitted, at {}",
        description.name, description.address
    )
}
