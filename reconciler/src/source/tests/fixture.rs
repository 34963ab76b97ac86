//! A repository in a temporary folder, worked on as a person would.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use kelson_model::id::Revision;
use tempfile::TempDir;

use crate::source::{GitSource, Limits, Listing, Tip};

pub(crate) struct Repository {
    _folder: Option<TempDir>,
    pub(crate) path: PathBuf,
}

impl Repository {
    /// An empty repository whose branch `main` has no commit yet.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("repository");
        let repository = Self {
            _folder: Some(folder),
            path,
        };
        repository.init();
        repository
    }

    /// The repository at a path, which belongs to somebody else.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self {
            _folder: None,
            path,
        }
    }

    /// A repository with one commit of these files.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let repository = Self::new();
        repository.commit(files);
        repository
    }

    pub(crate) fn init(&self) {
        std::fs::create_dir_all(&self.path).unwrap();
        self.git(["init", "--quiet", "--initial-branch=main"]);
    }

    pub(crate) fn git<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        git_in(&self.path, arguments)
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Commits everything that is in the work tree, after writing these files.
    pub(crate) fn commit(&self, files: &[(&str, &str)]) -> Revision {
        for (path, content) in files {
            self.write(path, content);
        }
        self.git(["add", "--all"]);
        self.git(["commit", "--quiet", "--allow-empty", "--message", "change"]);
        self.head()
    }

    pub(crate) fn head(&self) -> Revision {
        self.git(["rev-parse", "HEAD"]).parse().unwrap()
    }

    pub(crate) fn open(&self) -> Arc<GitSource> {
        Arc::new(GitSource::open(&self.path, None, None).unwrap())
    }

    pub(crate) fn open_with(&self, limits: Limits) -> GitSource {
        GitSource::open_with(&self.path, None, None, limits).unwrap()
    }
}

pub(crate) fn git_in<S: AsRef<OsStr>>(
    path: &Path,
    arguments: impl IntoIterator<Item = S>,
) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new("git")
        .arg("-C")
        .arg(path)
        .args(arguments)
        .env_remove("GIT_DIR")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "Ada")
        .env("GIT_AUTHOR_EMAIL", "ada@example.org")
        .env("GIT_COMMITTER_NAME", "Ada")
        .env("GIT_COMMITTER_EMAIL", "ada@example.org")
        .output()
        .unwrap();
    assert!(
        status.success(),
        "git: {}",
        String::from_utf8_lossy(&stderr)
    );
    String::from_utf8_lossy(&stdout)
        .trim_end_matches('\n')
        .to_owned()
}

pub(crate) fn commit_of(tip: Tip) -> Revision {
    match tip {
        Tip::Commit(revision) => revision,
        other => panic!("a commit was expected, not {other:?}"),
    }
}

/// The manifests at the branch's tip.
pub(crate) fn at_tip(source: &GitSource) -> Arc<Listing> {
    source.tree(&commit_of(source.tip().unwrap())).unwrap()
}

pub(crate) fn paths(listing: &Listing) -> Vec<&str> {
    listing.files.iter().map(|file| &*file.path).collect()
}

pub(crate) fn faults(listing: &Listing) -> Vec<(&str, String)> {
    listing
        .faults
        .iter()
        .map(|fault| (&*fault.path, fault.cause.to_string()))
        .collect()
}
