//! One member of the cluster, as the kernel holds it: propose, read, watch, stop.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{
    ForwardReason, ForwardToLeader, LinearizableReadError, RaftError as ApiError,
};
use openraft::{Raft, RaftMetrics, ReadPolicy};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::heart::Heart;

use super::compaction::{Compaction, Compactor, run_compactor};
use super::config::MemberConfig;
use super::error::{ProposeError, RaftError, ReadError};
use super::identity::{ClusterId, ensure_identity};
use super::lock::DirectoryLock;
use super::log::{LogOptions, LogStore, LogWatch};
use super::machine::{Machine, Position};
use super::network::Network;
use super::replica::Replica;
use super::reserve::Reserve;
use super::snapshot::{SnapshotDirectory, SnapshotError};
use super::types::{Peer, TypeConfig};

/// How long a call waits before it asks again who leads.
pub(super) const RETRY: Duration = Duration::from_millis(2);

/// A running member; clones are the same member.
///
/// *Guarantees*: what [`propose`](Member::propose) has answered survives `kill -9` and is applied
/// once on every member, in one order. A failure of disk or machine ends the member for good:
/// [`stopped`](Member::stopped) says so and the process must exit. *Assumes*: it lives in a tokio
/// runtime with timers.
#[derive(Clone)]
pub struct Member {
    pub(super) inner: Arc<Inner>,
}

/// Who leads, as far as this member knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leadership {
    /// The term that this is about.
    pub term: u64,
    /// The member that leads in it, when there is one.
    pub leader: Option<u64>,
    /// Whether that is this member. Before it acts on its state it still has to pass a [read
    /// barrier](Member::read_barrier).
    pub is_mine: bool,
}

/// What the clones of a member share.
pub(super) struct Inner {
    pub(super) raft: Raft<TypeConfig, Replica>,
    pub(super) config: MemberConfig,
    cluster: ClusterId,
    log: LogWatch,
    pub(super) reserve: Arc<Reserve>,
    progress: watch::Receiver<Position>,
    leadership: watch::Receiver<Leadership>,
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
    /// Starts a member on its data directory: makes a cluster of one when the directory is empty,
    /// otherwise goes on where it stopped.
    ///
    /// Returns when the member can answer: a sole member has then won its election and applied
    /// everything that was committed.
    ///
    /// # Errors
    /// When the directory is in use, belongs to another member or cluster, is damaged, or cannot be
    /// read or written.
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
        let (leadership_sender, leadership) = watch::channel(Leadership::default());
        let (snapshot_sender, snapshot_requests) = mpsc::channel(16);
        tokio::spawn(run_monitor(
            raft.clone(),
            watch_log.clone(),
            leadership_sender,
            failure_sender,
            stopping.clone(),
            config.hearts.start("member"),
        ));
        let asked = Arc::clone(&reserve);
        config.hearts.check("log", move || asked.fault());
        if reserve.is_missing() {
            // A full disk: what snapshots already cover can go, and perhaps a new one covers more.
            compaction.due.notify_one();
        }
        let compactor = Compactor {
            raft: raft.clone(),
            snapshots,
            reserve: Arc::clone(&reserve),
            log: watch_log.clone(),
            compaction,
            progress: progress.clone(),
            kept_entries: config.kept_entries,
            heart: config.hearts.start("compaction"),
        };
        tokio::spawn(run_compactor(compactor, snapshot_requests, stopping));
        let inner = Inner {
            raft,
            config,
            cluster,
            log: watch_log,
            reserve,
            progress,
            leadership,
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
        let is_new = !raft
            .is_initialized()
            .await
            .map_err(|error| fatal(error.to_string()))?;
        if is_new {
            let peer = Peer {
                address: self.inner.config.address.clone(),
            };
            raft.initialize(BTreeMap::from([(member, peer)]))
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
        if !is_new {
            // Alone, there is nobody whose time-out it would have to wait for. A new cluster has
            // called its election itself.
            raft.trigger()
                .elect(false)
                .await
                .map_err(|error| fatal(error.to_string()))?;
        }
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

    /// Waits until everything committed before this call is applied here, and this member was
    /// leader all the while: what is read then is not stale.
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

    /// Watches who leads; changes with each election.
    #[must_use]
    pub fn watch_leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
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

    /// Makes a snapshot of everything applied so far, and removes from the log what is no longer
    /// needed.
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

    /// Completes when the member has failed for good; the process must then exit. Never completes
    /// for one that was shut down in order.
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

    /// Stops in order: what was queued becomes durable, and the data directory is free again when
    /// this returns.
    pub async fn shutdown(&self) {
        self.inner.stop.send_replace(true);
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::error!(%error, "the member did not stop in order");
        }
        close(self.inner.log.clone()).await;
    }

    /// Right after an election, and after a pause of the process, a leader has to hear from a
    /// majority before it goes on: that takes a moment.
    pub(super) fn may_lead_soon(&self, forward: &ForwardToLeader<TypeConfig>) -> bool {
        match forward.reason {
            ForwardReason::LeaseExpired => true,
            ForwardReason::LeadershipTransfer => false,
            ForwardReason::NotLeader => forward
                .leader_id
                .is_none_or(|leader| leader == self.inner.config.member),
        }
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

    pub(super) fn stopped(&self, symptom: &dyn std::fmt::Display) -> ProposeError {
        ProposeError::Stopped {
            reason: self.reason(symptom.to_string()),
        }
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
        hearts: config.hearts.clone(),
        metrics: config.metrics.clone(),
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
    leadership: watch::Sender<Leadership>,
    failure: watch::Sender<Option<String>>,
    mut stopping: watch::Receiver<bool>,
    heart: Heart,
) {
    heart.waits("for news of its term, its leader or its end", None);
    let mut metrics = raft.metrics();
    let fatal = async {
        loop {
            {
                let now = metrics.borrow_watched();
                if let Err(error) = &now.running_state {
                    return error.to_string();
                }
                let found = Leadership {
                    term: now.current_term,
                    leader: now.current_leader,
                    is_mine: now.state.is_leader(),
                };
                leadership.send_if_modified(|known| {
                    let is_news = *known != found;
                    *known = found;
                    is_news
                });
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
        drop(heart);
        failure.send_replace(Some(reason));
        // Keeps the reason readable for as long as the member is held.
        let _ = stopping.wait_for(|stop| *stop).await;
    }
}
