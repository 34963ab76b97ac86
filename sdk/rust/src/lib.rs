//! What a framework author uses in Rust: a scheduler is a type that implements [`Scheduler`] and is
//! exported with [`export_scheduler!`].
//!
//! This crate decides how rows cross the boundary: bulk data comes and goes as columns of numbers,
//! the author sees [`Cluster`] and [`Turn`] and never a column. It decides nothing about placement,
//! and it has no clock, randomness or I/O: a scheduler is a function of what it is shown. All of it
//! but the exported functions compiles natively as well, so that a scheduler's logic is tested with
//! `cargo test` on a [`testing::Stage`].
//!
//! Read next: `wit/` (the treaty), [`Scheduler`], `docs/guides/write-a-framework.md`.

mod bindings;
mod budget;
mod cluster;
mod columns;
mod describe;
mod export;
mod last_words;
pub mod quantity;
mod rows;
mod runner;
mod scheduler;
mod stated;
pub mod testing;
mod treaty;
mod turn;
mod wishes;

pub use bindings::generated as __generated;
pub use cluster::{Changes, Cluster};
pub use columns::{AgentColumns, OfferColumns, RefusalColumns, TaskColumns, WorkloadColumns};
pub use describe::{Description, Kind, Problem};
#[doc(hidden)]
pub use last_words::report_panics as __report_panics;
pub use rows::{Agent, AgentState, Check, Offer, Refusal, Task, TaskState, Workload};
pub use runner::Runner;
pub use scheduler::Scheduler;
pub use serde_json;
pub use treaty::{Imports, Reads, Treaty};
pub use turn::{Demand, Health, KillReason, Level, Placement, Rollout, Status, Turn};
pub use wishes::{DemandColumns, LaunchColumns};

/// The guide's examples, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/write-a-framework.md")]
mod guide {}
