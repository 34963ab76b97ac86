//! Proposing: into the log, through the machine, and back with its answer.

use bytes::Bytes;
use futures_util::StreamExt;
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use tokio::time::{Instant, sleep, timeout_at};

use super::error::ProposeError;
use super::machine::Position;
use super::member::{Member, RETRY};
use super::types::{Payload, TypeConfig, position};

/// Longest payload of an entry, in bytes; what is larger is staged in parts.
pub const MAX_PAYLOAD_BYTES: usize = 256 * 1024;

/// What became of a proposal: committed, applied, and shown before this was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Where it stands in the log.
    pub at: Position,
    /// What the machine answered.
    pub reply: Bytes,
}

impl Member {
    /// Proposes a payload; answers when it is committed and applied here. Many callers at once
    /// share one sync of the disk.
    ///
    /// Dropping the future does not take the payload back.
    ///
    /// # Errors
    /// See [`ProposeError`]: only `Unknown` and `Stopped` leave open whether the payload is in the
    /// log.
    pub async fn propose(&self, payload: impl Into<Bytes>) -> Result<Committed, ProposeError> {
        self.propose_fenced(payload.into(), None).await
    }

    /// Proposes a payload that is only meant for this term: refused when another leader came in
    /// between.
    ///
    /// # Errors
    /// As [`propose`](Member::propose), and `TermOver`.
    pub async fn propose_in_term(
        &self,
        term: u64,
        payload: impl Into<Bytes>,
    ) -> Result<Committed, ProposeError> {
        self.propose_fenced(payload.into(), Some(term)).await
    }

    async fn propose_fenced(
        &self,
        payload: Bytes,
        term: Option<u64>,
    ) -> Result<Committed, ProposeError> {
        self.check_payload(&payload)?;
        let deadline = Instant::now() + self.inner.config.patience;
        loop {
            let (responder, answer) = ProgressResponder::complete_only();
            let request = self
                .inner
                .raft
                .write(Payload(payload.clone()))
                .responder(responder);
            let request = match term {
                Some(term) => request.with_leader(term),
                None => request,
            };
            request.await.map_err(|error| self.inner.stopped(&error))?;
            match timeout_at(deadline, answer).await {
                Err(_) => {
                    return Err(ProposeError::Unknown {
                        reason: "no answer came in time".to_owned(),
                    });
                }
                Ok(Err(_)) => return Err(self.inner.stopped(&"the answer was dropped")),
                Ok(Ok(Ok(written))) => {
                    return Ok(Committed {
                        at: position(&written.log_id),
                        reply: written.data.0,
                    });
                }
                Ok(Ok(Err(error))) => match self.refusal(error, term) {
                    Some(refusal) => return Err(refusal),
                    None => self.retry(deadline).await?,
                },
            }
        }
    }

    /// Proposes payloads together: they take consecutive places in the log, in this order, each
    /// with its own answer.
    ///
    /// # Errors
    /// The whole is refused when one of them is too large, or when none of them reached the log.
    pub async fn propose_many(
        &self,
        payloads: Vec<Bytes>,
    ) -> Result<Vec<Result<Committed, ProposeError>>, ProposeError> {
        for payload in &payloads {
            self.check_payload(payload)?;
        }
        if payloads.is_empty() {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + self.inner.config.patience;
        loop {
            let batch = payloads.iter().cloned().map(Payload);
            let mut answers = self
                .inner
                .raft
                .client_write_many(batch)
                .await
                .map_err(|error| self.inner.stopped(&error))?;
            let mut outcomes = Vec::with_capacity(payloads.len());
            let mut is_refused = false;
            while outcomes.len() < payloads.len() && !is_refused {
                let outcome = match timeout_at(deadline, answers.next()).await {
                    Err(_) => Err(ProposeError::Unknown {
                        reason: "no answer came in time".to_owned(),
                    }),
                    Ok(None) => Err(self.inner.stopped(&"the answers ended early")),
                    Ok(Some(Err(error))) => Err(self.inner.stopped(&error)),
                    Ok(Some(Ok(Ok(written)))) => Ok(Committed {
                        at: position(&written.log_id),
                        reply: written.response.0,
                    }),
                    Ok(Some(Ok(Err(error)))) => match self.refusal(error, None) {
                        Some(refusal) => Err(refusal),
                        // They stand or fall together before they are in the log, so the first
                        // refusal speaks for all.
                        None => {
                            is_refused = true;
                            continue;
                        }
                    },
                };
                outcomes.push(outcome);
            }
            if !is_refused {
                return Ok(outcomes);
            }
            self.retry(deadline).await?;
        }
    }

    fn check_payload(&self, payload: &Bytes) -> Result<(), ProposeError> {
        if self.inner.end.borrow().is_some() {
            return Err(self.inner.stopped(&"it has ended"));
        }
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(ProposeError::TooLarge {
                bytes: payload.len(),
            });
        }
        if self.inner.reserve.is_missing() && !self.inner.reserve.ensure() {
            return Err(ProposeError::DiskFull);
        }
        Ok(())
    }

    /// Says what a refused write means for its proposer; `None` when it never reached the log and
    /// may be tried again.
    fn refusal(
        &self,
        error: ClientWriteError<TypeConfig>,
        term: Option<u64>,
    ) -> Option<ProposeError> {
        match error {
            ClientWriteError::ForwardToLeader(_)
                if term.is_some_and(|term| term != self.term()) =>
            {
                term.map(|expected| ProposeError::TermOver { expected })
            }
            ClientWriteError::ForwardToLeader(forward) if self.may_lead_soon(&forward) => None,
            ClientWriteError::ForwardToLeader(forward) => Some(ProposeError::NotLeader {
                leader: forward.leader_id,
                address: forward.leader_node.map(|peer| peer.address),
            }),
            ClientWriteError::LogEntryDiscarded(_) => Some(ProposeError::Unknown {
                reason: "leadership was lost".to_owned(),
            }),
            ClientWriteError::ChangeMembershipError(error) => Some(ProposeError::Unknown {
                reason: error.to_string(),
            }),
            ClientWriteError::PreconditionFailed(_) => Some(ProposeError::TermOver {
                expected: term.unwrap_or_default(),
            }),
        }
    }

    async fn retry(&self, deadline: Instant) -> Result<(), ProposeError> {
        if Instant::now() + RETRY >= deadline {
            return Err(ProposeError::NoLeaderInTime);
        }
        sleep(RETRY).await;
        Ok(())
    }
}
