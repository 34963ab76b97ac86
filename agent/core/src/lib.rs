//! The agent's pure part: what an agent decides about its tasks, without doing any of it.
//!
//! This room decides when a task is prepared, started, signalled, killed, probed and reported
//! ([`Task`]), which orders of the kernel count ([`Assignments`]), what is still to be told to the
//! kernel ([`UpdateQueue`]), and what a program's environment and arguments are ([`LaunchPlan`]).
//! It never starts a process, opens a file or reads a clock: time is an argument, and what must be
//! done comes back as [`Effect`]s. Read `effect.rs` and `task.rs` first, then `assignment.rs`.

mod assignment;
mod effect;
mod environment;
mod launch;
mod moment;
mod probe;
mod signal;
mod task;
mod update;

pub use assignment::{Assignments, Batch, Decision, Order};
pub use effect::{Effect, Ending, Input, StopNote, TaskNote, Which};
pub use environment::{Environment, InterpolateError, Surroundings, interpolate, port_variable};
pub use launch::{LaunchError, LaunchPlan, PlannedFile, Probe, ProbeKind, TaskOrder};
pub use moment::Moment;
pub use probe::{CheckNote, Pace, ProbeSchedule};
pub use signal::{SignalError, parse_signal, signal_name};
pub use task::{Adopted, Task, TaskSettings};
pub use update::{Report, UpdateQueue};
