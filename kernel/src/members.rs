//! Members: each says what it is, the leader brings who is admitted into the cluster and takes out
//! who is dismissed, and people are told of all.
//!
//! *Flow:* a machine is admitted by an entry, which gives it an id; the leader adds it as a learner
//! and lets it vote once it has caught up; whoever is dismissed by an entry is taken out of the
//! log. *Guarantees:* an id belongs to one data directory and is never given twice; what was begun
//! goes on under the next leader, since the records say what should be. *Caveats:* a member that
//! does not come stays a learner that the leader cannot reach.

use std::collections::BTreeMap;
use std::time::Duration;

use kelson_kernel_core::command::{
    AdmitMember, Command, DismissMember, RecordMember, SetClusterVersion,
};
use kelson_kernel_core::form::CLUSTER_VERSION;
use kelson_kernel_core::record::MemberRecord;
use kelson_kernel_core::{Reply, State};
use kelson_model::id::MemberId;
use kelson_model::member::{
    MemberChange, MemberDescription, MemberRequest, MemberRole, MemberRow, MemberState, Supports,
};
use kelson_model::principal::Principal;
use kelson_model::request::Refusal;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::kernel::Kernel;
use crate::leader::{DutyEnd, Tenure};
use crate::proposing::SubmitError;
use crate::raft::{ChangeError, MemberView, Role};

/// Which versions of the cluster this program can work with.
pub const SUPPORTS: Supports = Supports {
    oldest: 0,
    newest: CLUSTER_VERSION,
};
/// How long the leader waits before it looks at the members again although nothing has changed: a
/// learner may have caught up.
const LOOK: Duration = Duration::from_millis(500);
/// How long a member waits before it says again what it is.
const AGAIN: Duration = Duration::from_secs(1);
/// How long whoever asks for a change waits until it is done.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a machine is no member.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// The kernel refuses it.
    #[error("{0}")]
    Refused(Refusal),
    /// The kernel could not record it.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

/// Why the members are not changed.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// It is not admitted.
    #[error(transparent)]
    Admit(#[from] AdmitError),
    /// The log does not take the change.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// It is not done yet, and goes on.
    #[error("{0} is not out of the cluster yet, and will be")]
    Underway(MemberId),
}

impl Kernel {
    /// Gives a machine the id under which it becomes a member: the same one for the same token.
    ///
    /// # Errors
    /// See [`AdmitError`].
    pub async fn admit(
        &self,
        token: String,
        description: MemberDescription,
    ) -> Result<MemberId, AdmitError> {
        let admit = AdmitMember { token, description };
        self.admit_for(Principal::kernel(), admit).await
    }

    async fn admit_for(
        &self,
        principal: Principal,
        admit: AdmitMember,
    ) -> Result<MemberId, AdmitError> {
        match self
            .propose_for(principal, Command::AdmitMember(admit))
            .await?
        {
            Reply::Admitted { member } => Ok(member),
            reply => Err(AdmitError::Refused(refused(reply))),
        }
    }

    /// Carries out what people ask of the members. This member must lead.
    ///
    /// # Errors
    /// See [`MembersError`].
    pub async fn change_members(&self, asked: MemberRequest) -> Result<MemberId, MembersError> {
        match asked.change {
            MemberChange::Add { name, address } => {
                let admit = AdmitMember {
                    token: String::new(),
                    description: MemberDescription {
                        name,
                        address,
                        ..MemberDescription::default()
                    },
                };
                Ok(self.admit_for(asked.principal, admit).await?)
            }
            MemberChange::Promote { member } => {
                self.member().promote(member.0).await?;
                Ok(member)
            }
            MemberChange::Transfer { member } => {
                self.member().transfer(member.0).await?;
                Ok(member)
            }
            MemberChange::Remove { member } => {
                let dismiss = Command::DismissMember(DismissMember { member });
                let proposed = self.propose_for(asked.principal, dismiss).await;
                match proposed.map_err(AdmitError::from)? {
                    Reply::Done { .. } => {}
                    reply => return Err(AdmitError::Refused(refused(reply)).into()),
                }
                let mut applied = self.member().watch_applied();
                let is_in = || self.member().members().iter().any(|one| one.id == member.0);
                let is_out = async { while is_in() && applied.changed().await.is_ok() {} };
                let in_time = timeout(PATIENCE, is_out).await;
                in_time.map_err(|_| MembersError::Underway(member))?;
                Ok(member)
            }
        }
    }

    /// What this member says of itself.
    fn describes_itself(&self) -> MemberDescription {
        let place = &self.config().place;
        MemberDescription {
            name: place.name.clone(),
            address: place.address.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            supports: SUPPORTS,
        }
    }

    /// All members as people see them; the leader knows most of them.
    pub fn member_rows(&self) -> Vec<MemberRow> {
        let state = self.state();
        let views = self.member().members();
        let views: BTreeMap<u64, MemberView> = views.into_iter().map(|one| (one.id, one)).collect();
        let last = views
            .values()
            .filter(|view| view.is_leader)
            .find_map(|view| view.matched);
        let of_record = |record: &MemberRecord| row(record, views.get(&record.id.0), last);
        let mut rows: Vec<MemberRow> = state.living_members().map(|one| of_record(one)).collect();
        // One that founded its cluster with an earlier version has not said yet what it is.
        let unrecorded = views.values().filter(|view| {
            let record = state.members.get(&MemberId(view.id));
            record.is_none_or(|record| record.is_dismissed())
        });
        rows.extend(unrecorded.map(|view| {
            let record = MemberRecord {
                id: MemberId(view.id),
                token: String::new(),
                description: MemberDescription {
                    address: view.address.clone(),
                    ..MemberDescription::default()
                },
                dismissed: None,
            };
            row(&record, Some(view), last)
        }));
        rows.sort_by_key(|row| row.id.parse::<MemberId>().unwrap_or_default());
        rows
    }
}

fn refused(reply: Reply) -> Refusal {
    match reply {
        Reply::Refused(refusal) => refusal,
        reply => Refusal {
            code: kelson_model::code::Code::NotForClients.into(),
            message: format!("unexpected reply {reply:?}"),
            hint: "this is a defect of the kernel: report it".to_owned(),
        },
    }
}

fn row(record: &MemberRecord, view: Option<&MemberView>, last: Option<u64>) -> MemberRow {
    let description = &record.description;
    let index = view.and_then(|view| view.matched);
    let is_reachable = view.is_some_and(|view| view.is_reachable != Some(false));
    MemberRow {
        id: record.id.to_string(),
        name: description.name.clone(),
        address: description.address.clone(),
        role: match view.map(|view| view.role) {
            Some(Role::Voter) => MemberRole::Voter,
            Some(Role::Learner) | None => MemberRole::Learner,
        },
        state: match view {
            Some(view) if view.is_leader => MemberState::Leader,
            Some(_) if is_reachable => MemberState::Follower,
            Some(_) | None => MemberState::Unreachable,
        },
        index,
        lag: last
            .zip(index)
            .map(|(last, index)| last.saturating_sub(index)),
        version: Some(description.version.clone()).filter(|version| !version.is_empty()),
    }
}

/// Says what this member is, whenever that is not what the records say; ends when that is done, or
/// when it is a member no more.
pub async fn run_record(kernel: Kernel) {
    let own = kernel.describes_itself();
    let id = kernel.config().place.member;
    let mut view = kernel.watch();
    if own.address.is_empty() {
        // Nobody can come, so nobody needs to know.
        return;
    }
    loop {
        let known = view.borrow_and_update().members.get(&id).cloned();
        match known {
            Some(known) if known.description == own => return,
            Some(known) if known.is_dismissed() => return,
            Some(_) | None => {}
        }
        let record = RecordMember {
            member: id,
            description: own.clone(),
        };
        match kernel.propose(Command::RecordMember(record)).await {
            Ok(Reply::Refused(refusal)) => {
                warn!(%refusal, "this member is not recorded as what it is");
                return;
            }
            Ok(_) => {}
            Err(error) if error.has_stopped() => return,
            Err(error) => {
                info!(%error, "this member says again what it is");
                sleep(AGAIN).await;
            }
        }
    }
}

/// Brings the members of the log in line with the records, while this member leads.
pub(crate) async fn run_membership(tenure: Tenure) -> DutyEnd {
    let heart = tenure.hearts().start("members");
    let mut view = tenure.watch();
    loop {
        heart.works("looks at the members", PATIENCE.saturating_mul(3));
        let state = view.borrow_and_update().clone();
        let members = tenure.member().members();
        if let Some(version) = next_version(&state, &members) {
            let raise = Command::SetClusterVersion(SetClusterVersion { version });
            match tenure.propose(raise).await {
                Ok(_) => continue,
                Err(error) if error.has_stopped() => return Ok(()),
                Err(error) => info!(%error, "the cluster's version stays for now"),
            }
        }
        let step = next_step(&state, &members);
        if let Some(step) = step {
            let outcome = match &step {
                Step::Add(id, address) => tenure.member().add_learner(id.0, address.clone()).await,
                Step::Promote(id) => tenure.member().promote(id.0).await,
                Step::Remove(id) => tenure.member().remove(id.0).await,
            };
            match outcome {
                Ok(()) => {
                    info!(?step, "the members have changed");
                    continue;
                }
                Err(ChangeError::Stopped { .. }) => return Ok(()),
                // It has not come, or not caught up: others need not wait for it.
                Err(error) => info!(?step, %error, "the members stay as they are for now"),
            }
        }
        heart.waits("for a change", None);
        let is_settled = is_settled(&state, &tenure.member().members());
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return Ok(()) },
            () = sleep(LOOK), if !is_settled => {}
        }
    }
}

/// The version that the cluster may have: what all its members know, where that is more than now.
fn next_version(state: &State, members: &[MemberView]) -> Option<u32> {
    let known = members.iter().map(|view| {
        let record = state.members.get(&MemberId(view.id));
        let come = record.filter(|record| !record.description.version.is_empty());
        come.map(|record| record.description.supports.newest)
    });
    let known: Option<Vec<u32>> = known.collect();
    let admitted = state
        .living_members()
        .filter(|one| !one.description.version.is_empty())
        .map(|one| one.description.supports.newest);
    let newest = known?.into_iter().chain(admitted).min()?;
    (newest > state.cluster_version).then_some(newest)
}

/// Whether everybody who was admitted votes, and nobody else.
fn is_settled(state: &State, members: &[MemberView]) -> bool {
    let votes = |id: MemberId| {
        let mut members = members.iter();
        members.any(|view| view.id == id.0 && view.role == Role::Voter)
    };
    next_step(state, members).is_none() && state.living_members().all(|one| votes(one.id))
}

/// What is to be done next about the members.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Add(MemberId, String),
    Promote(MemberId),
    Remove(MemberId),
}

fn next_step(state: &State, members: &[MemberView]) -> Option<Step> {
    let in_log = |id: MemberId| members.iter().find(|member| member.id == id.0);
    let dismissed = state.members.values().filter(|one| one.is_dismissed());
    if let Some(gone) = dismissed.map(|one| one.id).find(|id| in_log(*id).is_some()) {
        return Some(Step::Remove(gone));
    }
    // Only who has come is brought in: the others would stand in the way of nothing but sense.
    let come = || {
        let members = state.living_members();
        members.filter(|one| !one.description.version.is_empty())
    };
    if let Some(new) = come().find(|one| in_log(one.id).is_none()) {
        return Some(Step::Add(new.id, new.description.address.clone()));
    }
    let is_ready = |id: MemberId| {
        in_log(id).is_some_and(|view| {
            view.role == Role::Learner && view.is_reachable == Some(true) && view.matched.is_some()
        })
    };
    come()
        .find(|one| is_ready(one.id))
        .map(|one| Step::Promote(one.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(id: u64, role: Role, is_reachable: Option<bool>, matched: Option<u64>) -> MemberView {
        MemberView {
            id,
            address: format!("h:{id}"),
            role,
            matched,
            is_leader: id == 1,
            is_reachable,
        }
    }

    fn state(commands: Vec<Command>) -> State {
        let mut state = State::default();
        for (place, command) in (1..).zip(commands) {
            let entry = kelson_kernel_core::Entry {
                principal: Principal::kernel(),
                at: kelson_model::time::ClusterTime(place),
                wall: kelson_model::time::WallTime(place),
                term: 1,
                client: None,
                since: None,
                command,
            };
            let reply =
                kelson_kernel_core::apply(&mut state, kelson_model::id::Index(place), &entry);
            assert!(!matches!(reply, Reply::Refused(_)), "{reply:?}");
        }
        state
    }

    fn describe(name: &str, version: &str) -> MemberDescription {
        MemberDescription {
            name: name.to_owned(),
            address: format!("{name}:1"),
            version: version.to_owned(),
            supports: SUPPORTS,
        }
    }

    #[test]
    fn the_clusters_version_is_what_all_members_know() {
        let describe = |name: &str, newest: u32| MemberDescription {
            supports: Supports { oldest: 0, newest },
            ..describe(name, "1")
        };
        let first = Command::RecordMember(RecordMember {
            member: MemberId(1),
            description: describe("a", 9),
        });
        let founder = view(1, Role::Voter, Some(true), Some(9));
        let unsaid = std::slice::from_ref(&founder);
        assert_eq!(
            next_version(&State::default(), unsaid),
            None,
            "nobody says it"
        );
        let known = state(vec![first.clone()]);
        assert_eq!(next_version(&known, unsaid), Some(9));
        let admit = Command::AdmitMember(AdmitMember {
            token: "b".to_owned(),
            description: describe("b", 5),
        });
        let known = state(vec![first, admit]);
        assert_eq!(
            next_version(&known, unsaid),
            Some(5),
            "who is on the way counts"
        );
    }

    #[test]
    fn who_has_come_is_added_then_promoted_and_who_is_dismissed_is_taken_out() {
        let first = Command::RecordMember(RecordMember {
            member: MemberId(1),
            description: describe("a", "1"),
        });
        let admit = |name: &str, version: &str| {
            Command::AdmitMember(AdmitMember {
                token: if version.is_empty() {
                    String::new()
                } else {
                    name.to_owned()
                },
                description: describe(name, version),
            })
        };
        let commands = vec![first, admit("b", "1"), admit("c", "")];
        let known = state(commands.clone());
        let founder = view(1, Role::Voter, Some(true), Some(9));
        let add = Step::Add(MemberId(2), "b:1".to_owned());
        assert_eq!(next_step(&known, std::slice::from_ref(&founder)), Some(add));
        let lost = view(2, Role::Learner, Some(false), None);
        assert_eq!(next_step(&known, &[founder.clone(), lost]), None);
        let there = view(2, Role::Learner, Some(true), Some(3));
        let promote = Some(Step::Promote(MemberId(2)));
        assert_eq!(next_step(&known, &[founder.clone(), there]), promote);
        let voter = view(2, Role::Voter, Some(true), Some(9));
        assert_eq!(next_step(&known, &[founder.clone(), voter.clone()]), None);
        let mut commands = commands;
        let member = MemberId(2);
        commands.push(Command::DismissMember(DismissMember { member }));
        let known = state(commands);
        let remove = Some(Step::Remove(MemberId(2)));
        assert_eq!(next_step(&known, &[founder.clone(), voter]), remove);
        assert_eq!(next_step(&known, &[founder]), None);
    }
}
