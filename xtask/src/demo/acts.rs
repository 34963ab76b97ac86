//! The acts, in the order in which they are played.

use anyhow::Result;

use super::stage::Stage;
use super::{drift_acts, release_acts};

/// One thing to be seen.
pub(crate) struct Act {
    /// What `--act` calls it.
    pub(crate) name: &'static str,
    /// What happens, as a person would say it.
    pub(crate) title: &'static str,
    /// Does it, and fails unless it is seen.
    pub(crate) play: fn(&mut Stage) -> Result<()>,
    /// Is it part of the demo? One that the product does not do yet is not.
    pub(crate) is_played: bool,
}

/// All acts. Each leaves the cluster in the state in which it found it: synced, and healthy.
pub(crate) const ACTS: &[Act] = &[
    Act {
        name: "commit",
        title: "a commit becomes running services",
        play: release_acts::commit,
        is_played: true,
    },
    Act {
        name: "update",
        title: "a new version rolls out without one failed request",
        play: release_acts::update,
        is_played: true,
    },
    Act {
        name: "rollback",
        title: "a broken version is rolled back",
        play: release_acts::rollback,
        is_played: true,
    },
    Act {
        name: "kill",
        title: "a killed task is replaced, and reported",
        play: drift_acts::kill,
        is_played: true,
    },
    Act {
        name: "drift",
        title: "a change by hand is healed, and reported",
        play: drift_acts::change_by_hand,
        is_played: true,
    },
    Act {
        name: "refusal",
        title: "a bad commit is refused with its position",
        play: release_acts::refusal,
        is_played: true,
    },
    Act {
        name: "prune",
        title: "a deleted manifest is pruned",
        play: release_acts::prune,
        is_played: true,
    },
    Act {
        name: "adoption",
        title: "the agent is killed and comes back to the same processes",
        play: drift_acts::adoption,
        is_played: true,
    },
];
