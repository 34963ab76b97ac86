//! Proposing: a command becomes an entry, here or at whoever leads, and its reply comes back.
//!
//! *Flow:* this member proposes; where another one leads, the entry is handed to it, one hop; where
//! leadership changes meanwhile, it is tried again, since whatever goes this way may be carried out
//! twice without harm: a client's request is known by its sequence, what agents and members say is
//! the same the second time. *Guarantees:* when an answer is given, what it is about can be read
//! here; without a leader there is an answer within bounded time. *Caveats:* what only a leader may
//! propose goes through its [`Tenure`](crate::leader::Tenure) and is never tried again.

use std::time::Duration;

use kelson_kernel_core::command::Command;
use kelson_kernel_core::form;
use kelson_kernel_core::{Entry, Reply};
use kelson_model::code::Code;
use kelson_model::principal::Principal;
use kelson_model::request::{Refusal, Submission};
use kelson_model::time::{ClusterTime, WallTime};
use tokio::time::{Instant, sleep, timeout_at};

use crate::codec;
use crate::kernel::Kernel;
use crate::metrics::Since;
use crate::raft::{Committed, MAX_PAYLOAD_BYTES, ProposeError};

/// How long a command is tried while leadership changes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// Why a command has no reply.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The log refused it, or its fate is unknown.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// It cannot be written or its reply cannot be read.
    #[error(transparent)]
    Codec(#[from] codec::CodecError),
}

impl SubmitError {
    /// Whether the same request may still be answered, here or by another member, when it is asked
    /// again under its old sequence.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Propose(error) => match error {
                ProposeError::NotLeader { .. }
                | ProposeError::TermOver { .. }
                | ProposeError::NoLeaderInTime
                | ProposeError::Unknown { .. } => true,
                ProposeError::TooLarge { .. }
                | ProposeError::DiskFull
                | ProposeError::Stopped { .. } => false,
            },
            Self::Codec(_) => false,
        }
    }

    /// Whether the log has stopped: nothing can be written any more. Anything else is said, and
    /// no reason to end a loop.
    pub fn has_stopped(&self) -> bool {
        matches!(self, Self::Propose(ProposeError::Stopped { .. }))
    }
}

impl Kernel {
    /// Proposes a command of the leader's own, for this term only, and waits until it is applied.
    pub(crate) async fn propose_in_term(
        &self,
        term: u64,
        command: Command,
    ) -> Result<Reply, SubmitError> {
        let entry = self.stamped(term, entry(Principal::kernel(), command));
        let since = Since::now();
        let version = self.state().cluster_version;
        if let Err(refused) = form::allow(&entry.command, version) {
            return Ok(Reply::Refused(refused));
        }
        let payload = codec::encode_entry(&entry, version)?;
        let outcome = match self.member().propose_in_term(term, payload).await {
            Ok(committed) => codec::decode_reply(&committed.reply).map_err(Into::into),
            Err(error) => Err(error.into()),
        };
        self.metrics().proposed(&outcome, since);
        outcome
    }

    /// Has a command carried out that an agent, a member or this kernel asks for, wherever the
    /// leader is; it may be carried out twice.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn propose(&self, command: Command) -> Result<Reply, SubmitError> {
        self.carry_out(entry(Principal::kernel(), command)).await
    }

    /// The same, on behalf of somebody.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub(crate) async fn propose_for(
        &self,
        principal: Principal,
        command: Command,
    ) -> Result<Reply, SubmitError> {
        self.carry_out(entry(principal, command)).await
    }

    /// Carries out a client's request, once for each (client, sequence).
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn submit(&self, submission: Submission) -> Result<Reply, SubmitError> {
        let entry = Entry {
            client: Some((submission.client, submission.sequence)),
            since: Some(submission.since),
            ..entry(submission.principal, submission.request.into())
        };
        match self.carry_out(entry).await {
            // It never gets smaller: whoever asked is told, and asks no more.
            Err(SubmitError::Propose(ProposeError::TooLarge { bytes })) => {
                Ok(Reply::Refused(too_large(bytes)))
            }
            other => other,
        }
    }

    /// Proposes an entry that another member has handed on; this one must lead.
    pub(crate) async fn propose_here(&self, entry: Entry) -> Result<Committed, SubmitError> {
        let entry = self.stamped(self.member().term(), entry);
        let payload = codec::encode_entry(&entry, self.state().cluster_version)?;
        Ok(self.member().propose(payload).await?)
    }

    async fn carry_out(&self, entry: Entry) -> Result<Reply, SubmitError> {
        let since = Since::now();
        let outcome = self.persist(entry).await;
        self.metrics().proposed(&outcome, since);
        outcome
    }

    async fn persist(&self, entry: Entry) -> Result<Reply, SubmitError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let entry = self.stamped(self.member().term(), entry.clone());
            match self.attempt(&entry, deadline).await {
                Err(error) if error.is_open() && Instant::now() + PAUSE < deadline => {
                    tracing::debug!(%error, "a command is proposed again");
                    sleep(PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt(&self, entry: &Entry, deadline: Instant) -> Result<Reply, SubmitError> {
        let version = self.state().cluster_version;
        if let Err(refused) = form::allow(&entry.command, version) {
            return Ok(Reply::Refused(refused));
        }
        let payload = bytes::Bytes::from(codec::encode_entry(entry, version)?);
        let reply = match self.member().propose(payload.clone()).await {
            Ok(committed) => committed.reply,
            Err(ProposeError::NotLeader {
                leader: Some(leader),
                address: Some(address),
            }) if leader != self.member().id() => {
                let mut leadership = self.member().watch_leadership();
                let is_over = leadership.wait_for(|now| now.leader != Some(leader));
                let handed = self.relays().propose(leader, &address, payload, deadline);
                let (index, reply) = tokio::select! {
                    handed = handed => handed?,
                    // A leader that hangs answers nothing, and its place is taken.
                    _ = is_over => return Err(ProposeError::Unknown {
                        reason: format!("member {leader} leads no more"),
                    }.into()),
                };
                self.wait_until_applied(index, deadline).await;
                reply
            }
            Err(error) => return Err(error.into()),
        };
        Ok(codec::decode_reply(&reply)?)
    }

    /// Waits until what stands at an index can be read here, or until the deadline.
    pub(crate) async fn wait_until_applied(&self, index: u64, deadline: Instant) {
        let mut applied = self.member().watch_applied();
        let reached = applied.wait_for(|applied| applied.index >= index);
        if timeout_at(deadline, reached).await.is_err() {
            tracing::warn!(index, "this member is behind what it answers");
        }
    }

    fn stamped(&self, term: u64, entry: Entry) -> Entry {
        Entry {
            at: self.now(),
            wall: self.wall(),
            term,
            ..entry
        }
    }
}

/// An entry without its time and term.
fn entry(principal: Principal, command: Command) -> Entry {
    Entry {
        principal,
        at: ClusterTime::default(),
        wall: WallTime::default(),
        term: 0,
        client: None,
        since: None,
        command,
    }
}

/// Refuses what no entry of the log can hold.
fn too_large(bytes: usize) -> Refusal {
    Refusal {
        code: Code::TooMuchAtOnce.into(),
        message: format!(
            "the request has {bytes} bytes, and at most {MAX_PAYLOAD_BYTES} are taken at once"
        ),
        hint: "ask for it in parts".to_owned(),
    }
}
