//! What a source shows: manifests, faults, and the bytes behind them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use kelson_model::id::Revision;

use super::error::SourceError;
use super::limits::Limits;
use super::object_id::BlobId;

/// Says whether a file may be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileMode {
    /// An ordinary file (git's 100644).
    Plain,
    /// An executable file (git's 100755).
    Executable,
}

/// Names one manifest of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeFile {
    /// From the top of the repository, `/` between names.
    pub path: Arc<str>,
    /// Its content.
    pub blob: BlobId,
    /// In bytes.
    pub size: u64,
    /// As recorded by git, or as on disk.
    pub mode: FileMode,
}

/// Names something that stands where a manifest could stand and cannot be read as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeFault {
    /// From the top of the repository; bytes that are not UTF-8 are shown as `\xNN`.
    pub path: Arc<str>,
    /// Why.
    pub cause: FaultCause,
}

/// Says why something in a listing cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultCause {
    /// A symbolic link that is named like a manifest.
    #[error("it is a symbolic link, which is not followed")]
    Symlink,
    /// Another repository.
    #[error(
        "it is another git repository, of which this one knows a commit at most: its manifests are not in here"
    )]
    OtherRepository,
    /// A device, a socket or a pipe; only on disk.
    #[error("it is not an ordinary file")]
    NotAFile,
    /// A name that is not text.
    #[error("its name is not UTF-8")]
    NameNotUtf8,
    /// A manifest that is larger than its limit.
    #[error("it has {size} bytes; a manifest has at most {limit}")]
    TooLarge {
        /// In bytes.
        size: u64,
        /// In bytes.
        limit: u64,
    },
    /// Too many manifests; those after the limit are not in the listing.
    #[error("there are more than {limit} manifests")]
    TooManyFiles {
        /// The limit.
        limit: usize,
    },
    /// The manifests are too much together; those after the limit are not in the listing.
    #[error("the manifests have more than {limit} bytes together")]
    TooManyBytes {
        /// In bytes.
        limit: u64,
    },
    /// Too many files and folders of any kind; those after the limit are not in the listing.
    #[error("there are more than {limit} files and folders")]
    TooManyEntries {
        /// The limit.
        limit: usize,
    },
    /// Folders within folders beyond the limit.
    #[error("it is more than {limit} folders deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// A `.kelsonignore` that cannot be used. What it would have left out is not known, so nothing
    /// of its folder is listed.
    #[error("it cannot be used, and nothing of its folder is read: {reason}")]
    BadIgnoreFile {
        /// Why.
        reason: &'static str,
        /// Begins at 1; 0 where the whole file is at fault.
        line: u32,
        /// Begins at 1, in characters; 0 where the whole file is at fault.
        column: u32,
    },
    /// Something on disk that the system did not let be read.
    #[error("it cannot be read: {reason}")]
    Unreadable {
        /// What the system says.
        reason: String,
    },
    /// More faults than are listed.
    #[error("there are more than {limit} faults; the others are not listed")]
    TooManyFaults {
        /// The limit.
        limit: usize,
    },
}

impl FaultCause {
    /// The line and column in the file, both from 1; 0 where no place in it is at fault.
    pub fn position(&self) -> (u32, u32) {
        match self {
            Self::BadIgnoreFile { line, column, .. } => (*line, *column),
            Self::Symlink
            | Self::OtherRepository
            | Self::NotAFile
            | Self::NameNotUtf8
            | Self::TooLarge { .. }
            | Self::TooManyFiles { .. }
            | Self::TooManyBytes { .. }
            | Self::TooManyEntries { .. }
            | Self::TooDeep { .. }
            | Self::Unreadable { .. }
            | Self::TooManyFaults { .. } => (0, 0),
        }
    }

    /// Says what a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Symlink => "commit the file itself, or name the link in .kelsonignore",
            Self::OtherRepository => {
                "a submodule, or a repository within this one: copy its manifests into this one, or name the folder in .kelsonignore"
            }
            Self::NotAFile => "remove it, or name it in .kelsonignore",
            Self::NameNotUtf8 => "rename it with UTF-8 text",
            Self::TooLarge { .. } => "split it, or name it in .kelsonignore if it is no manifest",
            Self::TooManyFiles { .. } | Self::TooManyBytes { .. } | Self::TooManyEntries { .. } => {
                "keep manifests in a folder of their own: kelson/, or the one that --path names"
            }
            Self::TooDeep { .. } => "move it up, or name a folder above it in .kelsonignore",
            Self::BadIgnoreFile { .. } => "it has the syntax of .gitignore, as UTF-8 text",
            Self::Unreadable { .. } => "mend its permissions, or name it in .kelsonignore",
            Self::TooManyFaults { .. } => "mend the listed ones first",
        }
    }
}

/// Lists the manifests of one commit or folder, with everything that is wrong with its files.
///
/// While [`faults`](Self::faults) is not empty, the listing may be short of objects that somebody
/// wants, so nothing may be pruned by it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The folder that holds the manifests, from the top of the repository; empty for the top
    /// itself.
    pub folder: Arc<str>,
    /// The manifests, ordered by path, each path once.
    pub files: Vec<TreeFile>,
    /// What cannot be read, ordered by path.
    pub faults: Vec<TreeFault>,
}

impl Listing {
    /// Finds a manifest by its path.
    pub fn file(&self, path: &str) -> Option<&TreeFile> {
        let at = self
            .files
            .binary_search_by(|file| (*file.path).cmp(path))
            .ok()?;
        self.files.get(at)
    }

    /// Orders a listing and cuts it at the limits that are about the whole, with a fault for each
    /// that was passed.
    pub(super) fn bounded(
        folder: &str,
        mut files: Vec<TreeFile>,
        mut faults: Vec<TreeFault>,
        limits: &Limits,
    ) -> Self {
        let place: Arc<str> = Arc::from(folder);
        files.sort_unstable();
        if files.len() > limits.files {
            files.truncate(limits.files);
            faults.push(TreeFault {
                path: Arc::clone(&place),
                cause: FaultCause::TooManyFiles {
                    limit: limits.files,
                },
            });
        }
        let mut total = 0_u64;
        let fitting = files
            .iter()
            .take_while(|file| {
                total = total.saturating_add(file.size);
                total <= limits.total_bytes
            })
            .count();
        if fitting < files.len() {
            files.truncate(fitting);
            let cause = FaultCause::TooManyBytes {
                limit: limits.total_bytes,
            };
            faults.push(TreeFault {
                path: Arc::clone(&place),
                cause,
            });
        }
        faults.sort_by(|a, b| a.path.cmp(&b.path));
        if faults.len() > limits.faults {
            faults.truncate(limits.faults);
            let cause = FaultCause::TooManyFaults {
                limit: limits.faults,
            };
            faults.push(TreeFault {
                path: Arc::clone(&place),
                cause,
            });
        }
        Self {
            folder: place,
            files,
            faults,
        }
    }
}

impl fmt::Debug for Listing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Listing")
            .field("folder", &self.folder)
            .field("files", &self.files.len())
            .field("faults", &self.faults)
            .finish()
    }
}

/// Holds a file that a manifest names.
#[derive(Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its content's name.
    pub blob: BlobId,
    /// Its mode.
    pub mode: FileMode,
    /// Its content.
    pub bytes: Bytes,
}

impl fmt::Debug for Artifact {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Artifact")
            .field("blob", &self.blob)
            .field("mode", &self.mode)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

/// Shows manifests and the files that they name, of one commit or of the working tree.
///
/// All methods block, on a disk.
pub trait ManifestSource: Send + Sync {
    /// Returns the commit, or nothing where files may change at any time.
    fn revision(&self) -> Option<Revision>;

    /// Lists the manifests.
    ///
    /// # Errors
    /// When the source as a whole cannot be read; what is wrong with one file is in the listing.
    fn files(&self) -> Result<Arc<Listing>, SourceError>;

    /// Reads a manifest of the listing.
    ///
    /// # Errors
    /// `NoSuchBlob` for a file that is not of this source's listing, and whatever the disk refuses.
    fn read(&self, file: &TreeFile) -> Result<Bytes, SourceError>;

    /// Reads any file, by its path from the top of the repository; `.` and `..` are resolved, and
    /// cannot leave it.
    ///
    /// # Errors
    /// `BadPath`, `NoSuchPath`, `NotAFile`, `TooLarge`, `LfsPointer`, and whatever the disk
    /// refuses.
    fn read_at(&self, path: &str) -> Result<Artifact, SourceError>;

    /// Names the contents of files without reading them, in the order of the question; `None` where
    /// that cannot be told so, and [`read_at`](Self::read_at) says why.
    ///
    /// # Errors
    /// When the source as a whole cannot be read.
    fn blob_ids(&self, paths: &[&str]) -> Result<Vec<Option<BlobId>>, SourceError> {
        Ok(vec![None; paths.len()])
    }
}

/// Shows a name that is not text.
pub(super) fn shown(name: &[u8]) -> String {
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Tells whether a content is what git-lfs leaves in place of a file.
pub(super) fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.len() <= 1024 && bytes.starts_with(b"version https://git-lfs.github.com/spec/")
}
