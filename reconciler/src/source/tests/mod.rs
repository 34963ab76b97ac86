//! Real repositories, made by the git program and by git2.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod artifacts;
mod branch;
mod fixture;
pub(crate) use fixture::Repository;
mod history;
mod ignoring;
mod manifests;
mod watching;
mod work_tree;
