//! The reconciler's shell: git sources, the sync loop, applying, reports.
//!
//! This room decides when to look, which revision is the newest, and in which steps what git asks reaches the kernel. What a manifest means, what a plan
//! holds and what counts as drift is `kelson-reconciler-core`'s to say; what is and what runs is the kernel's. It never imports the kernel: it is its client.
//!
//! Read `sync.rs` first (the loop), then `reconciler.rs` (one pass of it), `apply.rs` (carrying out), `desired.rs` (a revision loaded), `observed.rs` (the
//! kernel's rows) and `client/` (the way to the kernel). `offline.rs` is what the command line uses for `validate` and `plan`.

mod accepted;
mod apply;
mod bound;
/// The way to the kernel.
pub mod client;
mod config;
mod desired;
mod hold;
mod kinds;
mod notes;
mod observed;
mod offline;
mod planning;
mod reconciler;
mod rows;
/// Where manifests come from: git branches and folders, and when to look again.
pub mod source;
mod stage;
mod sync;
mod validator;

#[cfg(test)]
mod tests;

pub use config::{Config, Hooks};
pub use desired::{Desired, Loader, MAX_OBJECT_BYTES};
pub use observed::{Changes, MIRRORED, Mirror};
pub use offline::{kinds_of, load_source, plan_source, validation};
pub use planning::{Circumstances, plan_revision};
pub use rows::{FrameworkRow, RowError};
pub use sync::run_reconciler;
pub use validator::{Problem, SchemaOnly, Validator};
