//! What happens to a task, and what must be done about it: the two alphabets of its machine.

use kelson_model::task::ExitCause;
use kelson_model::time::WallTime;
use serde::{Deserialize, Serialize};

use crate::moment::Moment;
use crate::probe::CheckNote;
use crate::update::Report;

/// Which of the two checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// Whether it works.
    Health,
    /// Whether it may take traffic.
    Readiness,
}

/// How a program ended, as its shim has recorded it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ending {
    /// The exit status, where it exited.
    pub code: Option<i32>,
    /// The signal's number, where it was killed by one.
    pub signal: Option<i32>,
    /// Whether the memory limit killed it.
    pub oom: bool,
    /// Whether the shim had been asked to signal it.
    pub by_agent: bool,
    /// Why it could not be started, where it could not.
    pub not_started: Option<String>,
    /// Ports that others of the machine have, where that is why.
    pub taken_ports: Vec<u16>,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Its directory and files are there, and its specification is durable.
    Prepared,
    /// They are not, and will not be.
    PrepareFailed {
        /// A sentence for people.
        reason: String,
    },
    /// It was its turn to be started: there is a shim now.
    ShimSpawned,
    /// The program runs.
    Started {
        /// Its process id.
        pid: u32,
        /// When.
        at: WallTime,
    },
    /// The shim has recorded the end and is gone.
    Ended(Ending),
    /// The shim is gone and has recorded nothing, and what it held was ended.
    SupervisorDied {
        /// What is known about it, for people.
        reason: String,
        /// The same for programs.
        cause: ExitCause,
    },
    /// The kernel wants it to end.
    Stop {
        /// One word of the protocol.
        reason: String,
    },
    /// The agent is told to end, and its tasks are to end before it.
    AgentEnds,
    /// The kernel has recorded its end.
    Forget,
    /// A probe was answered.
    Probed {
        /// Of which check.
        which: Which,
        /// What came of it.
        result: Result<(), String>,
    },
    /// Time has gone by.
    Tick,
}

/// What the shell must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make the directory, lay down the files, write the specification durably; answer Prepared or
    /// PrepareFailed.
    Prepare,
    /// Start the shim; answer Started, Ended or SupervisorDied.
    StartShim,
    /// Keep this for the next agent, before anything that follows is done.
    Note(TaskNote),
    /// Ask the shim to signal the program's group.
    Signal(i32),
    /// Kill everything that belongs to the task, through the shim and without it.
    KillAll,
    /// Probe; answer Probed.
    Probe(Which),
    /// Tell the kernel.
    EmitStatus(Box<Report>),
    /// Delete what is left; the machine is done.
    Cleanup,
}

/// What of a running task outlives the agent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskNote {
    /// What its health check has come to; absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<CheckNote>,
    /// What its readiness check has come to; absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<CheckNote>,
    /// That it was asked to end; absent: it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopNote>,
}

/// That a task was asked to end: it is asked once, however often its agent is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StopNote {
    /// Why, one word of the protocol.
    pub reason: String,
    /// When its grace is over.
    pub kill_at: Moment,
    /// What lies behind it; absent: the kernel asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<ExitCause>,
}
