//! The agent's shell: supervisor, process driver, shim, isolation, connection.
//!
//! This room does what the core decides: it lays out task directories, starts shims, watches them,
//! probes, reads logs, and keeps the session with the kernel. It never decides what should run.
//! Everything that must survive the agent stands in its data directory:
//!
//! ```text
//! agent.json            who this agent is: id, token, incarnation, and of which cluster
//! cgroups.json          below which cgroups it places its tasks, and has placed them
//! blobs/                contents of files, by digest
//! tasks/tsk_7/          spec.json, running.json, notes.json, exited.json, control, logs/, work/
//! ended/tsk_3/          the output of an ended task
//! ```
//!
//! Read `supervisor.rs` first (one loop owns all tasks), then `shim/mod.rs` (what holds a task),
//! `recovery.rs` (how a new agent takes over) and `isolation/mod.rs` (cgroups). The entry points
//! are [`Agent`] and [`run_agent`], and [`run_shim`], [`run_gate`] and [`run_check`] for the modes
//! of the same executable that hold a task.

mod agent;
mod blob;
mod capacity;
mod check;
mod clock;
mod config;
mod connection;
mod drift;
mod ended;
mod files;
mod identity;
mod isolation;
mod kill;
mod launch;
mod layout;
mod left;
mod ports;
mod proc;
mod record;
mod recovery;
mod reset;
mod shim;
mod supervisor;

pub use agent::{Agent, run_agent};
pub use capacity::host_name;
pub use config::{AgentConfig, AgentError, ShutdownMode};
pub use ended::KeptOutputs;
pub use identity::{directory_name, keep_id};
pub use left::still_running;
pub use record::LogLimit;
pub use reset::end_everything;
pub use shim::{keep_descriptors, run_check, run_gate, run_shim};
