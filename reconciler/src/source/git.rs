//! A branch of a local repository, read from its object database.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use git2::{ErrorCode, ObjectType, Repository};
use kelson_model::id::Revision;

use super::commits::{SPEC_BYTES, revision_of, shortened, tree_of};
use super::error::{SourceError, commit_place};
use super::limits::Limits;
use super::listing::{Artifact, Listing, ManifestSource, TreeFile};
use super::object_id::BlobId;
use super::path::normalised;
use super::repository::{Identity, discover, identity, is_there, reopen};
use super::selection::USUAL_FOLDER;
use super::tree::{TreeCache, list};
use super::watch::WatchPaths;

const BRANCHES: &str = "refs/heads/";

/// Says what a branch has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tip {
    /// The branch is checked out and has no commit yet: wait.
    Unborn,
    /// The branch is not there: deleted, or never made. Never a wish to have nothing; hold.
    Missing,
    /// This commit.
    Commit(Revision),
}

/// Reads one branch of one local repository.
///
/// *Guarantees.* It looks at references and objects only, never at the working tree (but for
/// [`uncommitted`](Self::uncommitted)). The branch is fixed when it is opened; checking out another
/// one changes nothing. A repository that is deleted is [`SourceError::Gone`] until there is one at
/// the same path again, which is then followed.
///
/// *Assumes.* Callers that may not block use `spawn_blocking`. Calls take turns.
pub struct GitSource {
    git_dir: PathBuf,
    common_dir: PathBuf,
    work_dir: Option<PathBuf>,
    /// With `refs/heads/`.
    reference: String,
    /// What `--path` said.
    subpath: Option<String>,
    limits: Limits,
    state: Mutex<State>,
}

struct State {
    open: Option<(Identity, Repository)>,
    cache: TreeCache,
    /// The branch has had a commit since this source was opened.
    seen: bool,
}

impl GitSource {
    /// Opens the repository that holds `path` and follows `branch`, or the one that is checked out
    /// (which may have no commit yet). `subpath` is the folder of the manifests, from the top of
    /// the repository.
    ///
    /// # Errors
    /// `NotFound`, `NotOwned`, `Unsupported`, `DetachedHead`, `BadBranch`, `BadPath`. A branch that
    /// is not there is no error but [`Tip::Missing`].
    pub fn open(
        path: &Path,
        branch: Option<&str>,
        subpath: Option<&str>,
    ) -> Result<Self, SourceError> {
        Self::open_with(path, branch, subpath, Limits::default())
    }

    /// Opens a repository with other limits; see [`open`](Self::open).
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_with(
        path: &Path,
        branch: Option<&str>,
        subpath: Option<&str>,
        limits: Limits,
    ) -> Result<Self, SourceError> {
        let repository = discover(path)?;
        let reference = match branch {
            Some(name) => reference_of(name)?,
            None => checked_out(&repository)?,
        };
        let subpath = subpath.map(normalised).transpose()?;
        let git_dir = repository.path().to_owned();
        let open = identity(&git_dir).map(|identity| (identity, repository));
        let (common_dir, work_dir) = match &open {
            Some((_, repository)) => (
                repository.commondir().to_owned(),
                repository.workdir().map(Path::to_owned),
            ),
            None => return Err(SourceError::Gone { path: git_dir }),
        };
        let state = Mutex::new(State {
            open,
            cache: TreeCache::default(),
            seen: false,
        });
        Ok(Self {
            git_dir,
            common_dir,
            work_dir,
            reference,
            subpath,
            limits,
            state,
        })
    }

    /// Returns the branch's name, without `refs/heads/`.
    pub fn branch(&self) -> &str {
        self.reference
            .strip_prefix(BRANCHES)
            .unwrap_or(&self.reference)
    }

    /// Returns what a person calls the repository's path: its work tree, or itself if it is bare.
    pub fn path(&self) -> &Path {
        self.work_dir.as_deref().unwrap_or(&self.git_dir)
    }

    /// Returns the folder that all work trees of the repository share: what makes it one.
    pub fn common_dir(&self) -> &Path {
        &self.common_dir
    }

    /// Returns the top of the work tree; a bare repository has none.
    pub fn work_dir(&self) -> Option<&Path> {
        self.work_dir.as_deref()
    }

    /// Returns the limits that this source was opened with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns what `--path` said, in its one form.
    pub fn subpath(&self) -> Option<&str> {
        self.subpath.as_deref()
    }

    /// Returns what a [`RefWatcher`](super::RefWatcher) of this source has to watch.
    pub fn watch_paths(&self) -> WatchPaths {
        WatchPaths {
            git_dir: self.git_dir.clone(),
            common_dir: self.common_dir.clone(),
        }
    }

    /// Returns what the branch has now.
    ///
    /// # Errors
    /// `Gone` while the repository is not there, `Damaged` when the branch names what cannot be
    /// read.
    pub fn tip(&self) -> Result<Tip, SourceError> {
        let mut state = self.state();
        if let Some(found) = self.with(&mut state, |repository, _| {
            self.commit_of_branch(repository)
        })? {
            state.seen = true;
            return Ok(Tip::Commit(found));
        }
        // A missing branch stops things, so it is looked for once more with nothing remembered.
        state.open = None;
        let seen = state.seen;
        let (found, unborn) = self.with(&mut state, |repository, _| {
            let found = self.commit_of_branch(repository)?;
            Ok((
                found,
                !seen && checked_out(repository).is_ok_and(|head| head == self.reference),
            ))
        })?;
        state.seen |= found.is_some();
        Ok(match found {
            Some(revision) => Tip::Commit(revision),
            None if unborn => Tip::Unborn,
            None => Tip::Missing,
        })
    }

    /// Lists the manifests of a commit.
    ///
    /// It costs what has changed since the listing before; the same commit again costs nothing.
    ///
    /// # Errors
    /// `NoManifestFolder` if `--path` names what the commit does not have, `NoSuchRevision`,
    /// `Damaged`, `Gone`.
    pub fn tree(&self, revision: &Revision) -> Result<Arc<Listing>, SourceError> {
        let mut state = self.state();
        self.with(&mut state, |repository, cache| {
            let tree = tree_of(repository, revision)?;
            let usual = || {
                tree.get_name(USUAL_FOLDER)
                    .is_some_and(|entry| entry.kind() == Some(ObjectType::Tree))
            };
            let folder = match &self.subpath {
                Some(path) => path.as_str(),
                None if usual() => USUAL_FOLDER,
                None => "",
            };
            list(repository, cache, &self.limits, &tree, folder).map_err(|error| match error {
                SourceError::NoManifestFolder { path, .. } => SourceError::NoManifestFolder {
                    path,
                    place: commit_place(revision),
                },
                other => other,
            })
        })
    }

    /// Shows one commit as a source of manifests.
    pub fn at(self: &Arc<Self>, revision: Revision) -> CommitFiles {
        CommitFiles {
            source: Arc::clone(self),
            revision,
        }
    }

    /// Gives the repository to a reader of this room.
    pub(super) fn read<T>(
        &self,
        ask: impl FnOnce(&Repository) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let mut state = self.state();
        self.with(&mut state, |repository, _| ask(repository))
    }

    /// Tells whether the branch that is followed is the one that is checked out.
    pub(super) fn is_checked_out(&self, repository: &Repository) -> bool {
        checked_out(repository).is_ok_and(|head| head == self.reference)
    }

    /// Folders and sizes that are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> (usize, usize) {
        self.state().cache.remembered()
    }

    #[cfg(test)]
    pub(super) fn trees_read(&self) -> u64 {
        self.state().cache.trees_read
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the repository that is there now, opening it again if it is another one than before.
    fn with<T>(
        &self,
        state: &mut State,
        ask: impl FnOnce(&Repository, &mut TreeCache) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let gone = || SourceError::Gone {
            path: self.git_dir.clone(),
        };
        let now = identity(&self.git_dir).filter(|_| is_there(&self.git_dir));
        let known = state.open.as_ref().map(|(identity, _)| *identity);
        match now {
            None => {
                state.open = None;
                return Err(gone());
            }
            Some(now) if known != Some(now) => {
                state.open = None;
                state.cache = TreeCache::default();
                state.open = Some((now, reopen(&self.git_dir)?));
            }
            Some(_) => {}
        }
        let Some((_, repository)) = &state.open else {
            return Err(gone());
        };
        let answer = ask(repository, &mut state.cache);
        if answer.is_err() && !is_there(&self.git_dir) {
            state.open = None;
            return Err(gone());
        }
        answer
    }

    fn commit_of_branch(&self, repository: &Repository) -> Result<Option<Revision>, SourceError> {
        let damaged = || SourceError::damaged(format!("the branch `{}`", self.branch()));
        match repository.find_reference(&self.reference) {
            Ok(found) => {
                let commit = found.peel(ObjectType::Commit).map_err(damaged())?;
                revision_of(commit.id()).map(Some)
            }
            Err(cause) if cause.code() == ErrorCode::NotFound => Ok(None),
            Err(cause) => Err(damaged()(cause)),
        }
    }
}

impl std::fmt::Debug for GitSource {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("GitSource")
            .field("git_dir", &self.git_dir)
            .field("reference", &self.reference)
            .finish()
    }
}

/// Shows one commit of a [`GitSource`].
#[derive(Debug, Clone)]
pub struct CommitFiles {
    source: Arc<GitSource>,
    revision: Revision,
}

impl ManifestSource for CommitFiles {
    fn revision(&self) -> Option<Revision> {
        Some(self.revision.clone())
    }

    fn files(&self) -> Result<Arc<Listing>, SourceError> {
        self.source.tree(&self.revision)
    }

    fn read(&self, file: &TreeFile) -> Result<Bytes, SourceError> {
        self.source.blob(file.blob)
    }

    fn read_at(&self, path: &str) -> Result<Artifact, SourceError> {
        self.source.blob_at(&self.revision, path)
    }

    fn blob_ids(&self, paths: &[&str]) -> Result<Vec<Option<BlobId>>, SourceError> {
        self.source.blob_ids(&self.revision, paths)
    }
}

/// Completes the name of a branch.
fn reference_of(name: &str) -> Result<String, SourceError> {
    let reference = format!("{BRANCHES}{}", name.strip_prefix(BRANCHES).unwrap_or(name));
    if name.len() <= SPEC_BYTES && git2::Reference::is_valid_name(&reference) {
        Ok(reference)
    } else {
        Err(SourceError::BadBranch {
            name: shortened(name),
        })
    }
}

/// Returns the branch that HEAD names, whether or not it has a commit.
fn checked_out(repository: &Repository) -> Result<String, SourceError> {
    let head = repository
        .find_reference("HEAD")
        .map_err(SourceError::git("to read HEAD"))?;
    let detached = |head: String| SourceError::DetachedHead {
        path: repository
            .workdir()
            .unwrap_or_else(|| repository.path())
            .to_owned(),
        head,
    };
    match head.symbolic_target_bytes() {
        Some(target) => match std::str::from_utf8(target) {
            Ok(name) if name.starts_with(BRANCHES) => Ok(name.to_owned()),
            _ => Err(detached(shortened(&String::from_utf8_lossy(target)))),
        },
        None => Err(detached(
            head.target().map(|oid| oid.to_string()).unwrap_or_default(),
        )),
    }
}
