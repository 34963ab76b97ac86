//! Why a member does not start, a proposal is not taken, or a read cannot be promised.

use std::io;
use std::path::{Path, PathBuf};

use super::log::LogError;
use super::snapshot::SnapshotError;
use super::{ClusterId, MAX_PAYLOAD_BYTES};

/// Why a member does not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum RaftError {
    /// The operating system refused an operation on the data directory.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process uses the data directory.
    #[error("{} is in use by {}", directory.display(), holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    InUse {
        /// The data directory.
        directory: PathBuf,
        /// The process id of the other one, when it could be read.
        holder: Option<u32>,
    },
    /// The identity file does not match its checksum.
    #[error("{} is damaged; restore the data directory from a copy, or remove the member and add a new one", path.display())]
    DamagedIdentity {
        /// The identity file.
        path: PathBuf,
    },
    /// There is a log but nothing says whose it is.
    #[error("{} is missing, but {} is there: the data directory is incomplete", path.display(), found.display())]
    MissingIdentity {
        /// The identity file.
        path: PathBuf,
        /// A file of a log or snapshot.
        found: PathBuf,
    },
    /// The data directory belongs to another member.
    #[error("{} belongs to member {found}, and member {expected} was started on it", path.display())]
    WrongMember {
        /// The identity file.
        path: PathBuf,
        /// The member that the directory belongs to.
        found: u64,
        /// The member that was started.
        expected: u64,
    },
    /// The data directory belongs to another cluster.
    #[error("{} belongs to cluster {found}, and a member of {expected} was started on it", path.display())]
    WrongCluster {
        /// The identity file.
        path: PathBuf,
        /// The cluster that the directory belongs to.
        found: ClusterId,
        /// The cluster that was asked for.
        expected: ClusterId,
    },
    /// A newer Kelson wrote this file.
    #[error("{} has format version {found}; this program reads up to version {supported}", path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// The version in it.
        found: u32,
        /// The newest version known here.
        supported: u32,
    },
    /// A setting is out of its range.
    #[error("setting {setting}: {reason}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Whoever joins must say which cluster.
    #[error("member {member} cannot join a cluster that is not named")]
    NoCluster {
        /// The member that was started.
        member: u64,
    },
    /// The cluster has removed this member; its id is never used again. The process must end, and
    /// the machine comes back as a new member on an empty directory.
    #[error(
        "member {member} was removed from cluster {cluster}; its data directory is of no more use, and a new member needs an empty one"
    )]
    Removed {
        /// This member.
        member: u64,
        /// The cluster.
        cluster: ClusterId,
    },
    /// The directory is empty, and the cluster knows this member as one that has confirmed entries:
    /// to let it vote could lose them.
    #[error(
        "the data directory of member {member} is empty, but cluster {cluster} knows it as a member that had data: remove member {member} from the cluster, and add this machine as a new one"
    )]
    DataLost {
        /// This member.
        member: u64,
        /// The cluster.
        cluster: ClusterId,
    },
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The snapshots cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The log starts after the newest usable snapshot ends.
    #[error("entries up to {purged} were removed from the log, but the newest usable snapshot ends at {}", snapshot.map_or_else(|| "nothing".to_owned(), |index| index.to_string()))]
    SnapshotBehindLog {
        /// The last entry removed from the log.
        purged: u64,
        /// The last entry in the newest usable snapshot.
        snapshot: Option<u64>,
    },
    /// The member had to stop: its log, its snapshots or its machine failed. The process must end
    /// and be started again.
    #[error("the member stopped: {0}")]
    Fatal(String),
}

impl RaftError {
    /// Names the operation and the file of a system error.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// Why a proposal has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another member leads, or none does. The payload is not in the log; ask there.
    #[error("this member does not lead{}", leader.map_or_else(String::new, |leader| format!("; member {leader} does")))]
    NotLeader {
        /// The member that leads, when known.
        leader: Option<u64>,
        /// Its address, when known.
        address: Option<String>,
    },
    /// The term that the proposal was made for is over. The payload is not in the log.
    #[error("term {expected} is over")]
    TermOver {
        /// The term that was asked for.
        expected: u64,
    },
    /// The payload is longer than an entry may be. It is not in the log.
    #[error("the payload has {bytes} bytes; an entry takes at most {MAX_PAYLOAD_BYTES}")]
    TooLarge {
        /// Its length, in bytes.
        bytes: usize,
    },
    /// The disk is too full to take more. The payload is not in the log.
    #[error("the disk of this member is full")]
    DiskFull,
    /// Nobody led before the deadline. The payload is not in the log.
    #[error("no leader was found in time")]
    NoLeaderInTime,
    /// The answer did not come in time, or leadership was lost meanwhile: the payload may be
    /// committed, now or later.
    #[error("the outcome is unknown: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
    /// The member has stopped; see [`Member::stopped`](super::Member::stopped). If it did so
    /// meanwhile, the payload may be committed, now or later.
    #[error("the member stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

/// Why the members stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Another member leads, or none does; ask there.
    #[error("this member does not lead{}", leader.map_or_else(String::new, |leader| format!("; member {leader} does")))]
    NotLeader {
        /// The member that leads, when known.
        leader: Option<u64>,
        /// Its address, when known.
        address: Option<String>,
    },
    /// The id was given once to a member that is gone. Ids are never used again.
    #[error("member {member} was removed once, and its id is never used again")]
    UsedBefore {
        /// The id.
        member: u64,
    },
    /// The id belongs to a member at another address.
    #[error("member {member} is there already, at '{address}'")]
    Exists {
        /// The id.
        member: u64,
        /// Where it is.
        address: String,
    },
    /// No member has this id.
    #[error("there is no member {member}")]
    Unknown {
        /// The id.
        member: u64,
    },
    /// The member has too little of the log to vote.
    #[error("member {member} has not caught up in time: it has entries up to {}, the leader up to {last}", matched.map_or_else(|| "none".to_owned(), |matched| matched.to_string()))]
    Behind {
        /// The member.
        member: u64,
        /// Its last entry, when it has any.
        matched: Option<u64>,
        /// The leader's last entry.
        last: u64,
    },
    /// The last voter cannot go.
    #[error("member {member} is the only voter and cannot be removed")]
    LastVoter {
        /// The member.
        member: u64,
    },
    /// Only a voter can lead.
    #[error("member {member} is no voter and cannot lead")]
    NoVoter {
        /// The member.
        member: u64,
    },
    /// Another change is under way and did not end in time.
    #[error("another change of the members is under way")]
    InProgress,
    /// The answer did not come in time: it may have happened, or still happen.
    #[error("the outcome is unknown: {reason}")]
    Unclear {
        /// What happened.
        reason: String,
    },
    /// The member has stopped.
    #[error("the member stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

/// Why a linearizable read cannot be promised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Another member leads, or none does.
    #[error("this member does not lead{}", leader.map_or_else(String::new, |leader| format!("; member {leader} does")))]
    NotLeader {
        /// The member that leads, when known.
        leader: Option<u64>,
    },
    /// A majority did not confirm in time.
    #[error("a majority of members did not confirm in time")]
    NoQuorumInTime,
    /// The member has stopped.
    #[error("the member stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}
