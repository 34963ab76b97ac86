//! Manifests that somebody has edited and not committed: what `dev` mentions, once.

use std::path::Path;

use git2::{Status, StatusOptions};

use super::error::SourceError;
use super::git::GitSource;
use super::path::{below, folders_down_to};
use super::selection::{is_manifest_name, is_skipped_folder};
use super::work_tree::WorkTree;

/// More paths than that are not listed.
const LISTED: usize = 1_000;

/// Says what happened to a file since the last commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is not in the commit.
    Added,
    /// It is not what it is in the commit.
    Modified,
    /// It is in the commit only.
    Deleted,
}

/// Names a manifest of the working tree that differs from the commit that is checked out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uncommitted {
    /// From the top of the repository.
    pub path: String,
    /// What happened to it.
    pub change: Change,
}

impl GitSource {
    /// Lists the manifests whose state in the working tree or the index is not committed, ordered
    /// by path, at most 1,000. A bare repository has none; neither has a work tree that has another
    /// branch checked out.
    ///
    /// This is the one look at the working tree; nothing that runs depends on it.
    ///
    /// # Errors
    /// `Gone`, `Git`, and those of [`WorkTree::open`].
    pub fn uncommitted(&self) -> Result<Vec<Uncommitted>, SourceError> {
        let Some(top) = self.work_dir() else {
            return Ok(Vec::new());
        };
        let changed = self.read(|repository| {
            if !self.is_checked_out(repository) {
                return Ok(Vec::new());
            }
            let mut options = StatusOptions::new();
            options
                .include_untracked(true)
                .recurse_untracked_dirs(true)
                .exclude_submodules(true);
            if let Some(folder) = self.subpath().filter(|folder| !folder.is_empty()) {
                options.disable_pathspec_match(true).pathspec(folder);
            }
            let statuses = repository
                .statuses(Some(&mut options))
                .map_err(SourceError::git("to compare the work tree"))?;
            let manifests = statuses.iter().filter(|entry| {
                entry
                    .path_bytes()
                    .rsplit(|byte| *byte == b'/')
                    .next()
                    .is_some_and(is_manifest_name)
            });
            let named = manifests
                .filter_map(|entry| Some((entry.path().ok()?.to_owned(), change(entry.status())?)));
            Ok(named.collect::<Vec<_>>())
        })?;
        if changed.is_empty() {
            return Ok(Vec::new());
        }
        let tree = WorkTree::open_with(top, self.subpath(), *self.limits())?;
        let mut listed: Vec<_> = changed
            .into_iter()
            .filter(|(path, _)| is_selected(&tree, path))
            .map(|(path, change)| Uncommitted { path, change })
            .collect();
        listed.sort_unstable();
        listed.truncate(LISTED);
        Ok(listed)
    }
}

fn change(status: Status) -> Option<Change> {
    if status.intersects(Status::WT_DELETED) {
        Some(Change::Deleted)
    } else if status.intersects(Status::WT_NEW | Status::INDEX_NEW) {
        Some(Change::Added)
    } else if status.intersects(Status::INDEX_DELETED) {
        Some(Change::Deleted)
    } else if status.is_empty() || status.is_ignored() {
        None
    } else {
        Some(Change::Modified)
    }
}

/// Applies the rule of selection to one path of the work tree, which may be gone.
fn is_selected(tree: &WorkTree, path: &str) -> bool {
    let Some(inner) = below(path, tree.folder()) else {
        return false;
    };
    let Some((folders, _)) = inner.rsplit_once('/') else {
        return !ignored_below(tree, path);
    };
    !folders
        .split('/')
        .any(|name| is_skipped_folder(name.as_bytes()))
        && !ignored_below(tree, path)
}

fn ignored_below(tree: &WorkTree, path: &str) -> bool {
    let mut faults = Vec::new();
    let parent = Path::new(path)
        .parent()
        .and_then(Path::to_str)
        .unwrap_or_default();
    let Some(mut above) = tree.stack_down_to("", &mut faults) else {
        return true;
    };
    for folder in folders_down_to(parent).skip(1) {
        let chosen = below(folder, tree.folder()).is_none();
        if !chosen && above.ignores(folder, true) {
            return true;
        }
        match tree.stack_down_to(folder, &mut faults) {
            Some(stack) => above = stack,
            None => return true,
        }
    }
    above.ignores(path, false)
}
