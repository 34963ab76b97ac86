//! What an agent is started with, and why it could not be.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kelson_model::agent::PortRange;
use kelson_model::quantity::{Bytes, MilliCpus};
use kelson_trust::Dialer;

use crate::ended::KeptOutputs;
use crate::record::LogLimit;

/// What an agent is started with.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// Everything that survives the agent; locked while it runs.
    pub data_dir: PathBuf,
    /// The way to the kernel.
    pub kernel: Dialer,
    /// The machine's name, for people.
    pub name: String,
    /// The address under which its tasks are reached, and that they bind to (`HOST`).
    pub address: String,
    /// What it gives; absent: the machine's processors.
    pub cpus: Option<MilliCpus>,
    /// What it gives; absent: the machine's memory, or what its own cgroup may use of it, minus a
    /// reserve.
    pub memory: Option<Bytes>,
    /// What it gives; absent: the file system of the data directory, minus a reserve.
    pub disk: Option<Bytes>,
    /// The ports it gives.
    pub ports: PortRange,
    /// Labels, beside those about isolation.
    pub attributes: BTreeMap<String, String>,
    /// The executable that knows the modes `shim DIRECTORY`, `gate` and `check`: usually this one.
    pub shim_exe: PathBuf,
    /// How much of each task's output is kept.
    pub logs: LogLimit,
    /// How much is kept of the outputs of ended tasks.
    pub kept_outputs: KeptOutputs,
    /// Whether cgroups are used where they can be.
    pub use_cgroups: bool,
    /// Its version, for people.
    pub version: String,
}

impl AgentConfig {
    /// A configuration with the defaults of the contract: loopback, all of the machine, ports 20000
    /// to 31999, this executable as the shim.
    pub fn new(data_dir: PathBuf, kernel: Dialer) -> Self {
        Self {
            data_dir,
            kernel,
            name: crate::capacity::host_name(),
            address: "127.0.0.1".to_owned(),
            cpus: None,
            memory: None,
            disk: None,
            ports: PortRange {
                first: 20_000,
                last: 31_999,
            },
            attributes: BTreeMap::new(),
            shim_exe: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe")),
            logs: LogLimit::default(),
            kept_outputs: KeptOutputs::default(),
            use_cgroups: true,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// What happens to the tasks when the agent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownMode {
    /// They are stopped, each with its grace.
    StopTasks,
    /// They go on; the next agent on this data directory adopts them.
    LeaveTasks,
}

/// An agent could not be started, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Another agent uses the data directory.
    #[error("the data directory {path} is used by another agent (pid {pid})", path = .path.display())]
    Held {
        /// The data directory.
        path: PathBuf,
        /// The other agent, `unknown` where it does not say.
        pid: String,
    },
    /// The data directory cannot be used.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A file of the data directory cannot be read.
    #[error("{0}")]
    Record(String),
    /// The kernel will not have this agent any more.
    #[error("the kernel has ended the session for good: {0}")]
    Dismissed(String),
    /// The data directory belongs to another cluster, whose tasks may run here.
    #[error(
        "the data directory {path} belongs to cluster {own}, and the kernel is one of cluster {found}: give this agent an empty data directory, or the address of its own kernel",
        path = .path.display()
    )]
    OtherCluster {
        /// The data directory.
        path: PathBuf,
        /// The cluster that it belongs to.
        own: String,
        /// The cluster that answers.
        found: String,
    },
    /// Something that must not end has ended.
    #[error("the agent has ended by itself: {0}")]
    Ended(&'static str),
}
