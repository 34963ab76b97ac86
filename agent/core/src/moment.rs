//! Time as the core sees it: milliseconds on a clock that only goes forward.

use kelson_model::quantity::Millis;
use serde::{Deserialize, Serialize};

/// A moment on the machine's boot clock, in milliseconds since the machine's start: it goes on
/// while the machine sleeps, is the same for every process, and nobody sets it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// The moment `span` after this one.
    #[must_use]
    pub fn after(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// How much time has gone by since `earlier`; zero where `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}
