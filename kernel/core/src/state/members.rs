//! Members of the kernel: who is admitted, and who was removed.

use std::sync::Arc;

use kelson_model::id::MemberId;

use super::State;
use crate::record::MemberRecord;

/// How many members that were removed are remembered, at most; the lowest ids go first.
const KEPT_DISMISSED: usize = 1_000;

impl State {
    /// The members that were not removed, by id.
    pub fn living_members(&self) -> impl Iterator<Item = &Arc<MemberRecord>> + '_ {
        self.members
            .values()
            .filter(|member| !member.is_dismissed())
    }

    /// An id that no member had before.
    pub(crate) fn next_member(&mut self) -> MemberId {
        // The first one belongs to whoever founded the cluster.
        let last = &mut self.records.last_member;
        last.0 = last.0.max(1) + 1;
        *last
    }

    /// Writes what is known of a member.
    pub(crate) fn put_member(&mut self, member: MemberRecord) {
        let last = &mut self.records.last_member;
        *last = (*last).max(member.id);
        let members = &mut self.records.members;
        members.insert(member.id, Arc::new(member));
        let dismissed = members.values().filter(|member| member.is_dismissed());
        let dismissed: Vec<MemberId> = dismissed.map(|member| member.id).collect();
        // The founder's stays: without it, its id would look as if it had never been used.
        let spare = dismissed.len().saturating_sub(KEPT_DISMISSED);
        for id in dismissed.iter().filter(|id| id.0 != 1).take(spare) {
            members.remove(id);
        }
    }
}
