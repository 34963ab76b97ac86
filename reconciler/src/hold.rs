//! Holds: why the newest revision is not applied although nothing in it is at fault.

use std::path::Path;

use kelson_model::id::Revision;
use kelson_model::source::Held;

fn held(reason: &str, message: String, confirm: Option<String>) -> Held {
    Held {
        reason: reason.to_owned(),
        confirm,
        message,
        objects: Vec::new(),
    }
}

/// The branch has no commit yet.
pub(crate) fn unborn(branch: &str) -> Held {
    held(
        "Unborn",
        format!("the branch {branch} has no commit yet; the first one is applied"),
        None,
    )
}

/// The branch was there and is not there now.
pub(crate) fn branch_missing(branch: &str) -> Held {
    held(
        "BranchMissing",
        format!("the branch {branch} is not there; what was applied stays until it is back"),
        None,
    )
}

/// The repository was there and is not there now.
pub(crate) fn repository_missing(path: &Path) -> Held {
    held(
        "RepositoryMissing",
        format!(
            "the repository {} is not there; what was applied stays until it is back",
            path.display()
        ),
        None,
    )
}

/// The branch does not go on from what is applied.
pub(crate) fn force_push(applied: &Revision, newest: &Revision) -> Held {
    held(
        "ForcePush",
        format!(
            "history was rewritten: {} does not come after {}, which is applied",
            newest.short(),
            applied.short()
        ),
        Some(format!("kelson confirm {newest}")),
    )
}

/// The folder that `--path` names is not in the revision: that is no wish to have nothing.
pub(crate) fn no_folder(message: String) -> Held {
    held("EmptyTree", message, None)
}
