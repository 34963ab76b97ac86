//! Changing who belongs to the cluster: one member at a time, on the leader.
//!
//! *Flow*: a new member is a learner first, and votes once it has caught up. A change of voters
//! takes two entries, the joint set and the final one; a loop on whoever leads writes the second
//! where a leader died between the two. *Guarantees*: each change is refused by the log when the
//! members are not those any more that it was decided on; ids of members that are gone are never
//! used again; a leader that removes itself hands over first, and goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kelson_proto::v1::Standing;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError as ApiError};
use openraft::{ChangeMembers, Precondition, Raft, ServerState};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::error::ChangeError;
use super::member::{Member, RETRY};
use super::replica::Replica;
use super::roster::Roster;
use super::types::{Peer, TypeConfig};

/// How far behind the leader a learner may be to become a voter, in entries.
const CAUGHT_UP: u64 = 1_000;
/// How long the loop that ends interrupted changes waits after a failure.
const PAUSE: Duration = Duration::from_millis(200);

/// What a member is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Its confirmation counts.
    Voter,
    /// It follows, and its confirmation does not count.
    Learner,
}

/// A member as this one sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Its number.
    pub id: u64,
    /// Where its API listens, as `host:port`.
    pub address: String,
    /// What it is.
    pub role: Role,
    /// The index up to which it has what the leader has. Known of oneself, and to the leader of
    /// all.
    pub matched: Option<u64>,
    /// Whether it leads.
    pub is_leader: bool,
    /// Whether it answered the last time that this member asked it something; `None` when it never
    /// did. Only the leader asks everybody.
    pub is_reachable: Option<bool>,
}

type Changes = ChangeMembers<u64, Peer>;

/// Why an attempt did not do it.
enum Refusal {
    /// The members changed meanwhile, or the leader is not ready: look again.
    Again(ChangeError),
    Final(ChangeError),
}

impl Member {
    /// Adds a member that follows and does not vote. Once more is no error.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn add_learner(
        &self,
        id: u64,
        address: impl Into<String>,
    ) -> Result<(), ChangeError> {
        let address = address.into();
        self.change(|roster| {
            if roster.has_departed(id) {
                return Err(ChangeError::UsedBefore { member: id });
            }
            match roster.membership().get_node(&id) {
                Some(peer) if peer.address == address => Ok(None),
                Some(peer) => Err(ChangeError::Exists {
                    member: id,
                    address: peer.address.clone(),
                }),
                None => {
                    let peer = Peer {
                        address: address.clone(),
                    };
                    Ok(Some(Changes::AddNodes(BTreeMap::from([(id, peer)]))))
                }
            }
        })
        .await
    }

    /// Makes a learner a voter, once it has caught up. Once more is no error.
    ///
    /// # Errors
    /// See [`ChangeError`]; `Behind` when it has not caught up in time.
    pub async fn promote(&self, id: u64) -> Result<(), ChangeError> {
        self.wait_caught_up(id).await?;
        self.change(|roster| {
            if !roster.has(id) {
                return Err(ChangeError::Unknown { member: id });
            }
            let is_voter = roster.standing(id) == Standing::Voter;
            Ok((!is_voter).then(|| Changes::AddVoterIds(BTreeSet::from([id]))))
        })
        .await
    }

    /// Removes a member for good. A leader that removes itself leads until that is committed, then
    /// hands over. Once more is no error.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn remove(&self, id: u64) -> Result<(), ChangeError> {
        self.change(|roster| {
            if roster.has_departed(id) {
                return Ok(None);
            }
            if !roster.has(id) {
                return Err(ChangeError::Unknown { member: id });
            }
            if roster.is_alone(id) {
                return Err(ChangeError::LastVoter { member: id });
            }
            let ids = BTreeSet::from([id]);
            let is_voter = roster.standing(id) == Standing::Voter;
            Ok(Some(if is_voter {
                Changes::RemoveVoters(ids)
            } else {
                Changes::RemoveNodes(ids)
            }))
        })
        .await
    }

    /// Makes a voter the leader in the place of this member, and waits until it is.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn transfer(&self, id: u64) -> Result<(), ChangeError> {
        let _turn = self.inner.changing.lock().await;
        let raft = &self.inner.raft;
        let mut metrics = raft.metrics();
        let deadline = Instant::now() + self.inner.config.patience;
        let known = metrics.borrow_watched().clone();
        if known.current_leader == Some(id) {
            return Ok(());
        }
        if known.state != ServerState::Leader {
            return Err(self.not_leader(known.current_leader));
        }
        match self.inner.roster.borrow().standing(id) {
            Standing::Voter => {}
            Standing::Learner => return Err(ChangeError::NoVoter { member: id }),
            Standing::Unknown => return Err(ChangeError::Unknown { member: id }),
        }
        raft.trigger()
            .transfer_leader(id)
            .await
            .map_err(|error| self.has_stopped(&error))?;
        let term = known.current_term;
        loop {
            let now = metrics.borrow_watched().clone();
            if let Err(error) = &now.running_state {
                return Err(self.has_stopped(error));
            }
            match now.current_leader {
                Some(leader) if now.current_term > term && leader == id => return Ok(()),
                Some(leader) if now.current_term > term => {
                    return Err(ChangeError::Unclear {
                        reason: format!("member {leader} was elected instead"),
                    });
                }
                _ => {}
            }
            match timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(self.has_stopped(&error)),
                Err(_) => {
                    return Err(ChangeError::Unclear {
                        reason: "nobody was elected in time".to_owned(),
                    });
                }
            }
        }
    }

    /// Lists all members, as of what is applied here.
    #[must_use]
    pub fn members(&self) -> Vec<MemberView> {
        let metrics = self.inner.raft.metrics().borrow_watched().clone();
        let own = self.inner.config.member;
        let roster = self.inner.roster.borrow().clone();
        let view = |(id, peer): (&u64, &Peer)| {
            let matched = match &metrics.replication {
                _ if *id == own => metrics.last_log_index,
                Some(replication) => replication
                    .get(id)
                    .copied()
                    .flatten()
                    .map(|matched| matched.index),
                None => None,
            };
            MemberView {
                id: *id,
                address: peer.address.clone(),
                role: match roster.standing(*id) {
                    Standing::Voter => Role::Voter,
                    Standing::Learner | Standing::Unknown => Role::Learner,
                },
                matched,
                is_leader: metrics.current_leader == Some(*id),
                is_reachable: if *id == own {
                    Some(true)
                } else {
                    self.inner.peers.is_reachable(*id)
                },
            }
        };
        roster.stored().nodes().map(view).collect()
    }

    fn not_leader(&self, leader: Option<u64>) -> ChangeError {
        let roster = self.inner.roster.borrow();
        let peer = leader.and_then(|leader| roster.membership().get_node(&leader));
        ChangeError::NotLeader {
            leader,
            address: peer.map(|peer| peer.address.clone()),
        }
    }

    fn has_stopped(&self, symptom: &dyn std::fmt::Display) -> ChangeError {
        ChangeError::Stopped {
            reason: self.inner.reason(symptom.to_string()),
        }
    }

    /// Waits until a learner has nearly all that the leader has.
    async fn wait_caught_up(&self, id: u64) -> Result<(), ChangeError> {
        let mut metrics = self.inner.raft.metrics();
        let deadline = Instant::now() + self.inner.config.patience;
        loop {
            let now = metrics.borrow_watched().clone();
            if let Err(error) = &now.running_state {
                return Err(self.has_stopped(error));
            }
            let Some(replication) = &now.replication else {
                return Err(self.not_leader(now.current_leader));
            };
            // The metrics may be a little behind what was just changed.
            if !self.inner.roster.borrow().has(id) {
                return Err(ChangeError::Unknown { member: id });
            }
            let last = now.last_log_index.unwrap_or_default();
            let matched = replication
                .get(&id)
                .copied()
                .flatten()
                .map(|matched| matched.index);
            let is_own = id == self.inner.config.member;
            if is_own || matched.is_some_and(|matched| last - matched.min(last) <= CAUGHT_UP) {
                return Ok(());
            }
            match timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(self.has_stopped(&error)),
                Err(_) => {
                    return Err(ChangeError::Behind {
                        member: id,
                        matched,
                        last,
                    });
                }
            }
        }
    }

    /// Decides on a change from the members as they are, and has it committed; `None` when there is
    /// nothing to do. Decides again when they have changed meanwhile.
    async fn change(
        &self,
        decide: impl Fn(&Roster) -> Result<Option<Changes>, ChangeError>,
    ) -> Result<(), ChangeError> {
        let deadline = Instant::now() + self.inner.config.patience;
        let Ok(_turn) = timeout_at(deadline, self.inner.changing.lock()).await else {
            return Err(ChangeError::InProgress);
        };
        loop {
            let roster = self.inner.roster.borrow().clone();
            let refusal = match decide(&roster) {
                Ok(None) => match self.is_still_leader().await {
                    Ok(()) => return Ok(()),
                    Err(error) => Refusal::Final(error),
                },
                // What is applied here may be old, and only the leader's word counts.
                Err(error) => match self.is_still_leader().await {
                    Ok(()) => Refusal::Final(error),
                    Err(other) => Refusal::Final(other),
                },
                Ok(Some(changes)) => match self.attempt(&roster, changes, deadline).await {
                    Ok(()) => return Ok(()),
                    Err(refusal) => refusal,
                },
            };
            match refusal {
                Refusal::Final(error) => return Err(error),
                Refusal::Again(error) if Instant::now() + RETRY >= deadline => return Err(error),
                Refusal::Again(_) => sleep(RETRY).await,
            }
        }
    }

    async fn is_still_leader(&self) -> Result<(), ChangeError> {
        use super::error::ReadError;
        self.inner
            .reads
            .index_as_leader()
            .await
            .map(drop)
            .map_err(|error| match error {
                ReadError::NotLeader { leader } => self.not_leader(leader),
                ReadError::NoQuorumInTime => ChangeError::Unclear {
                    reason: error.to_string(),
                },
                ReadError::Stopped { reason } => ChangeError::Stopped { reason },
            })
    }

    async fn attempt(
        &self,
        roster: &Roster,
        changes: Changes,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let precondition = Precondition::LastMembershipLogId {
            last_membership_log_id: *roster.stored().log_id(),
        };
        let written = self
            .inner
            .raft
            .change_membership_if(changes, false, [precondition]);
        let error = match timeout_at(deadline, written).await {
            // Whoever gets this answer finds the roster changed.
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(ApiError::Fatal(error))) => {
                return Err(Refusal::Final(self.has_stopped(&error)));
            }
            Ok(Err(ApiError::APIError(error))) => error,
            Err(_) => {
                return Err(Refusal::Final(ChangeError::Unclear {
                    reason: "no answer came in time".to_owned(),
                }));
            }
        };
        Err(match error {
            ClientWriteError::ForwardToLeader(forward) if self.may_lead_soon(&forward) => {
                Refusal::Again(self.not_leader(forward.leader_id))
            }
            ClientWriteError::ForwardToLeader(forward) => {
                Refusal::Final(self.not_leader(forward.leader_id))
            }
            ClientWriteError::LogEntryDiscarded(_) => Refusal::Final(ChangeError::Unclear {
                reason: "leadership was lost".to_owned(),
            }),
            ClientWriteError::PreconditionFailed(_)
            | ClientWriteError::ChangeMembershipError(
                ChangeMembershipError::InProgress(_)
                | ChangeMembershipError::UncommittedLeaderLog(_),
            ) => Refusal::Again(ChangeError::InProgress),
            ClientWriteError::ChangeMembershipError(error) => {
                Refusal::Final(ChangeError::Unclear {
                    reason: error.to_string(),
                })
            }
        })
    }
}

/// Writes the second half of a change that a leader left behind, whenever this member leads.
pub(crate) async fn run_changes(
    raft: Raft<TypeConfig, Replica>,
    changing: std::sync::Arc<Mutex<()>>,
    mut roster: watch::Receiver<Roster>,
    patience: Duration,
    mut stopping: watch::Receiver<bool>,
) {
    let work = async {
        let mut server = raft.server_metrics();
        loop {
            let is_joint = roster
                .borrow_and_update()
                .membership()
                .get_joint_config()
                .len()
                > 1;
            let leads = server.borrow_watched().state == ServerState::Leader;
            if is_joint && leads {
                // Whoever changes something here ends it as well.
                let _turn = changing.lock().await;
                let (is_joint, at) = {
                    let roster = roster.borrow();
                    let sets = roster.membership().get_joint_config().len();
                    (sets > 1, *roster.stored().log_id())
                };
                if is_joint {
                    let precondition = Precondition::LastMembershipLogId {
                        last_membership_log_id: at,
                    };
                    let nothing_more = Changes::AddVoterIds(BTreeSet::new());
                    let ended = raft.change_membership_if(nothing_more, false, [precondition]);
                    match timeout(patience, ended).await {
                        Ok(Ok(_)) => tracing::info!(
                            "a change of the members that was left behind is complete"
                        ),
                        Ok(Err(ApiError::Fatal(_))) => return,
                        Ok(Err(error)) => {
                            tracing::debug!(%error, "a change of the members cannot be completed yet")
                        }
                        Err(_) => tracing::debug!("a change of the members is not complete yet"),
                    }
                }
                drop(_turn);
                sleep(PAUSE).await;
                continue;
            }
            tokio::select! {
                changed = roster.changed() => if changed.is_err() { return },
                changed = server.changed() => if changed.is_err() { return },
            }
        }
    };
    tokio::select! {
        () = work => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}
