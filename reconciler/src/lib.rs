//! The reconciler's shell: git sources, the sync loop, applying, reports.

/// Where manifests come from: git branches and folders, and when to look again.
pub mod source;
