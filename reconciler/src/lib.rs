//! The reconciler's shell: git sources, the sync loop, applying, reports.
