//! The reconciler's shell: git sources, the sync loop, applying, reports.
//!
//! This room decides when to look, which revision is the newest, and in which steps what git asks
//! reaches the kernel. What a manifest means, what a plan holds and what counts as drift is
//! `kelson-reconciler-core`'s to say; what is and what runs is the kernel's. It never imports the
//! kernel: it is its client.
//!
//! Read `sync.rs` first (the loop), then `reconciler.rs` (one pass of it). A pass is put together
//! from `tip.rs` (what the branch shows), `revisions.rs` (a revision loaded), `observed.rs` (the
//! kernel's rows), `planning.rs` (the plan), `apply.rs` and `submit.rs` (carrying out),
//! `drifting.rs` (what was changed by hand) and `verdict.rs` (what is said). `client/` is the way
//! to the kernel; `offline.rs` and `foretold.rs` are what the command line uses for `validate` and
//! `plan`.

mod apply;
mod authors;
mod bound;
/// The way to the kernel.
pub mod client;
mod config;
mod desired;
mod drifting;
mod foretold;
mod hold;
mod kinds;
mod notes;
mod observed;
mod offline;
mod planning;
mod reconciler;
mod revisions;
mod rows;
/// Where manifests come from: git branches and folders, and when to look again.
pub mod source;
mod stage;
mod submit;
mod sync;
mod tip;
mod trouble;
mod validator;
mod verdict;

#[cfg(test)]
mod tests;

pub use config::{Config, Hooks, OnBeat};
pub use desired::{Desired, Loader, MAX_OBJECT_BYTES};
pub use foretold::{Components, Foretold, check_source};
pub use kinds::of_rows;
pub use observed::{Changes, MIRRORED, Mirror};
pub use offline::{plan_source, validation};
pub use planning::{Circumstances, plan_revision};
pub use rows::RowError;
pub use sync::run_reconciler;
pub use validator::{Problem, SchemaOnly, Validator};
