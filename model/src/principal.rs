//! Who asks: the principal that every command carries.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who asked for a change and by which way; shown in drift reports and events.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Principal {
    /// A person's or a part's name: `alice`, `reconciler`, `kernel`.
    pub actor: String,
    /// The way that was taken: `cli`, `api`, `git`, `kernel`.
    pub via: String,
}

impl Principal {
    /// Longest name of an actor or a way, in bytes.
    pub const MAX_NAME: usize = 128;

    /// Makes a principal; names are cut at [`Principal::MAX_NAME`].
    pub fn new(actor: &str, via: &str) -> Self {
        let cut = |name: &str| name.chars().take(Self::MAX_NAME / 4).collect();
        Self {
            actor: cut(actor),
            via: cut(via),
        }
    }

    /// The kernel itself.
    pub fn kernel() -> Self {
        Self::new("kernel", "kernel")
    }

    /// The reconciler, acting on what git says.
    pub fn reconciler() -> Self {
        Self::new("reconciler", "git")
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.actor, self.via)
    }
}
