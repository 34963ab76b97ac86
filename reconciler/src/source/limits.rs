//! How much one commit may ask of its reader.

/// Bounds what is read from a commit or a folder.
///
/// A repository is written by people who may be wrong and, where many may push, by people who may
/// be hostile. Whatever passes a limit becomes a [`TreeFault`](super::TreeFault) that names the
/// limit, never a long wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest manifest, in bytes: 1 MiB.
    pub manifest_bytes: u64,
    /// The manifests of one commit: 50,000.
    pub files: usize,
    /// All manifests of one commit together, in bytes: 512 MiB.
    pub total_bytes: u64,
    /// The largest file that a manifest may name (a component, a file of a task), in bytes: 64 MiB.
    pub artifact_bytes: u64,
    /// Folders within folders: 64.
    pub depth: usize,
    /// Files and folders of any kind that are looked at for one listing: 1,000,000.
    pub entries: usize,
    /// The largest `.kelsonignore`, in bytes: 64 KiB. With it goes a limit of 1,000 patterns in one
    /// file.
    pub ignore_bytes: u64,
    /// Faults that are listed one by one: 1,000.
    pub faults: usize,
}

/// The patterns of one `.kelsonignore`.
pub(super) const IGNORE_PATTERNS: usize = 1_000;

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 1 << 20,
            files: 50_000,
            total_bytes: 512 << 20,
            artifact_bytes: 64 << 20,
            depth: 64,
            entries: 1_000_000,
            ignore_bytes: 64 << 10,
            faults: 1_000,
        }
    }
}
