//! Where manifests come from: a branch of a local git repository, or a folder of files.
//!
//! This room decides which files of a commit are manifests, what the newest commit of a branch is,
//! and when somebody should look again. It never decides what a manifest means (that is
//! `kelson-reconciler-core`) and never writes: not to the repository, not to its references, not to
//! its index.
//!
//! It is the only user of `git2` and `notify`, and neither appears in its signatures.
//!
//! *Flow.* [`RefWatcher`] says "look again"; [`GitSource::tip`] says which commit the branch has
//! now; [`GitSource::tree`] lists that commit's manifests by object id, so that a manifest parsed
//! once is never parsed again; [`GitSource::blob`] and [`GitSource::blob_at`] read bytes. The
//! newest commit wins: whoever is late just asks for the tip.
//!
//! *Guarantees.* A listing is of one commit, whatever happens to the branch meanwhile. What is
//! wrong with single files is a value in the listing ([`TreeFault`]), so that the good files can go
//! ahead. The working tree is read by [`WorkTree`] and [`GitSource::uncommitted`] only.
//!
//! *Assumes.* Everything here blocks: an async caller uses `spawn_blocking`, and holds nothing
//! across an await.
//!
//! Read next: `git.rs` (a branch), `selection.rs` (which files), `watch.rs` (when).

mod commits;
mod contents;
mod error;
mod git;
mod history;
mod ignore;
mod limits;
mod listing;
mod object_id;
mod path;
mod repository;
mod selection;
mod tree;
mod uncommitted;
mod watch;
mod wildcard;
mod work_tree;

#[cfg(test)]
pub(crate) mod tests;

pub use error::SourceError;
pub use git::{CommitFiles, GitSource, Tip};
pub use history::CommitInfo;
pub use limits::Limits;
pub use listing::{Artifact, FaultCause, FileMode, Listing, ManifestSource, TreeFault, TreeFile};
pub use object_id::{BlobId, ParseObjectIdError};
pub use uncommitted::{Change, Uncommitted};
pub use watch::{Beat, BeatCause, RefWatcher, WatchMode, WatchPaths};
pub use work_tree::WorkTree;
