//! Events: what apply says happened, for people.

use serde::{Deserialize, Serialize};

use crate::id::Index;
use crate::object::ObjectKey;
use crate::principal::Principal;
use crate::time::WallTime;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Event {
    /// The log entry that made it so.
    pub index: Index,
    /// Its place among the events of that entry, from 0.
    #[serde(default, skip_serializing_if = "is_first")]
    pub place: u32,
    /// When, for people.
    pub at: WallTime,
    /// A short, stable name: `TaskStarted`, `RevisionAccepted`.
    pub reason: String,
    /// The object it is about.
    pub object: Option<ObjectKey>,
    /// A sentence.
    pub message: String,
    /// Who asked for it.
    pub by: Principal,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands it over this way"
)]
fn is_first(place: &u32) -> bool {
    *place == 0
}

impl Event {
    /// How many events the kernel keeps.
    pub const KEPT: usize = 1000;
}
