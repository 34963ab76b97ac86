//! One member of the cluster, as the kernel holds it: propose, read, watch, stop.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{
    ClientWriteError, ForwardReason, ForwardToLeader, LinearizableReadError, RaftError as ApiError,
};
use openraft::impls::ProgressResponder;
use openraft::{Raft, RaftMetrics, ReadPolicy};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::config::MemberConfig;
use super::error::{ProposeError, RaftError, ReadError};
use super::identity::{ClusterId, ensure_identity};
use super::lock::DirectoryLock;
use super::log::{LogOptions, LogStore, LogWatch};
use super::machine::{Machine, Position};
use super::network::Network;
use super::replica::{Compaction, Replica};
use super::reserve::Reserve;
use super::snapshot::{SnapshotDirectory, SnapshotError};
use super::types::{Payload, Peer, TypeConfig};

/// Longest payload of an entry, in bytes; what is larger is staged in parts.
pub const MAX_PAYLOAD_BYTES: usize = 256 * 1024;

/// How long a proposal waits before it asks again who leads.
const RETRY: Duration = Duration::from_millis(2);
/// How long a snapshot waits for the log to be purged after it; a purge that is held up happens later.
const PURGE_PATIENCE: Duration = Duration::from_secs(10);

/// What became of a proposal: committed, applied, and shown before this was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Where it stands in the log.
    pub at: Position,
    /// What the machine answered.
    pub reply: Bytes,
}

/// A running member; clones are the same member.
///
/// *Guarantees*: what [`propose`](Member::propose) has answered survives `kill -9` and is applied once on every member, in one order. A failure of disk or
/// machine ends the member for good: [`stopped`](Member::stopped) says so and the process must exit. *Assumes*: it lives in a tokio runtime with timers.
#[derive(Clone)]
pub struct Member {
    inner: Arc<Inner>,
}

struct Inner {
    raft: Raft<TypeConfig, Replica>,
    config: MemberConfig,
    cluster: ClusterId,
    log: LogWatch,
    reserve: Arc<Reserve>,
    progress: watch::Receiver<Position>,
    failure: watch::Receiver<Option<String>>,
    snapshots: mpsc::Sender<oneshot::Sender<Result<(), Arc<SnapshotError>>>>,
    /// Dropping it ends the tasks of this member.
    stop: watch::Sender<bool>,
}

/// What was found in the data directory.
struct Opened {
    cluster: ClusterId,
    log: LogStore,
    snapshots: Arc<SnapshotDirectory>,
    reserve: Arc<Reserve>,
}

impl Member {
    /// Starts a member on its data directory: makes a cluster of one when the directory is empty, otherwise goes on where it stopped.
    ///
    /// Returns when the member can answer: a sole member has then won its election and applied everything that was committed.
    ///
    /// # Errors
    /// When the directory is in use, belongs to another member or cluster, is damaged, or cannot be read or written.
    pub async fn start(config: MemberConfig, machine: impl Machine) -> Result<Self, RaftError> {
        let mut openraft_config = config.to_openraft()?;
        let settings = config.clone();
        let opened = tokio::task::spawn_blocking(move || open(&settings))
            .await
            .map_err(|error| RaftError::Fatal(error.to_string()))??;
        let Opened {
            cluster,
            log,
            snapshots,
            reserve,
        } = opened;
        openraft_config.cluster_name = cluster.to_string();
        let watch_log = log.watch();
        let compaction = Arc::new(Compaction::new(config.snapshot_after_bytes));
        let (progress_sender, progress) = watch::channel(Position::default());
        let replica = Replica::new(
            Box::new(machine),
            Arc::clone(&snapshots),
            Arc::clone(&reserve),
            watch_log.clone(),
            Arc::clone(&compaction),
            progress_sender,
        );
        let started = Raft::new(
            config.member,
            Arc::new(openraft_config),
            Network,
            log,
            replica,
        )
        .await;
        let raft = match started {
            Ok(raft) => raft,
            Err(error) => {
                close(watch_log.clone()).await;
                return Err(RaftError::Fatal(
                    watch_log
                        .failure()
                        .map_or_else(|| error.to_string(), |failure| failure.to_string()),
                ));
            }
        };

        let (stop, stopping) = watch::channel(false);
        let (failure_sender, failure) = watch::channel(None);
        let (snapshot_sender, snapshot_requests) = mpsc::channel(16);
        tokio::spawn(run_monitor(
            raft.clone(),
            watch_log.clone(),
            failure_sender,
            stopping.clone(),
        ));
        let compactor = Compactor {
            raft: raft.clone(),
            snapshots,
            reserve: Arc::clone(&reserve),
            log: watch_log.clone(),
            compaction,
            progress: progress.clone(),
            kept_entries: config.kept_entries,
        };
        tokio::spawn(run_compactor(compactor, snapshot_requests, stopping));
        let inner = Inner {
            raft,
            config,
            cluster,
            log: watch_log,
            reserve,
            progress,
            failure,
            snapshots: snapshot_sender,
            stop,
        };
        let member = Self {
            inner: Arc::new(inner),
        };
        if let Err(error) = member.take_up().await {
            member.shutdown().await;
            return Err(error);
        }
        tracing::info!(member = member.inner.config.member, %cluster, term = member.term(), applied = member.applied().index, "the member is up");
        Ok(member)
    }

    /// Makes the cluster if there is none, and leads it if nobody else could.
    async fn take_up(&self) -> Result<(), RaftError> {
        let fatal = |error: String| RaftError::Fatal(self.inner.reason(error));
        let raft = &self.inner.raft;
        let member = self.inner.config.member;
        if !raft
            .is_initialized()
            .await
            .map_err(|error| fatal(error.to_string()))?
        {
            let peers = std::collections::BTreeMap::from([(
                member,
                Peer {
                    address: self.inner.config.address.clone(),
                },
            )]);
            raft.initialize(peers)
                .await
                .map_err(|error| fatal(error.to_string()))?;
        }
        // Asked of the core: its metrics lag behind.
        let is_alone = raft.with_raft_state(move |state| {
            state.membership_state.effective().voter_ids().eq([member])
        });
        if !is_alone.await.map_err(|error| fatal(error.to_string()))? {
            return Ok(());
        }
        // Alone, there is nobody to wait for.
        raft.trigger()
            .elect(false)
            .await
            .map_err(|error| fatal(error.to_string()))?;
        loop {
            match self.read_barrier().await {
                Ok(()) => break,
                Err(ReadError::Stopped { reason }) => return Err(RaftError::Fatal(reason)),
                // A long log takes its time to be applied; only a failure ends the wait.
                Err(ReadError::NotLeader { .. } | ReadError::NoQuorumInTime) => {}
            }
        }
        // What `is_leader` and `term` tell lags a little behind what was just proven.
        let leads = |metrics: &RaftMetrics<TypeConfig>| {
            metrics.running_state.is_err() || metrics.state.is_leader()
        };
        raft.wait(None)
            .metrics(leads, "the sole member leads")
            .await
            .map_err(|error| fatal(error.to_string()))?;
        Ok(())
    }

    /// Proposes a payload; answers when it is committed and applied here. Many callers at once share one sync of the disk.
    ///
    /// # Errors
    /// See [`ProposeError`]: only `Unknown` leaves open whether the payload is in the log.
    pub async fn propose(&self, payload: impl Into<Bytes>) -> Result<Committed, ProposeError> {
        self.propose_fenced(payload.into(), None).await
    }

    /// Proposes a payload that is only meant for this term: refused when another leader came in between.
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

    /// Proposes payloads together: they take consecutive places in the log, in this order, each with its own answer.
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
                        // They stand or fall together before they are in the log, so the first refusal speaks for all.
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

    /// Waits until everything committed before this call is applied here, and this member was leader all the while: what is read then is not stale.
    ///
    /// # Errors
    /// When another member leads, or no majority answers in time.
    pub async fn read_barrier(&self) -> Result<(), ReadError> {
        let deadline = Instant::now() + self.inner.config.patience;
        loop {
            let barrier = self.inner.raft.ensure_linearizable(ReadPolicy::ReadIndex);
            let error = match timeout_at(deadline, barrier).await {
                Err(_) => return Err(ReadError::NoQuorumInTime),
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => error,
            };
            match error {
                ApiError::Fatal(error) => {
                    return Err(ReadError::Stopped {
                        reason: self.inner.reason(error.to_string()),
                    });
                }
                ApiError::APIError(LinearizableReadError::ForwardToLeader(forward))
                    if !self.may_lead_soon(&forward) =>
                {
                    return Err(ReadError::NotLeader {
                        leader: forward.leader_id,
                    });
                }
                ApiError::APIError(
                    LinearizableReadError::ForwardToLeader(_)
                    | LinearizableReadError::QuorumNotEnough(_),
                ) => {}
            }
            if Instant::now() + RETRY >= deadline {
                return Err(ReadError::NoQuorumInTime);
            }
            sleep(RETRY).await;
        }
    }

    /// Says whether this member leads, as far as it knows.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.inner.raft.is_leader()
    }

    /// The current term.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.inner.raft.metrics().borrow_watched().current_term
    }

    /// The last entry that was applied and shown here.
    #[must_use]
    pub fn applied(&self) -> Position {
        *self.inner.progress.borrow()
    }

    /// Watches what is applied and shown; changes once per batch.
    #[must_use]
    pub fn watch_applied(&self) -> watch::Receiver<Position> {
        self.inner.progress.clone()
    }

    /// The member's number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.inner.config.member
    }

    /// The cluster that the member belongs to.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.inner.cluster
    }

    /// Bytes in the log when it was opened, and all written since.
    #[must_use]
    pub fn logged_bytes(&self) -> u64 {
        self.inner.log.written_bytes()
    }

    /// Makes a snapshot of everything applied so far, and removes from the log what is no longer needed.
    ///
    /// # Errors
    /// When nothing was applied yet, or the snapshot cannot be written.
    pub async fn snapshot_now(&self) -> Result<(), Arc<SnapshotError>> {
        let (sender, done) = oneshot::channel();
        self.inner
            .snapshots
            .send(sender)
            .await
            .map_err(|_| Arc::new(SnapshotError::Stopped))?;
        done.await
            .unwrap_or_else(|_| Err(Arc::new(SnapshotError::Stopped)))
    }

    /// Completes when the member has failed for good; the process must then exit. Never completes for one that was shut down in order.
    pub fn stopped(&self) -> impl Future<Output = RaftError> + Send + use<> {
        let mut failure = self.inner.failure.clone();
        async move {
            loop {
                if let Some(reason) = failure.borrow_and_update().clone() {
                    return RaftError::Fatal(reason);
                }
                if failure.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Stops in order: what was queued becomes durable, and the data directory is free again when this returns.
    pub async fn shutdown(&self) {
        self.inner.stop.send_replace(true);
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::error!(%error, "the member did not stop in order");
        }
        close(self.inner.log.clone()).await;
    }

    fn check_payload(&self, payload: &Bytes) -> Result<(), ProposeError> {
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

    /// Says what a refused write means for its proposer; `None` when it never reached the log and may be tried again.
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

    /// Right after an election, and after a pause of the process, a leader has to hear from a majority before it goes on: that takes a moment.
    fn may_lead_soon(&self, forward: &ForwardToLeader<TypeConfig>) -> bool {
        match forward.reason {
            ForwardReason::LeaseExpired => true,
            ForwardReason::LeadershipTransfer => false,
            ForwardReason::NotLeader => forward
                .leader_id
                .is_none_or(|leader| leader == self.inner.config.member),
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

impl Inner {
    /// The reason for a stop; a failed log is the cause, what openraft says of it is the symptom.
    fn reason(&self, symptom: String) -> String {
        let cause = self.log.failure().map(|failure| failure.to_string());
        cause
            .or_else(|| self.failure.borrow().clone())
            .unwrap_or(symptom)
    }

    fn stopped(&self, symptom: &dyn std::fmt::Display) -> ProposeError {
        ProposeError::Stopped {
            reason: self.reason(symptom.to_string()),
        }
    }
}

fn position(id: &super::types::LogId) -> Position {
    Position {
        term: id.leader_id.term,
        index: id.index,
    }
}

/// Opens everything in the data directory. Blocks on I/O.
fn open(config: &MemberConfig) -> Result<Opened, RaftError> {
    let lock = DirectoryLock::acquire(&config.directory)?;
    let identity = ensure_identity(&config.directory, config.member, config.cluster)?;
    let reserve = Arc::new(Reserve::open(&config.directory, config.reserve_bytes));
    let snapshots = Arc::new(SnapshotDirectory::open(
        config.directory.join("snapshots"),
        identity.cluster,
    )?);
    let options = LogOptions {
        directory: config.directory.join("log"),
        cluster: identity.cluster,
        segment_bytes: config.segment_bytes,
        cache_bytes: config.cache_bytes,
        reserve: Arc::clone(&reserve),
    };
    let log = LogStore::open(options, Some(lock))?;
    let covered = snapshots
        .newest()
        .and_then(|newest| newest.meta.last_log_id)
        .map(|last| last.index);
    match log.watch().purged() {
        Some(purged) if covered.is_none_or(|covered| covered < purged.index) => {
            log.watch().close_and_wait();
            Err(RaftError::SnapshotBehindLog {
                purged: purged.index,
                snapshot: covered,
            })
        }
        _ => Ok(Opened {
            cluster: identity.cluster,
            log,
            snapshots,
            reserve,
        }),
    }
}

async fn close(log: LogWatch) {
    if let Err(error) = tokio::task::spawn_blocking(move || log.close_and_wait()).await {
        tracing::error!(%error, "closing the log panicked");
    }
}

/// Waits for the end of the member, and says why it came.
async fn run_monitor(
    raft: Raft<TypeConfig, Replica>,
    log: LogWatch,
    failure: watch::Sender<Option<String>>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut metrics = raft.metrics();
    let fatal = async {
        loop {
            if let Err(error) = &metrics.borrow_watched().running_state {
                return error.to_string();
            }
            if metrics.changed().await.is_err() {
                return "its core ended".to_owned();
            }
        }
    };
    let reason = tokio::select! {
        // An ordered stop, or everybody has let go of the member.
        _ = stopping.wait_for(|stop| *stop) => return,
        cause = log.failed() => cause.to_string(),
        symptom = fatal => log.failure().map_or(symptom, |cause| cause.to_string()),
    };
    if !*stopping.borrow() {
        tracing::error!(reason, "the member has failed");
        failure.send_replace(Some(reason));
        // Keeps the reason readable for as long as the member is held.
        let _ = stopping.wait_for(|stop| *stop).await;
    }
}

/// What the loop of snapshots works with.
struct Compactor {
    raft: Raft<TypeConfig, Replica>,
    snapshots: Arc<SnapshotDirectory>,
    reserve: Arc<Reserve>,
    log: LogWatch,
    compaction: Arc<Compaction>,
    progress: watch::Receiver<Position>,
    kept_entries: u64,
}

/// Makes a snapshot when enough was logged, or when asked; one at a time.
async fn run_compactor(
    compactor: Compactor,
    mut requests: mpsc::Receiver<oneshot::Sender<Result<(), Arc<SnapshotError>>>>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let request = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = compactor.compaction.due.notified() => None,
            request = requests.recv() => match request {
                Some(request) => Some(request),
                None => return,
            },
        };
        let outcome = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            outcome = compactor.compact() => outcome,
        };
        if let Some(request) = request {
            let _ = request.send(outcome);
        }
    }
}

impl Compactor {
    async fn compact(&self) -> Result<(), Arc<SnapshotError>> {
        let stopped = || Arc::new(SnapshotError::Stopped);
        let newest = || {
            self.snapshots
                .newest()
                .and_then(|newest| newest.meta.last_log_id)
        };
        let applied = self.progress.borrow().index;
        if newest().is_none_or(|newest| newest.index < applied) {
            let mut outcomes = self.compaction.outcome.subscribe();
            let before = outcomes.borrow_and_update().0;
            self.raft
                .trigger()
                .snapshot()
                .await
                .map_err(|_| stopped())?;
            let outcome = outcomes
                .wait_for(|(attempts, _)| *attempts > before)
                .await
                .map_err(|_| stopped())?
                .1
                .clone();
            if let Some(error) = outcome {
                return Err(error);
            }
        }
        let Some(newest) = newest() else {
            return Err(Arc::new(SnapshotError::Nothing));
        };
        // The file is there; openraft has to have heard of it before it lets entries go.
        let knows = |metrics: &RaftMetrics<TypeConfig>| {
            metrics.running_state.is_err()
                || metrics
                    .snapshot
                    .is_some_and(|known| known.index >= newest.index)
        };
        self.raft
            .wait(None)
            .metrics(knows, "the snapshot is known")
            .await
            .map_err(|_| stopped())?;
        if let Some(fallback) = self.snapshots.fallback() {
            let upto = fallback
                .index
                .min(newest.index.saturating_sub(self.kept_entries));
            if self.log.purged().is_none_or(|purged| purged.index < upto) && upto > 0 {
                self.raft
                    .trigger()
                    .purge_log(upto)
                    .await
                    .map_err(|_| stopped())?;
                let is_purged = |metrics: &RaftMetrics<TypeConfig>| {
                    metrics.running_state.is_err()
                        || metrics.purged.is_some_and(|purged| purged.index >= upto)
                };
                if self
                    .raft
                    .wait(Some(PURGE_PATIENCE))
                    .metrics(is_purged, "the log is purged")
                    .await
                    .is_err()
                {
                    tracing::debug!(
                        upto,
                        "the log is still in use by another member and will be purged later"
                    );
                }
            }
        }
        self.reserve.ensure();
        Ok(())
    }
}
