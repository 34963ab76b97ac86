//! Drift: what left git's word without a commit.
//!
//! *Flow*: [`scan()`] compares the objects of the applied revision with what is (specification), looks for tasks that somebody ended (placement), takes in
//! what agents found (agent), and lays all of it over the ledger, so that an item is opened once, counted when it comes back, and healed when it is gone.
//! *Guarantees*: pure; nothing is an item unless a field that git owns differs, or a task was ended from outside. A crash is no drift, and neither is a
//! difference that a commit brought. *Assumes*: the manifests are those of the revision that the kernel has applied.

mod finding;
mod ledger;
mod placement;
mod scan;
mod specification;

pub use scan::{Scan, Sight, scan};
