//! One member of the cluster, as the kernel holds it: propose, read, watch, stop.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kelson_proto::v1::members_server::MembersServer;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{
    ForwardReason, ForwardToLeader, LinearizableReadError, RaftError as ApiError,
};
use openraft::{Raft, ReadPolicy};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::config::MemberConfig;
use super::error::{ProposeError, RaftError, ReadError};
use super::identity::ClusterId;
use super::log::LogWatch;
use super::machine::Position;
use super::monitor::End;
use super::peers::Peers;
use super::reads::Reads;
use super::replica::Replica;
use super::reserve::Reserve;
use super::roster::Roster;
use super::runtime::OwnRuntime;
use super::service::{MemberService, Receiver, server};
use super::snapshot::SnapshotError;
use super::types::TypeConfig;

/// How long a call waits before it asks again who leads.
pub(super) const RETRY: Duration = Duration::from_millis(2);

/// A running member; clones are the same member.
///
/// *Guarantees*: what [`propose`](Member::propose) has answered survives `kill -9` and is applied
/// once on every member, in one order. A failure of disk or machine ends the member for good:
/// [`stopped`](Member::stopped) says so and the process must exit. Elections and replication run on
/// threads of their own. *Assumes*: it is called in a tokio runtime with timers.
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
    pub(super) cluster: ClusterId,
    pub(super) log: LogWatch,
    pub(super) reserve: Arc<Reserve>,
    pub(super) peers: Peers,
    pub(super) roster: watch::Receiver<Roster>,
    pub(super) reads: Reads,
    pub(super) receiver: Arc<Receiver>,
    /// Held by the change of the members that is under way.
    pub(super) changing: Arc<Mutex<()>>,
    pub(super) progress: watch::Receiver<Position>,
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) end: watch::Receiver<Option<End>>,
    pub(super) snapshots: mpsc::Sender<oneshot::Sender<Result<(), Arc<SnapshotError>>>>,
    /// Dropping it ends the tasks of this member.
    pub(super) stop: watch::Sender<bool>,
    /// The last to go.
    pub(super) runtime: OwnRuntime,
}

impl Member {
    /// Waits until everything committed before this call is applied here: what is read then is not
    /// stale. Works on every member; one that does not lead asks the leader. Many at once share one
    /// question.
    ///
    /// # Errors
    /// When no majority answers in time, or nobody leads.
    pub async fn read_barrier(&self) -> Result<(), ReadError> {
        let deadline = Instant::now() + self.inner.config.patience;
        let index = match timeout_at(deadline, self.inner.reads.index()).await {
            Err(_) => return Err(ReadError::NoQuorumInTime),
            Ok(index) => index.map_err(|error| self.inner.read_error(error))?,
        };
        self.wait_applied(index, deadline).await
    }

    /// Says whether this member leads and has heard from a majority so lately that nobody else can
    /// lead: what is read then is not stale, as long as the clocks of the members run about equally
    /// fast. Asks nobody.
    ///
    /// # Errors
    /// When another member leads, or no majority has been heard of in time.
    pub async fn lease_barrier(&self) -> Result<(), ReadError> {
        let deadline = Instant::now() + self.inner.config.patience;
        loop {
            let barrier = self.inner.raft.get_read_linearizer(ReadPolicy::LeaseRead);
            let error = match timeout_at(deadline, barrier).await {
                Err(_) => return Err(ReadError::NoQuorumInTime),
                Ok(Ok(linearizer)) => {
                    let index = linearizer.read_log_id().index();
                    return self.wait_applied(index, deadline).await;
                }
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

    async fn wait_applied(&self, index: u64, deadline: Instant) -> Result<(), ReadError> {
        let mut progress = self.inner.progress.clone();
        let applied = progress.wait_for(|applied| applied.index >= index);
        match timeout_at(deadline, applied).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ReadError::Stopped {
                reason: self.inner.reason("it was shut down".to_owned()),
            }),
            Err(_) => Err(ReadError::NoQuorumInTime),
        }
    }

    /// Gives the service that the other members call; it belongs on the listener whose address this
    /// member is known by.
    #[must_use]
    pub fn service(&self) -> MembersServer<MemberService> {
        server(Arc::clone(&self.inner.receiver))
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

    /// Completes when the member has ended for good, with the reason; the process must then exit.
    /// Never completes for one that was shut down in order.
    pub fn stopped(&self) -> impl Future<Output = RaftError> + Send + use<> {
        let mut end = self.inner.end.clone();
        let (member, cluster) = (self.inner.config.member, self.inner.cluster);
        async move {
            loop {
                let now = end.borrow_and_update().clone();
                if let Some(end) = now {
                    return end.to_error(member, cluster);
                }
                if end.changed().await.is_err() {
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
        self.inner.runtime.end();
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
    pub(super) fn reason(&self, symptom: String) -> String {
        let cause = self.log.failure().map(|failure| failure.to_string());
        cause
            .or_else(|| self.end.borrow().as_ref().map(End::to_string))
            .unwrap_or(symptom)
    }

    fn read_error(&self, error: ReadError) -> ReadError {
        match error {
            ReadError::Stopped { reason } => ReadError::Stopped {
                reason: self.reason(reason),
            },
            other => other,
        }
    }

    pub(super) fn stopped(&self, symptom: &dyn std::fmt::Display) -> ProposeError {
        ProposeError::Stopped {
            reason: self.reason(symptom.to_string()),
        }
    }
}

/// Closes the log, and lets go of the data directory.
pub(super) async fn close(log: LogWatch) {
    if let Err(error) = tokio::task::spawn_blocking(move || log.close_and_wait()).await {
        tracing::error!(%error, "closing the log panicked");
    }
}
