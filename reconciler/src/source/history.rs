//! Commits: how they stand to each other, who made them, and what people call them.

use git2::{BranchType, ErrorCode, ObjectType};
use kelson_model::id::Revision;

use super::commits::{SPEC_BYTES, find_commit, revision_of, shortened};
use super::error::SourceError;
use super::git::GitSource;
use super::object_id::oid_of;

/// Describes a commit to people. Names come from whoever made it; nothing here is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    /// The commit.
    pub revision: Revision,
    /// The author's name.
    pub author: String,
    /// The author's mail address.
    pub email: String,
    /// The first line of the message, at most 200 characters.
    pub summary: String,
    /// When it was committed: seconds since 1970-01-01 UTC, by the clock of whoever committed.
    pub time: i64,
    /// Its parents.
    pub parents: Vec<Revision>,
}

impl GitSource {
    /// Tells whether one commit is another or comes before it: whether going from `older` to
    /// `newer` is a fast-forward.
    ///
    /// A commit that the repository no longer has comes before nothing.
    ///
    /// # Errors
    /// `Damaged`, `Gone`.
    pub fn is_ancestor(&self, older: &Revision, newer: &Revision) -> Result<bool, SourceError> {
        self.read(|repository| {
            let what = || SourceError::damaged(format!("the history of commit {newer}"));
            let (old, new) = (
                oid_of(older).map_err(what())?,
                oid_of(newer).map_err(what())?,
            );
            if old == new {
                return Ok(true);
            }
            if repository.find_commit(old).is_err() {
                return Ok(false);
            }
            repository.graph_descendant_of(new, old).map_err(what())
        })
    }

    /// Names the local branches that a commit is on, at most a few of them.
    ///
    /// # Errors
    /// `Damaged`, `Gone`.
    pub fn branches_with(&self, revision: &Revision) -> Result<Vec<String>, SourceError> {
        const MOST: usize = 3;
        self.read(|repository| {
            let what = || SourceError::damaged(format!("the branches with commit {revision}"));
            let wanted = oid_of(revision).map_err(what())?;
            let mut names = Vec::new();
            if repository.find_commit(wanted).is_err() {
                return Ok(names);
            }
            for branch in repository
                .branches(Some(BranchType::Local))
                .map_err(what())?
            {
                let (branch, _) = branch.map_err(what())?;
                let Some(tip) = branch.get().target() else {
                    continue;
                };
                if tip != wanted
                    && !repository
                        .graph_descendant_of(tip, wanted)
                        .map_err(what())?
                {
                    continue;
                }
                names.extend(branch.name().ok().flatten().map(str::to_owned));
                if names.len() >= MOST {
                    break;
                }
            }
            Ok(names)
        })
    }

    /// Describes a commit.
    ///
    /// # Errors
    /// `NoSuchRevision`, `Damaged`, `Gone`.
    pub fn commit(&self, revision: &Revision) -> Result<CommitInfo, SourceError> {
        self.read(|repository| {
            let commit = find_commit(repository, revision)?;
            let author = commit.author();
            let message = String::from_utf8_lossy(commit.message_bytes());
            let summary = message.trim_start().lines().next().unwrap_or_default();
            Ok(CommitInfo {
                revision: revision.clone(),
                author: shortened(&String::from_utf8_lossy(author.name_bytes())),
                email: shortened(&String::from_utf8_lossy(author.email_bytes())),
                summary: shortened(summary),
                time: commit.time().seconds(),
                parents: commit
                    .parent_ids()
                    .map(revision_of)
                    .collect::<Result<_, _>>()?,
            })
        })
    }

    /// Finds the commit that a person means: a branch, a tag, `HEAD`, `HEAD~2`, some first digits
    /// of a commit.
    ///
    /// # Errors
    /// `NoSuchRevision`, also for `HEAD` of a repository without commits; `AmbiguousRevision`,
    /// `Gone`.
    pub fn resolve(&self, spec: &str) -> Result<Revision, SourceError> {
        let no_such = || SourceError::NoSuchRevision {
            spec: shortened(spec),
        };
        if spec.is_empty() || spec.len() > SPEC_BYTES {
            return Err(no_such());
        }
        self.read(|repository| {
            let found = repository
                .revparse_single(spec)
                .and_then(|object| object.peel(ObjectType::Commit));
            match found {
                Ok(commit) => revision_of(commit.id()),
                Err(cause) if cause.code() == ErrorCode::Ambiguous => {
                    Err(SourceError::AmbiguousRevision {
                        spec: shortened(spec),
                    })
                }
                Err(_) => Err(no_such()),
            }
        })
    }
}
