//! What can go wrong with a source as a whole. What is wrong with one file is a
//! [`TreeFault`](super::TreeFault).

use std::path::{Path, PathBuf};

use kelson_model::id::Revision;

use super::object_id::BlobId;

/// Says why a source could not be read.
///
/// A caller can tell apart what a person has to mend before anything works (`NotFound`, `NotOwned`,
/// `DetachedHead`, `Unsupported`, ...), what may pass by itself (`Gone`, `Damaged`, `Io`), and what
/// is wrong with a question (`NoSuchRevision`, `NoSuchPath`, `TooLarge`, ...).
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no repository at a path or in any folder above it.
    #[error("no git repository at `{}` or in any folder above it; `git init` makes one", path.display())]
    NotFound {
        /// Where the search started.
        path: PathBuf,
    },
    /// The repository was there when the source was opened and is not there now. It may come back.
    #[error("the git repository `{}` is gone", path.display())]
    Gone {
        /// The repository's git directory.
        path: PathBuf,
    },
    /// The repository belongs to another user, and git refuses to trust it.
    #[error(
        "the git repository `{}` belongs to another user; if you trust it: git config --global --add safe.directory {}",
        path.display(), quoted(path)
    )]
    NotOwned {
        /// What `safe.directory` has to name.
        path: PathBuf,
    },
    /// The repository is of a form that cannot be read here, such as one with reftables or SHA-256
    /// ids.
    #[error("the git repository `{}` has a format that kelson cannot read: {reason}", path.display())]
    Unsupported {
        /// The repository.
        path: PathBuf,
        /// What is not understood.
        reason: String,
    },
    /// No branch was asked for and none is checked out.
    #[error(
        "`{}` has no branch checked out (HEAD is detached at {head}); name the branch to follow with --branch",
        path.display()
    )]
    DetachedHead {
        /// The repository.
        path: PathBuf,
        /// What HEAD is instead of a branch.
        head: String,
    },
    /// A text that cannot be the name of a branch.
    #[error("`{name}` is not a name of a branch")]
    BadBranch {
        /// The text.
        name: String,
    },
    /// A text that names no commit of this repository.
    #[error("`{spec}` names no commit in this repository")]
    NoSuchRevision {
        /// The text.
        spec: String,
    },
    /// A text that names more than one object.
    #[error("`{spec}` is ambiguous in this repository; give more digits of the commit")]
    AmbiguousRevision {
        /// The text.
        spec: String,
    },
    /// The folder that was asked for by `--path` is not there. A caller holds: it is not an empty
    /// wish.
    #[error("there is no folder `{path}` in {place}")]
    NoManifestFolder {
        /// The folder, from the top of the repository.
        path: String,
        /// The commit or work tree.
        place: String,
    },
    /// A file that something names is not there.
    #[error("there is no file `{path}` in {place}")]
    NoSuchPath {
        /// The file, from the top of the repository.
        path: String,
        /// The commit or work tree.
        place: String,
    },
    /// A content that is not in this repository.
    #[error("there is no file content {id} in this repository")]
    NoSuchBlob {
        /// The content.
        id: BlobId,
    },
    /// A path that does not lead to a file.
    #[error("`{path}` is {found}, not a file")]
    NotAFile {
        /// The path, from the top of the repository.
        path: String,
        /// What is there, with its article: "a folder", "a symbolic link".
        found: &'static str,
    },
    /// A file that is larger than its limit.
    #[error("`{path}` has {size} bytes; at most {limit} are allowed")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A file whose content is elsewhere.
    #[error(
        "`{path}` is a pointer of git-lfs, whose content is not in the repository; commit the file itself"
    )]
    LfsPointer {
        /// The file.
        path: String,
    },
    /// A text that cannot be a path within a repository.
    #[error("`{path}` is not a path within the repository: {reason}")]
    BadPath {
        /// The text.
        path: String,
        /// Why.
        reason: &'static str,
    },
    /// A commit names objects that cannot be read: the repository is damaged, shallow or partial.
    #[error("{what} cannot be read: {detail}")]
    Damaged {
        /// The object.
        what: String,
        /// What git says.
        detail: String,
    },
    /// The file system refused.
    #[error("`{}` cannot be read", path.display())]
    Io {
        /// What was being read.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
    /// Git refused for a reason that no other variant names.
    #[error("git failed {doing}: {detail}")]
    Git {
        /// What was being done, after "failed".
        doing: &'static str,
        /// What git says.
        detail: String,
    },
}

impl SourceError {
    /// Tells whether the same question may be answered later without anybody mending anything.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Gone { .. } | Self::Damaged { .. } | Self::Io { .. } | Self::Git { .. } => true,
            Self::NotFound { .. }
            | Self::NotOwned { .. }
            | Self::Unsupported { .. }
            | Self::DetachedHead { .. }
            | Self::BadBranch { .. }
            | Self::NoSuchRevision { .. }
            | Self::AmbiguousRevision { .. }
            | Self::NoManifestFolder { .. }
            | Self::NoSuchPath { .. }
            | Self::NoSuchBlob { .. }
            | Self::NotAFile { .. }
            | Self::TooLarge { .. }
            | Self::LfsPointer { .. }
            | Self::BadPath { .. } => false,
        }
    }

    pub(super) fn git(doing: &'static str) -> impl FnOnce(git2::Error) -> Self {
        move |cause| Self::Git {
            doing,
            detail: cause.message().to_owned(),
        }
    }

    pub(super) fn damaged(what: impl Into<String>) -> impl FnOnce(git2::Error) -> Self {
        move |cause| Self::Damaged {
            what: what.into(),
            detail: cause.message().to_owned(),
        }
    }

    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { path, cause }
    }
}

/// Names a commit in an error.
pub(super) fn commit_place(revision: &Revision) -> String {
    format!("commit {revision}")
}

/// Makes a path safe to paste into a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@,".contains(&byte);
    if text.bytes().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cure_for_a_foreign_repository_can_be_pasted() {
        let plain = SourceError::NotOwned {
            path: PathBuf::from("/srv/a.git/"),
        };
        assert!(
            plain.to_string().ends_with("safe.directory /srv/a.git/"),
            "{plain}"
        );
        let spaced = SourceError::NotOwned {
            path: PathBuf::from("/srv/it's here"),
        };
        assert!(
            spaced
                .to_string()
                .ends_with(r"safe.directory '/srv/it'\''s here'"),
            "{spaced}"
        );
    }
}
