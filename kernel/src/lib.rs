//! The kernel's shell: the replicated log, the leader's work, the API.
//!
//! This room decides when things happen: when an entry is proposed, when a round runs, when a
//! session has ended. What is legal, and who is shown which offers, is decided by `kernel/core`.
//! It never sees wasmtime (a `SchedulerHost` is handed in) and never sees git. Read `kernel.rs`
//! first (the handle), then `leader/rounds.rs`, `api/mod.rs`, `sessions/mod.rs`, and
//! `raft/mod.rs` for the log.

pub mod api;
mod attendance;
pub mod blobs;
mod clock;
pub mod codec;
mod components;
mod doctor;
mod heart;
mod kernel;
pub mod leader;
mod machine;
mod members;
mod metrics;
mod proposing;
pub mod raft;
mod relay;
mod sessions;
mod trust;

pub use attendance::run_attendance;
pub use components::run_components;
pub use doctor::examine_directory;
pub use heart::{Heart, Hearts};
pub use kernel::{BuiltIn, Kernel, KernelConfig, KernelError, Place};
pub use members::{AdmitError, MembersError, SUPPORTS, run_record};
pub use metrics::Metrics;
pub use proposing::SubmitError;
pub use relay::{JoinError, join_cluster};
pub use trust::{SecureDialer, Trust};
