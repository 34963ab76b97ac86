//! Finding commits and their trees, and what people call them.

use git2::{ErrorCode, Oid, Repository};
use kelson_model::id::{ParseIdError, Revision};

use super::error::{SourceError, commit_place};
use super::object_id::oid_of;

/// Most bytes of a text that names a commit.
pub(super) const SPEC_BYTES: usize = 1024;

/// The first line of a commit's message is cut here, in characters.
const SUMMARY_CHARS: usize = 200;

/// Cuts what a person wrote, for an error or a report.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(SUMMARY_CHARS).collect()
}

/// Returns the revision that git names.
pub(super) fn revision_of(oid: Oid) -> Result<Revision, SourceError> {
    let damaged = |cause: ParseIdError| SourceError::Damaged {
        what: format!("commit {oid}"),
        detail: cause.to_string(),
    };
    oid.to_string().parse().map_err(damaged)
}

pub(super) fn find_commit<'r>(
    repository: &'r Repository,
    revision: &Revision,
) -> Result<git2::Commit<'r>, SourceError> {
    oid_of(revision)
        .and_then(|oid| repository.find_commit(oid))
        .map_err(|cause| match cause.code() {
            ErrorCode::NotFound => SourceError::NoSuchRevision {
                spec: revision.to_string(),
            },
            _ => SourceError::damaged(commit_place(revision))(cause),
        })
}

pub(super) fn tree_of<'r>(
    repository: &'r Repository,
    revision: &Revision,
) -> Result<git2::Tree<'r>, SourceError> {
    let commit = find_commit(repository, revision)?;
    commit.tree().map_err(SourceError::damaged(format!(
        "the files of commit {revision}"
    )))
}
