//! Who this agent is: kept for ever in its data directory.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use kelson_model::id::AgentId;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::config::AgentError;
use crate::record::{RECORD_VERSION, read_record, write_record};

const FILE: &str = "agent.json";
const LOCK: &str = "agent.lock";
/// How long a lock is waited for whose holder lives.
const PATIENCE: Duration = Duration::from_millis(300);
/// How long where it does not.
const PATIENCE_WITH_THE_DEAD: Duration = Duration::from_secs(5);

/// `agent.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Identity {
    version: u32,
    /// 0: not registered yet.
    pub(crate) agent: u64,
    /// Names the data directory.
    pub(crate) token: String,
    /// Grows with each start.
    pub(crate) incarnation: u64,
    /// The cluster that has registered it; absent: none yet, or one that was asked before this was
    /// kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cluster: Option<String>,
}

/// Holds the data directory while it lives.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> AgentError + '_ {
    move |source| AgentError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Makes and locks the data directory.
pub(crate) fn lock_directory(root: &Path) -> Result<DirectoryLock, AgentError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(root)
        .map_err(io(root))?;
    let path = root.join(LOCK);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(io(&path))?;
    wait_for_lock(&mut file).map_err(|pid| AgentError::Held {
        path: root.to_owned(),
        pid,
    })?;
    file.set_len(0)
        .and_then(|()| file.rewind())
        .map_err(io(&path))?;
    write!(file, "{}", std::process::id()).map_err(io(&path))?;
    Ok(DirectoryLock { _file: file })
}

/// Takes the lock, or gives the process id of who has it.
///
/// A child of an agent holds its files until it has become the shim: where the agent was killed in
/// that moment, its lock outlives it by some milliseconds.
fn wait_for_lock(file: &mut File) -> Result<(), String> {
    let begin = Instant::now();
    loop {
        if flock(&*file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(());
        }
        let mut pid = String::new();
        let _ = file
            .rewind()
            .and_then(|()| file.take(20).read_to_string(&mut pid));
        let holder = pid.trim().parse::<u32>().ok().and_then(crate::proc::stat);
        let is_alive = holder.is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'));
        let patience = if is_alive {
            PATIENCE
        } else {
            PATIENCE_WITH_THE_DEAD
        };
        if begin.elapsed() > patience {
            let pid = pid.trim();
            return Err(if pid.is_empty() { "unknown" } else { pid }.to_owned());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Identity {
    /// Reads the identity, or makes one, and begins the next incarnation durably.
    pub(crate) fn begin(root: &Path) -> Result<Self, AgentError> {
        let mut identity = Self::read(root)?;
        identity.incarnation = identity.incarnation.saturating_add(1);
        identity.keep(root)?;
        Ok(identity)
    }

    /// Reads the identity, or makes one, durably.
    fn read(root: &Path) -> Result<Self, AgentError> {
        let record = |error: crate::record::RecordError| AgentError::Record(error.to_string());
        if let Some(identity) = read_record::<Identity>(root, FILE).map_err(record)? {
            return Ok(identity);
        }
        let identity = Self {
            version: RECORD_VERSION,
            agent: 0,
            token: new_token().map_err(io(root))?,
            incarnation: 0,
            cluster: None,
        };
        identity.keep(root)?;
        Ok(identity)
    }

    /// Takes what the kernel has answered to an Attach; keeps what is new durably.
    ///
    /// Another cluster has tasks of the same names: what runs here is never taken for its own.
    ///
    /// # Errors
    /// Where it is not the cluster, or not the id, that this data directory belongs to.
    pub(crate) fn settle(
        &mut self,
        root: &Path,
        agent: u64,
        cluster: &str,
    ) -> Result<(), AgentError> {
        if let Some(own) = self.cluster.as_deref().filter(|own| *own != cluster) {
            return Err(AgentError::OtherCluster {
                path: root.to_owned(),
                own: own.to_owned(),
                found: cluster.to_owned(),
            });
        }
        let settled = Self {
            agent,
            cluster: (!cluster.is_empty()).then(|| cluster.to_owned()),
            ..self.clone()
        };
        if settled != *self {
            settled.keep(root)?;
            *self = settled;
        }
        Ok(())
    }

    /// Writes the identity durably.
    pub(crate) fn keep(&self, root: &Path) -> Result<(), AgentError> {
        write_record(root, FILE, self).map_err(|error| AgentError::Record(error.to_string()))
    }
}

/// What names a data directory towards the cluster; it is made and named where it was not.
///
/// # Errors
/// The directory cannot be used, or another agent uses it.
pub fn directory_name(root: &Path) -> Result<String, AgentError> {
    let _lock = lock_directory(root)?;
    Ok(Identity::read(root)?.token)
}

/// Keeps the id that a cluster has given to this data directory.
///
/// # Errors
/// The directory belongs to another cluster, or cannot be written.
pub fn keep_id(root: &Path, agent: AgentId, cluster: &str) -> Result<(), AgentError> {
    let _lock = lock_directory(root)?;
    Identity::read(root)?.settle(root, agent.0, cluster)
}

fn new_token() -> std::io::Result<String> {
    let mut bytes = [0u8; 16];
    let mut random = File::open("/dev/urandom")?;
    random.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_token_stays_and_the_incarnation_grows() {
        let directory = tempfile::tempdir().unwrap();
        let first = Identity::begin(directory.path()).unwrap();
        let second = Identity::begin(directory.path()).unwrap();
        assert_eq!((first.incarnation, second.incarnation), (1, 2));
        assert_eq!(first.token, second.token);
        assert_eq!(first.token.len(), 32);
    }

    #[test]
    fn a_data_directory_belongs_to_the_cluster_that_has_registered_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut first = Identity::begin(directory.path()).unwrap();
        first.settle(directory.path(), 7, "c-1").unwrap();
        let mut second = Identity::begin(directory.path()).unwrap();
        assert_eq!((second.agent, second.cluster.as_deref()), (7, Some("c-1")));
        let error = second.settle(directory.path(), 7, "c-2").unwrap_err();
        assert!(matches!(error, AgentError::OtherCluster { .. }), "{error}");
        second.settle(directory.path(), 7, "c-1").unwrap();
    }

    #[test]
    fn an_identity_without_a_cluster_takes_the_first_that_answers() {
        let directory = tempfile::tempdir().unwrap();
        let old = r#"{"version":1,"agent":3,"token":"t","incarnation":4}"#;
        fs::write(directory.path().join(FILE), old).unwrap();
        let mut identity = Identity::begin(directory.path()).unwrap();
        identity.settle(directory.path(), 3, "c-1").unwrap();
        assert_eq!(identity.cluster.as_deref(), Some("c-1"));
    }

    #[test]
    fn a_directory_is_held_by_one_agent_which_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let _held = lock_directory(directory.path()).unwrap();
        let error = lock_directory(directory.path()).unwrap_err();
        assert!(
            error.to_string().contains(&std::process::id().to_string()),
            "{error}"
        );
    }
}
