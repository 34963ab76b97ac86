//! The kernel's handle: one member, its state, its scheduler host, and how everything else
//! proposes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kelson_kernel_core::State;
use kelson_kernel_core::command::{Command, FoundCluster, SetClusterVersion};
use kelson_kernel_core::form::CLUSTER_VERSION;
use kelson_kernel_core::port::SchedulerHost;
use kelson_kernel_core::round::RoundMemory;
use kelson_kernel_core::turn_size::{ENTRY_HEAD_BYTES, TURN_BYTES};
use kelson_model::framework::{Ceiling, Limits};
use kelson_model::id::MemberId;
use kelson_model::time::{ClusterTime, WallTime};
use tokio::sync::watch;

use crate::blobs::{BlobError, Blobs};
use crate::clock::Clock;
use crate::heart::Hearts;
use crate::leader::{Tenure, run_tenures};
use crate::metrics::Metrics;
use crate::proposing::SubmitError;
use crate::raft::{
    Beginning, ClusterId, Dialer, MAX_PAYLOAD_BYTES, Member, MemberConfig, PlainDialer, RaftError,
};
use crate::relay::{Links, Relays};
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
    /// Which member it is, and how it reaches the others.
    pub place: Place,
}

/// Which member of which cluster a kernel is.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its id, given once; 1 founds a cluster.
    pub member: MemberId,
    /// Its name, for people.
    pub name: String,
    /// Where its API listens, `host:port`; empty where nobody needs to know.
    pub address: String,
    /// The cluster that it belongs to; `None` takes what is in the data directory, or draws a new
    /// one. Whoever joins names it.
    pub cluster: Option<ClusterId>,
    /// What an empty data directory becomes.
    pub beginning: Beginning,
    /// How it reaches the others.
    pub dialer: Arc<dyn Dialer>,
}

impl Default for Place {
    /// The only member of a cluster of its own.
    fn default() -> Self {
        Self {
            member: MemberId(1),
            name: "one".to_owned(),
            address: String::new(),
            cluster: None,
            beginning: Beginning::Found,
            dialer: Arc::new(PlainDialer),
        }
    }
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

/// A running kernel; clones are the same one.
#[derive(Clone)]
pub struct Kernel {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    member: Member,
    view: watch::Receiver<State>,
    host: Arc<dyn SchedulerHost>,
    blobs: Blobs,
    config: KernelConfig,
    memory: Mutex<RoundMemory>,
    sessions: Sessions,
    hearts: Hearts,
    metrics: Metrics,
    clock: Clock,
    /// The term in which this member leads, once it has passed its read barrier.
    tenure: watch::Sender<Option<u64>>,
    poke: watch::Sender<u64>,
    cluster: ClusterId,
    links: Links,
    relays: Relays,
}

impl Kernel {
    /// Opens the data directory; waits until this member leads where nobody else can.
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
        let place = &config.place;
        let own = MemberConfig {
            hearts: hearts.clone(),
            metrics: metrics.clone(),
            cluster: place.cluster,
            beginning: place.beginning,
            address: place.address.clone(),
            dialer: Arc::clone(&place.dialer),
            ..MemberConfig::new(place.member.0, config.data_dir.join("raft"))
        };
        let member = Member::start(own, machine).await?;
        let blobs = Blobs::open(&config.data_dir.join("blobs"))?;
        let cluster = member.cluster();
        let links = Links::new(Arc::clone(&config.place.dialer));
        let inner = Inner {
            relays: Relays::new(links.clone(), cluster.to_string()),
            links,
            member,
            view,
            host,
            blobs,
            config,
            memory: Mutex::default(),
            sessions: Sessions::default(),
            hearts,
            metrics,
            clock: Clock::default(),
            tenure: watch::Sender::new(None),
            poke: watch::Sender::new(0),
            cluster,
        };
        let kernel = Self {
            inner: Arc::new(inner),
        };
        let own = Arc::downgrade(&kernel.inner);
        tokio::spawn(run_tenures(own, kernel.member().watch_leadership()));
        if let Some(tenure) = kernel.first_tenure().await {
            kernel.found(&tenure).await?;
        }
        Ok(kernel)
    }

    /// Writes what a cluster begins with, and lets it have all that this program knows where it
    /// has no other member.
    async fn found(&self, tenure: &Tenure) -> Result<(), SubmitError> {
        if self.state().cluster.is_empty() {
            let cluster = self.inner.cluster.to_string();
            let found = FoundCluster { cluster };
            tenure.propose(Command::FoundCluster(found)).await?;
        }
        let version = CLUSTER_VERSION;
        if self.member().members().len() == 1 && self.state().cluster_version < version {
            let raise = SetClusterVersion { version };
            tenure.propose(Command::SetClusterVersion(raise)).await?;
        }
        Ok(())
    }

    pub(crate) fn of(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// The tenure that begins now, where this member leads already.
    async fn first_tenure(&self) -> Option<Tenure> {
        let mut tenures = self.watch_tenure();
        let mut leadership = self.member().watch_leadership();
        loop {
            if let Some(term) = *tenures.borrow_and_update() {
                return Some(Tenure::new(self.clone(), term));
            }
            if !leadership.borrow_and_update().is_mine {
                return None;
            }
            tokio::select! {
                changed = tenures.changed() => changed.ok()?,
                changed = leadership.changed() => changed.ok()?,
            }
        }
    }

    /// This member leads, and knows all that was committed before.
    pub(crate) fn begin_tenure(&self, term: u64) {
        self.inner.clock.go_on(self.inner.view.borrow().time);
        self.inner.tenure.send_replace(Some(term));
    }

    /// It leads no more.
    pub(crate) fn end_tenure(&self) {
        self.inner.tenure.send_replace(None);
        self.inner.clock.stand_still(self.inner.view.borrow().time);
    }

    /// The term in which this member leads, once it knows all that was committed before; `None`
    /// while another one does.
    pub fn watch_tenure(&self) -> watch::Receiver<Option<u64>> {
        self.inner.tenure.subscribe()
    }

    /// The state as of the last applied batch.
    pub fn state(&self) -> State {
        self.inner.view.borrow().clone()
    }

    /// Sees every published state, the newest only where it is slow.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.inner.view.clone()
    }

    /// Cluster time: goes on from the newest entry while this member leads, and stands still while
    /// it does not. Never goes back.
    pub fn now(&self) -> ClusterTime {
        self.inner.clock.now(self.inner.view.borrow().time)
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

    /// The connections to other members.
    pub(crate) fn links(&self) -> &Links {
        &self.inner.links
    }

    /// The way to whoever leads, for what it has to be told.
    pub(crate) fn relays(&self) -> &Relays {
        &self.inner.relays
    }

    /// Which member leads and where it listens, where that is another one.
    pub fn leader_elsewhere(&self) -> Option<(u64, String)> {
        let known = *self.member().watch_leadership().borrow();
        let leader = known
            .leader
            .filter(|leader| *leader != self.member().id())?;
        let mut members = self.member().members().into_iter();
        let found = members.find(|member| member.id == leader)?;
        Some((leader, found.address))
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
}
