//! Which cgroups this agent and its predecessors on the same data have used: an agent that is
//! started from another group makes its groups elsewhere, and must still find the old ones.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::group::Group;
use crate::record::{RECORD_VERSION, read_record, write_record};

const FILE: &str = "cgroups.json";
/// Most parents that are remembered; the oldest go first.
const MOST: usize = 64;

/// `cgroups.json`: the parents of all groups of this agent's tasks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KnownGroups {
    version: u32,
    parents: Vec<Group>,
}

/// The parents that were used before and are still there; none where nothing can be read.
pub(super) fn read_known(root: &Path) -> Vec<Group> {
    let known = read_record::<KnownGroups>(root, FILE);
    let parents = known.ok().flatten().map(|known| known.parents);
    let mut parents = parents.unwrap_or_default();
    parents.retain(|parent| parent.path.is_dir());
    parents
}

/// Remembers these parents, durably: before a task is placed below one of them.
pub(super) fn keep_known(root: &Path, mut parents: Vec<Group>) {
    parents.truncate(MOST);
    let known = KnownGroups {
        version: RECORD_VERSION,
        parents,
    };
    if let Err(error) = write_record(root, FILE, &known) {
        tracing::warn!(%error, "the cgroups of this agent are not written down");
    }
}
