//! Starting a member on its data directory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use openraft::{Raft, RaftMetrics};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::Instant;

use super::applier::{Applier, Outlets};
use super::compaction::{Compaction, Compactor, run_compactor};
use super::config::{Beginning, MemberConfig};
use super::error::{RaftError, ReadError};
use super::identity::{Identity, ensure_identity};
use super::lock::DirectoryLock;
use super::log::{LogOptions, LogStore};
use super::machine::{Machine, Position};
use super::member::{Inner, Leadership, Member, close};
use super::membership::run_changes;
use super::monitor::{Monitor, run_greetings, run_standing_by};
use super::network::Network;
use super::peers::Peers;
use super::reads::{Reads, run_reads};
use super::receive::Intake;
use super::replica::Replica;
use super::reserve::Reserve;
use super::roster::Roster;
use super::runtime::OwnRuntime;
use super::service::Receiver;
use super::snapshot::SnapshotDirectory;
use super::transfer::Pace;
use super::types::{Peer, TypeConfig};

/// What was found in the data directory.
struct Opened {
    identity: Identity,
    log: LogStore,
    snapshots: Arc<SnapshotDirectory>,
    reserve: Arc<Reserve>,
}

impl Member {
    /// Starts a member on its data directory. An empty one becomes a cluster of one, or waits to be
    /// added to the cluster that it joins; any other goes on where it stopped.
    ///
    /// Returns when the member can answer: a sole member has then won its election and applied
    /// everything that was committed. Others can only be called once [`service`](Member::service)
    /// is served.
    ///
    /// # Errors
    /// When the directory is in use, belongs to another member or cluster, is damaged, or cannot be
    /// read or written.
    pub async fn start(config: MemberConfig, machine: impl Machine) -> Result<Self, RaftError> {
        let runtime = OwnRuntime::start()
            .map_err(|source| RaftError::io("starting threads for", &config.directory, source))?;
        let handle = runtime.handle().clone();
        handle
            .spawn(start(config, Box::new(machine), runtime))
            .await
            .map_err(|error| RaftError::Fatal(error.to_string()))?
    }

    /// Makes the cluster if there is none, and leads it if nobody else could.
    async fn take_up(&self, beginning: Beginning) -> Result<(), RaftError> {
        let fatal = |error: String| RaftError::Fatal(self.inner.reason(error));
        let raft = &self.inner.raft;
        let member = self.inner.config.member;
        let is_new = !raft
            .is_initialized()
            .await
            .map_err(|error| fatal(error.to_string()))?;
        if is_new && beginning == Beginning::Join {
            return Ok(());
        }
        if is_new {
            let peer = Peer {
                address: self.inner.config.address.clone(),
            };
            raft.initialize(BTreeMap::from([(member, peer)]))
                .await
                .map_err(|error| fatal(error.to_string()))?;
            self.inner.receiver.note_stored();
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
}

/// Starts everything; runs on the member's own runtime.
async fn start(
    config: MemberConfig,
    machine: Box<dyn Machine>,
    runtime: OwnRuntime,
) -> Result<Member, RaftError> {
    let mut openraft_config = config.to_openraft()?;
    let settings = config.clone();
    let opened = tokio::task::spawn_blocking(move || open(&settings))
        .await
        .map_err(|error| RaftError::Fatal(error.to_string()))??;
    let Opened {
        identity: Identity {
            cluster, beginning, ..
        },
        log,
        snapshots,
        reserve,
    } = opened;
    openraft_config.cluster_name = cluster.to_string();
    let watch_log = log.watch();
    let is_empty = watch_log.is_empty() && snapshots.newest().is_none();
    let compaction = Arc::new(Compaction::new(config.snapshot_after_bytes));
    compaction.note_size(snapshots.newest_bytes());
    let (progress_sender, progress) = watch::channel(Position::default());
    let (roster_sender, roster) = watch::channel(Roster::default());
    let outlets = Outlets {
        progress: progress_sender,
        roster: roster_sender,
        log: watch_log.clone(),
        compaction: Arc::clone(&compaction),
    };
    let applier = Applier::start(machine, outlets)
        .map_err(|source| RaftError::io("starting a thread for", &config.directory, source))?;
    let replica = Replica::new(
        applier,
        Arc::clone(&snapshots),
        Arc::clone(&reserve),
        Arc::clone(&compaction),
    );
    let peers = Peers::new(
        cluster,
        config.member,
        Arc::clone(&config.dialer),
        roster.clone(),
    );
    let network = Network::new(peers.clone(), Pace(config.transfer_bytes_per_second));
    let started = Raft::new(
        config.member,
        Arc::new(openraft_config),
        network,
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
    let (end_sender, end) = watch::channel(None);
    let (leadership_sender, leadership) = watch::channel(Leadership::default());
    let (snapshot_sender, snapshot_requests) = mpsc::channel(16);
    let (reads, read_requests) = Reads::new();
    let changing = Arc::new(Mutex::new(()));
    let receiver = Arc::new(Receiver {
        raft: raft.clone(),
        runtime: runtime.handle().clone(),
        cluster,
        member: config.member,
        peers: peers.clone(),
        roster: roster.clone(),
        reads: reads.clone(),
        intake: Intake::new(Arc::clone(&snapshots), Arc::clone(&reserve)),
        is_empty: AtomicBool::new(is_empty),
        is_lost: watch::Sender::new(false),
        heard: watch::Sender::new(Instant::now()),
    });
    let monitor = Monitor {
        raft: raft.clone(),
        log: watch_log.clone(),
        receiver: Arc::clone(&receiver),
        leadership: leadership_sender,
        end: end_sender,
        heart: config.hearts.start("member"),
    };
    tokio::spawn(monitor.run(stopping.clone()));
    tokio::spawn(run_greetings(Arc::clone(&receiver), stopping.clone()));
    tokio::spawn(run_reads(
        read_requests,
        raft.clone(),
        peers.clone(),
        config.member,
        config.patience,
        stopping.clone(),
    ));
    tokio::spawn(run_changes(
        raft.clone(),
        Arc::clone(&changing),
        roster.clone(),
        config.patience,
        stopping.clone(),
    ));
    let asked = Arc::clone(&reserve);
    config.hearts.check("log", move || asked.fault());
    if reserve.is_missing() {
        // A full disk: what snapshots already cover can go, and perhaps a new one covers more.
        compaction.due.notify_one();
        tokio::spawn(run_standing_by(
            raft.clone(),
            Arc::clone(&reserve),
            stopping.clone(),
        ));
    }
    let compactor = Compactor {
        raft: raft.clone(),
        snapshots,
        reserve: Arc::clone(&reserve),
        log: watch_log.clone(),
        compaction,
        progress: progress.clone(),
        kept_entries: config.kept_entries,
        kept_bytes: config.kept_bytes,
        heart: config.hearts.start("compaction"),
    };
    tokio::spawn(run_compactor(compactor, snapshot_requests, stopping));
    let inner = Inner {
        raft,
        config,
        cluster,
        log: watch_log,
        reserve,
        peers,
        roster,
        reads,
        receiver,
        changing,
        progress,
        leadership,
        end,
        snapshots: snapshot_sender,
        stop,
        runtime,
    };
    let member = Member {
        inner: Arc::new(inner),
    };
    if let Err(error) = member.take_up(beginning).await {
        member.shutdown().await;
        return Err(error);
    }
    tracing::info!(member = member.inner.config.member, %cluster, term = member.term(), applied = member.applied().index, "the member is up");
    Ok(member)
}

/// Opens everything in the data directory. Blocks on I/O.
fn open(config: &MemberConfig) -> Result<Opened, RaftError> {
    let lock = DirectoryLock::acquire(&config.directory)?;
    let identity = ensure_identity(
        &config.directory,
        config.member,
        config.cluster,
        config.beginning,
    )?;
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
            identity,
            log,
            snapshots,
            reserve,
        }),
    }
}
