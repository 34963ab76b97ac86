//! What a member is started with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::dialer::{Dialer, PlainDialer};
use super::error::RaftError;
use super::identity::ClusterId;
use crate::heart::Hearts;
use crate::metrics::Metrics;

/// What an empty data directory becomes. One that is not empty goes on as what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Beginning {
    /// The first member of a new cluster.
    #[default]
    Found,
    /// A member of a cluster that exists: it waits until the leader has added it.
    Join,
}

/// How a member is started; [`MemberConfig::new`] gives what suits a disk and a small cluster.
#[derive(Debug, Clone)]
pub struct MemberConfig {
    /// The member's number in its cluster: given once, never used again for another.
    pub member: u64,
    /// The data directory; made if it is missing.
    pub directory: PathBuf,
    /// What an empty directory becomes.
    pub beginning: Beginning,
    /// The cluster that the directory must belong to; `None` takes what is there, or draws a new
    /// one for an empty directory. Whoever joins names it.
    pub cluster: Option<ClusterId>,
    /// Where this member's API listens, as `host:port`, for the others to know; empty when it does
    /// not matter yet.
    pub address: String,
    /// How it reaches the others.
    pub dialer: Arc<dyn Dialer>,
    /// From which length on a segment of the log is finished, in bytes.
    pub segment_bytes: u64,
    /// How many bytes of durable entries stay in memory for readers.
    pub cache_bytes: usize,
    /// A snapshot is made when this many bytes were logged since the last one.
    pub snapshot_after_bytes: u64,
    /// How many entries stay in the log when it is cut behind a snapshot, for members that lag.
    pub kept_entries: u64,
    /// How many bytes these may have.
    pub kept_bytes: u64,
    /// Most bytes of a snapshot that are sent to one member in a second.
    pub transfer_bytes_per_second: u64,
    /// How much disk space is kept back for restarting on a full disk, in bytes; 0 keeps none.
    pub reserve_bytes: u64,
    /// How often a leader tells the others that it leads.
    pub heartbeat: Duration,
    /// How long a member waits for its leader at least before it stands for election.
    pub election_min: Duration,
    /// How long at most; also how long a leader may go without a majority before it refuses
    /// proposals.
    pub election_max: Duration,
    /// How long a proposal or a read barrier waits for its answer.
    pub patience: Duration,
    /// Where its loops tell how they do.
    pub hearts: Hearts,
    /// Where it is measured.
    pub metrics: Metrics,
}

impl MemberConfig {
    /// Gives the settings for a member with this number in this directory.
    #[must_use]
    pub fn new(member: u64, directory: impl Into<PathBuf>) -> Self {
        Self {
            member,
            directory: directory.into(),
            beginning: Beginning::Found,
            cluster: None,
            address: String::new(),
            dialer: Arc::new(PlainDialer),
            segment_bytes: 64 << 20,
            cache_bytes: 64 << 20,
            snapshot_after_bytes: 64 << 20,
            kept_entries: 100_000,
            kept_bytes: 256 << 20,
            transfer_bytes_per_second: 64 << 20,
            reserve_bytes: 1 << 20,
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(200),
            election_max: Duration::from_millis(400),
            patience: Duration::from_secs(10),
            hearts: Hearts::default(),
            metrics: Metrics::default(),
        }
    }

    /// Translates to openraft's settings.
    pub(crate) fn to_openraft(&self) -> Result<openraft::Config, RaftError> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        if self.segment_bytes == 0 || self.segment_bytes > 1 << 30 {
            return Err(RaftError::Setting {
                setting: "segment_bytes",
                reason: "must be from 1 byte to 1 GiB".to_owned(),
            });
        }
        let config = openraft::Config {
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election_min),
            election_timeout_max: millis(self.election_max),
            enable_pre_vote: Some(true),
            // The machine is in memory and the commit mark is not synced, so a member that led
            // before must be elected again before it leads.
            enable_leader_restore: Some(false),
            snapshot_policy: openraft::SnapshotPolicy::Never,
            // Purging is ours too: it keeps what the older of the two snapshots needs.
            max_in_snapshot_log_to_keep: u64::MAX / 2,
            replication_lag_threshold: self.kept_entries.saturating_mul(2).max(200_000),
            install_snapshot_timeout: 600_000,
            max_payload_entries: 1_000,
            ..openraft::Config::default()
        };
        config.validate().map_err(|error| RaftError::Setting {
            setting: "heartbeat, election_min, election_max",
            reason: error.to_string(),
        })
    }
}
