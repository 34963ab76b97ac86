//! What a scan looks at, and the shape of what it found.

use std::collections::BTreeMap;

use kelson_model::drift::DriftItem;
use kelson_model::object::ObjectKey;
use kelson_model::time::WallTime;

use crate::manifest::{Kinds, Loaded};
use crate::observed::{ObservedObject, ObservedTask};

/// What a scan looks at.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// The source; objects of others are left alone.
    pub source: &'a str,
    /// The applied revision as git has it, for places; absent where it cannot be read.
    pub places: Option<&'a Loaded>,
    /// The kinds, to bring specifications into normal form.
    pub kinds: Option<&'a Kinds>,
    /// The kernel's objects.
    pub observed: &'a BTreeMap<ObjectKey, ObservedObject>,
    /// The kernel's tasks, terminal ones included.
    pub tasks: &'a [ObservedTask],
    /// What agents have found, as the kernel has it now: it opens and heals these itself, and they
    /// are passed on with git's place.
    pub agents: &'a [DriftItem],
    /// The items that the kernel keeps: open ones and the last healed ones. Those of the agent
    /// plane are not looked at.
    pub ledger: &'a [DriftItem],
    /// For `firstSeen` and `healedAt`.
    pub now: WallTime,
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scan {
    /// All open items, and those that have just healed, in a stable order.
    pub items: Vec<DriftItem>,
    /// Those of them that are news to the ledger; nothing needs to be recorded where there are
    /// none. What agents found is never news: the kernel has it.
    pub news: Vec<DriftItem>,
    /// The open items that a ledger has no room for.
    pub unlisted: Unlisted,
}

/// Open items beyond what a ledger keeps, by the limit that they are beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unlisted {
    /// Beyond its number of items.
    pub by_number: usize,
    /// Beyond its size.
    pub by_size: usize,
}

impl Unlisted {
    /// All of them.
    pub fn count(self) -> usize {
        self.by_number + self.by_size
    }
}

impl Scan {
    /// Whether the ledger has to be told anything.
    pub fn is_news(&self) -> bool {
        !self.news.is_empty()
    }
}
