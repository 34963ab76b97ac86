//! Holds without a revision to speak of: why there is nothing to apply although nothing is at
//! fault. What a revision itself is held for is in its plan.

use std::path::Path;

use kelson_model::reason::HoldReason;
use kelson_model::source::Held;

fn held(reason: HoldReason, message: String) -> Held {
    Held {
        reason,
        message,
        ..Held::default()
    }
}

/// The branch has no commit yet.
pub(crate) fn unborn(branch: &str) -> Held {
    held(
        HoldReason::Unborn,
        format!("the branch {branch} has no commit yet; the first one is applied"),
    )
}

/// The branch was there and is not there now.
pub(crate) fn branch_missing(branch: &str) -> Held {
    held(
        HoldReason::BranchMissing,
        format!("the branch {branch} is not there; what was applied stays until it is back"),
    )
}

/// The repository was there and is not there now.
pub(crate) fn repository_missing(path: &Path) -> Held {
    held(
        HoldReason::RepositoryMissing,
        format!(
            "the repository {} is not there; what was applied stays until it is back",
            path.display()
        ),
    )
}

/// The folder that `--path` names is not in the revision: that is no wish to have nothing.
pub(crate) fn no_folder(message: String) -> Held {
    held(HoldReason::EmptyTree, message)
}
