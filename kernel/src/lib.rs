//! The kernel's shell: the replicated log, the leader's work, the API.
//!
//! This room decides when things happen: when an entry is proposed, when a round runs, when a
//! session has ended. What is legal, and who is shown which offers, is decided by `kernel/core`.
//! It never sees wasmtime (a `SchedulerHost` is handed in) and never sees git. Read `kernel.rs`
//! first (the handle), then `leader/rounds.rs`, `api/mod.rs`, `sessions/mod.rs`, and
//! `raft/mod.rs` for the log.

pub mod api;
pub mod blobs;
pub mod codec;
mod doctor;
mod heart;
mod kernel;
pub mod leader;
mod machine;
mod metrics;
pub mod raft;
mod sessions;
mod trust;

pub use doctor::examine_directory;
pub use heart::{Heart, Hearts};
pub use kernel::{BuiltIn, Kernel, KernelConfig, KernelError, SubmitError};
pub use metrics::Metrics;
pub use trust::Trust;
