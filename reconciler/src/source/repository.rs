//! A handle on a repository that may go away and come back.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use git2::{ErrorCode, Repository, RepositoryOpenFlags};

use super::error::SourceError;

/// Tells one folder from another that was made later at the same path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    /// File systems reuse inode numbers at once, so the birth time decides, where there is one.
    born: Option<SystemTime>,
}

/// Returns who is at a path, or nothing where nobody is.
pub(super) fn identity(path: &Path) -> Option<Identity> {
    let found = std::fs::metadata(path).ok()?;
    Some(Identity {
        device: found.dev(),
        inode: found.ino(),
        born: found.created().ok(),
    })
}

/// Opens the repository that holds a path: a work tree, a folder in it, a linked work tree, or a
/// bare repository.
pub(super) fn discover(path: &Path) -> Result<Repository, SourceError> {
    let none: [&Path; 0] = [];
    Repository::open_ext(path, RepositoryOpenFlags::empty(), none)
        .map_err(|cause| open_error(path, &cause))
}

/// Opens exactly this repository and never one above it.
pub(super) fn reopen(git_dir: &Path) -> Result<Repository, SourceError> {
    if !is_there(git_dir) {
        return Err(SourceError::Gone {
            path: git_dir.to_owned(),
        });
    }
    let none: [&Path; 0] = [];
    Repository::open_ext(git_dir, RepositoryOpenFlags::NO_SEARCH, none).map_err(|cause| {
        if cause.code() == ErrorCode::NotFound {
            SourceError::Gone {
                path: git_dir.to_owned(),
            }
        } else {
            open_error(git_dir, &cause)
        }
    })
}

/// Tells whether there is a repository, by what every one has.
pub(super) fn is_there(git_dir: &Path) -> bool {
    git_dir.join("HEAD").symlink_metadata().is_ok()
}

fn open_error(path: &Path, cause: &git2::Error) -> SourceError {
    let detail = cause.message();
    match cause.code() {
        ErrorCode::NotFound => SourceError::NotFound {
            path: path.to_owned(),
        },
        ErrorCode::Owner => SourceError::NotOwned {
            path: owned_path(path, detail),
        },
        _ if detail.contains("unsupported") || detail.contains("repositoryformatversion") => {
            SourceError::Unsupported {
                path: path.to_owned(),
                reason: detail.to_owned(),
            }
        }
        _ => SourceError::Git {
            doing: "to open the repository",
            detail: detail.to_owned(),
        },
    }
}

/// Finds the folder that `safe.directory` has to name: the one that git complains about, which may
/// be above `path`.
fn owned_path(path: &Path, detail: &str) -> PathBuf {
    let named = detail
        .split('\'')
        .nth(1)
        .map(|text| text.trim_end_matches('/'))
        .filter(|text| !text.is_empty());
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    named.map_or(path, PathBuf::from)
}
