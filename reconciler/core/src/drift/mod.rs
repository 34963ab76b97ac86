//! Drift: what left git's word without a commit.
//!
//! *Flow*: [`scan()`] reads which objects differ from what was accepted from git, a fact that the
//! kernel keeps (specification), looks for tasks that somebody ended (placement), takes in what
//! agents found (agent), and lays all of it over the ledger, so that an item is opened once,
//! counted when it comes back, and healed when it is gone.
//!
//! *Guarantees*: pure; nothing is an item unless somebody changed a field that git owns, or ended a
//! task from outside. A crash is no drift, and neither is a difference that a commit, or a newer
//! schema of a kind, brought. It needs no git: that is asked for places only.

mod finding;
mod ledger;
mod placement;
mod scan;
mod sight;
mod specification;

pub use scan::scan;
pub use sight::{Scan, Sight, Unlisted};
