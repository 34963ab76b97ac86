//! The kernel's handle: one member, its state, its scheduler host, and how everything else
//! proposes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kelson_kernel_core::command::{Command, FoundCluster, SetClusterVersion};
use kelson_kernel_core::form::{self, CLUSTER_VERSION};
use kelson_kernel_core::port::SchedulerHost;
use kelson_kernel_core::round::RoundMemory;
use kelson_kernel_core::turn_size::{ENTRY_HEAD_BYTES, TURN_BYTES};
use kelson_kernel_core::{Entry, Reply, State};
use kelson_model::code::Code;
use kelson_model::framework::{Ceiling, Limits};
use kelson_model::principal::Principal;
use kelson_model::request::{Refusal, Submission};
use kelson_model::time::{ClusterTime, WallTime};
use tokio::sync::watch;

use crate::blobs::{BlobError, Blobs};
use crate::codec;
use crate::heart::Hearts;
use crate::metrics::{Metrics, Since};
use crate::raft::{ClusterId, MAX_PAYLOAD_BYTES, Member, MemberConfig, ProposeError, RaftError};
use crate::sessions::Sessions;

// A turn that is within its limit always fits an entry.
const _: () = assert!(TURN_BYTES as usize + ENTRY_HEAD_BYTES as usize <= MAX_PAYLOAD_BYTES);

/// A framework that comes in the box.
#[derive(Debug, Clone)]
pub struct BuiltIn {
    /// `service`.
    pub name: String,
    /// Its component.
    pub component: Vec<u8>,
    /// What it may use.
    pub limits: Limits,
}

/// How a kernel is started.
#[derive(Debug, Clone)]
pub struct KernelConfig {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// A session without a message for this long has ended.
    pub lease: Duration,
    /// The frameworks in the box.
    pub built_in: Vec<BuiltIn>,
    /// What frameworks from git may ask for.
    pub ceiling: Ceiling,
    /// The repository that the reconciler beside it follows, for clients that ask.
    pub repository: Option<PathBuf>,
}

/// Why a kernel does not start.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The log does not open, or the member does not lead.
    #[error(transparent)]
    Raft(#[from] RaftError),
    /// The blob store does not open.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The first entries were not accepted.
    #[error("the kernel could not write its first entries: {0}")]
    First(#[from] SubmitError),
}

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
    /// Whether the log has stopped: nothing can be written any more. Anything else is said, and
    /// no reason to end a loop.
    pub fn has_stopped(&self) -> bool {
        matches!(self, Self::Propose(ProposeError::Stopped { .. }))
    }
}

/// A running kernel; clones are the same one.
#[derive(Clone)]
pub struct Kernel {
    inner: Arc<Inner>,
}

struct Inner {
    member: Member,
    view: watch::Receiver<State>,
    host: Arc<dyn SchedulerHost>,
    blobs: Blobs,
    config: KernelConfig,
    memory: Mutex<RoundMemory>,
    sessions: Sessions,
    hearts: Hearts,
    metrics: Metrics,
    clock: (Instant, ClusterTime),
    poke: watch::Sender<u64>,
    cluster: ClusterId,
}

impl Kernel {
    /// Opens the data directory and waits until this member leads.
    ///
    /// # Errors
    /// See [`KernelError`].
    pub async fn start(
        config: KernelConfig,
        host: Arc<dyn SchedulerHost>,
    ) -> Result<Self, KernelError> {
        let metrics = Metrics::default();
        let (machine, view) = crate::machine::KernelMachine::new(metrics.clone());
        let hearts = Hearts::default();
        let mut own = MemberConfig::new(1, config.data_dir.join("raft"));
        own.hearts = hearts.clone();
        own.metrics = metrics.clone();
        let member = Member::start(own, machine).await?;
        let blobs = Blobs::open(&config.data_dir.join("blobs"))?;
        let base = view.borrow().time;
        let cluster = member.cluster();
        let inner = Inner {
            member,
            view,
            host,
            blobs,
            config,
            memory: Mutex::default(),
            sessions: Sessions::default(),
            hearts,
            metrics,
            clock: (Instant::now(), base),
            poke: watch::Sender::new(0),
            cluster,
        };
        let kernel = Self {
            inner: Arc::new(inner),
        };
        if kernel.state().cluster.is_empty() {
            kernel
                .propose(Command::FoundCluster(FoundCluster {
                    cluster: kernel.inner.cluster.to_string(),
                }))
                .await?;
        }
        kernel.raise_cluster_version().await?;
        Ok(kernel)
    }

    /// Lets the cluster have all that this program knows: it is the only member.
    async fn raise_cluster_version(&self) -> Result<(), SubmitError> {
        let version = CLUSTER_VERSION;
        if self.state().cluster_version < version {
            self.propose(Command::SetClusterVersion(SetClusterVersion { version }))
                .await?;
        }
        Ok(())
    }

    /// The state as of the last applied batch.
    pub fn state(&self) -> State {
        self.inner.view.borrow().clone()
    }

    /// Sees every published state, the newest only where it is slow.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.inner.view.clone()
    }

    /// Cluster time: goes on from the newest entry by this process' monotonic clock.
    pub fn now(&self) -> ClusterTime {
        let (started, base) = self.inner.clock;
        let elapsed = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        ClusterTime(base.0.saturating_add(elapsed)).max(self.inner.view.borrow().time)
    }

    /// Wall time, for people.
    pub fn wall(&self) -> WallTime {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// The replicated log's member.
    pub fn member(&self) -> &Member {
        &self.inner.member
    }

    /// The sandbox of the schedulers.
    pub fn host(&self) -> &Arc<dyn SchedulerHost> {
        &self.inner.host
    }

    /// The blob store.
    pub fn blobs(&self) -> &Blobs {
        &self.inner.blobs
    }

    /// How it was started.
    pub fn config(&self) -> &KernelConfig {
        &self.inner.config
    }

    /// The heartbeats of its loops.
    pub fn hearts(&self) -> &Hearts {
        &self.inner.hearts
    }

    /// What is measured of it.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    /// What the leader remembers from round to round; hold it for a moment only.
    pub(crate) fn memory(&self) -> MutexGuard<'_, RoundMemory> {
        self.inner
            .memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a round although nothing has changed (a paused seat was reset).
    pub(crate) fn poke(&self) {
        self.inner.poke.send_modify(|pokes| *pokes += 1);
    }

    pub(crate) fn watch_pokes(&self) -> watch::Receiver<u64> {
        self.inner.poke.subscribe()
    }

    /// Proposes a command of the kernel's own and waits until it is applied.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn propose(&self, command: Command) -> Result<Reply, SubmitError> {
        self.propose_for(Principal::kernel(), command).await
    }

    /// Proposes a command in somebody's name and waits until it is applied.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn propose_for(
        &self,
        principal: Principal,
        command: Command,
    ) -> Result<Reply, SubmitError> {
        let term = self.inner.member.term();
        let entry = Entry {
            principal,
            at: self.now(),
            wall: self.wall(),
            term,
            client: None,
            command,
        };
        self.propose_entry(&entry).await
    }

    /// Carries out a client's request, once for each (client, sequence).
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn submit(&self, submission: Submission) -> Result<Reply, SubmitError> {
        let entry = Entry {
            principal: submission.principal,
            at: self.now(),
            wall: self.wall(),
            term: self.inner.member.term(),
            client: Some((submission.client, submission.sequence)),
            command: submission.request.into(),
        };
        match self.propose_entry(&entry).await {
            // It never gets smaller: whoever asked is told, and asks no more.
            Err(SubmitError::Propose(ProposeError::TooLarge { bytes })) => {
                Ok(Reply::Refused(too_large(bytes)))
            }
            other => other,
        }
    }

    async fn propose_entry(&self, entry: &Entry) -> Result<Reply, SubmitError> {
        let since = Since::now();
        let outcome = self.propose_unmeasured(entry).await;
        self.inner.metrics.proposed(&outcome, since);
        outcome
    }

    async fn propose_unmeasured(&self, entry: &Entry) -> Result<Reply, SubmitError> {
        let cluster_version = self.inner.view.borrow().cluster_version;
        if let Err(refused) = form::allow(&entry.command, cluster_version) {
            return Ok(Reply::Refused(refused));
        }
        let payload = codec::encode_entry(entry, cluster_version)?;
        let committed = match entry.command {
            // A turn is meant for the term in which it ran.
            Command::CommitTurn(_) => {
                self.inner
                    .member
                    .propose_in_term(entry.term, payload)
                    .await?
            }
            _ => self.inner.member.propose(payload).await?,
        };
        Ok(codec::decode_reply(&committed.reply)?)
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
