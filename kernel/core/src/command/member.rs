//! What the commands about members share.

use kelson_model::code::Code;
use kelson_model::id::MemberId;
use kelson_model::member::MemberDescription;
use kelson_model::request::Refusal;

use crate::reply::refusal;
use crate::state::State;

/// The member that founds a cluster.
pub(super) const FOUNDER: MemberId = MemberId(1);
/// How many members a cluster has at a time, at most.
pub(super) const MOST_MEMBERS: usize = 9;
/// Longest name of a data directory, in bytes.
pub(super) const TOKEN_BYTES: usize = 64;

/// Refuses something about members.
pub(super) fn refuse(message: impl Into<String>, hint: &str) -> Refusal {
    refusal(Code::MemberRefused, message, hint)
}

/// Refuses what a member says about itself where it cannot be so, where the member was removed, or
/// where another one has its name or address.
pub(super) fn check(
    state: &State,
    id: MemberId,
    description: &MemberDescription,
) -> Result<(), Refusal> {
    if let Some(objection) = description.objection() {
        return Err(refuse(objection, "give another with --name or --listen"));
    }
    let known = state.members.get(&id);
    if known.is_some_and(|known| known.is_dismissed()) {
        return Err(refuse(
            format!("{id} was removed from this cluster"),
            "a member that was removed joins anew, with an empty data directory",
        ));
    }
    for other in state.living_members().filter(|other| other.id != id) {
        let taken = if other.description.name == description.name {
            format!("the name {}", description.name)
        } else if other.description.address == description.address {
            format!("the address {}", description.address)
        } else {
            continue;
        };
        return Err(refuse(
            format!("{} has {taken}", other.id),
            "give another with --name or --listen, or remove that member first",
        ));
    }
    Ok(())
}
