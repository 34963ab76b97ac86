//! The shim: one small process per task, which holds it through restarts and upgrades of the agent
//! and never loses an exit status.
//!
//! It is the same executable in another mode: synchronous, one thread, no tokio. The agent starts
//! `… shim <task directory>`; the shim starts `… gate` as its child, which waits at the start gate
//! and then becomes the program. A third mode, `check`, runs the program of a check inside the
//! task.
//!
//! *Flow*: lock the directory, read `spec.json`, claim the task's ports, start the gate, which
//! enters the task's cgroups, write `running.json` durably meanwhile, open the gate; then carry the
//! output into rotated files, take commands from the control pipe, and wait. At the end kill
//! whatever is left, write `exited.json` durably, and go.
//!
//! *Guarantees*: a program is never started twice from one directory, and never without
//! `running.json`: where the shim dies with the gate closed, the gate reads the end of its pipe and
//! exits with status 126. Where the shim dies later, the program dies with it (PDEATHSIG), and the
//! agent kills the rest. Processes that left the program's group come back to the shim, which is
//! their subreaper.
//!
//! *Assumes*: nobody sends signals to the shim. It has a session of its own, so no terminal does;
//! commands come through the pipe and never as signals, which also work for an agent that took
//! over.
//!
//! *Caveats*: the shim stays in the agent's cgroup, outside the task's, or it would be killed for
//! the task's memory. A service manager that starts the agent must not kill the whole group when it
//! stops the agent (systemd: `KillMode=process`).

mod check;
mod clean;
mod control;
mod gate;
mod oom;
mod output;
mod run;
mod sweep;

pub use check::run_check;
pub(crate) use check::{CheckOrder, CheckVerdict};
pub use clean::keep_descriptors;
pub(crate) use control::{Command, send_command};
pub use gate::run_gate;
pub(crate) use output::rotated;
pub use run::run_shim;
