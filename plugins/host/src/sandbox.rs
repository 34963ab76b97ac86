//! What stands on the host's side of one instance: the tables it reads, the outcome it fills, and
//! the accounts of what it uses.

use std::collections::BTreeSet;

use kelson_kernel_core::turn_size::TURN_BYTES;
use kelson_model::framework::Limits;

use crate::cpu_limit::CpuLimit;
use crate::fault::Breach;
use crate::log::Log;
use crate::memory::MemoryLimit;
use crate::meter::Meter;
use crate::outcome::Outcome;
use crate::state::State;
use crate::tables::Tables;

/// Which export is being called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// Code of the component that runs before any export.
    Start,
    /// `describe`.
    Describe,
    /// `validate`.
    Validate,
    /// `restore`.
    Restore,
    /// `turn`.
    Turn,
    /// `query`.
    Query,
}

impl Call {
    /// The name, for faults.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Describe => "describe",
            Self::Validate => "validate",
            Self::Restore => "restore",
            Self::Turn => "turn",
            Self::Query => "query",
        }
    }
}

/// How much a turn has said. What it says beyond a limit is not noted, nor anything after it: the
/// turn is full, and counts as far as it goes.
#[derive(Debug, Default)]
pub(crate) struct Said {
    bytes: u64,
    /// The groups of which something is noted.
    groups: BTreeSet<u32>,
    /// Those of which something more was said when the turn was full: they are refused whole.
    cut: BTreeSet<u32>,
    /// The limit that it came to.
    full: Option<String>,
}

impl Said {
    /// How many bytes may still be said.
    pub(crate) fn left(&self) -> u64 {
        match self.full {
            Some(_) => 0,
            None => TURN_BYTES.saturating_sub(self.bytes),
        }
    }

    /// Why the turn is full, where it is.
    pub(crate) fn full(&self) -> Option<&str> {
        self.full.as_deref()
    }

    /// Counts what is about to be said; says whether it may be.
    pub(crate) fn takes(&mut self, group: u32, bytes: u64) -> bool {
        let said = self.bytes.saturating_add(bytes);
        if self.full.is_none() && said <= TURN_BYTES {
            self.bytes = said;
            self.groups.insert(group);
            return true;
        }
        let before = self.bytes;
        self.fill(group, || {
            format!(
                "more is said than {TURN_BYTES} bytes, the limit of a turn: {before} are said and {bytes} more would be; \
                 say the rest in the next turn (see outcome.bytes-left)"
            )
        });
        false
    }

    /// Notes that something of a group is not noted any more, and the limit that forbids it.
    pub(crate) fn fill(&mut self, group: u32, limit: impl FnOnce() -> String) {
        self.full.get_or_insert_with(limit);
        if group != 0 && self.groups.contains(&group) {
            self.cut.insert(group);
        }
    }

    /// Whether a group is refused whole, because only a part of it was noted.
    pub(crate) fn is_cut(&self, group: u32) -> bool {
        self.cut.contains(&group)
    }
}

/// The data of one store.
pub(crate) struct Sandbox {
    pub(crate) call: Call,
    pub(crate) tables: Tables,
    pub(crate) outcome: Outcome,
    pub(crate) state: State,
    pub(crate) said: Said,
    pub(crate) log: Log,
    pub(crate) memory: MemoryLimit,
    pub(crate) meter: Meter,
    pub(crate) cpu: CpuLimit,
}

impl Sandbox {
    /// Makes the data of an instance that has not been called yet: everything is empty.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            call: Call::Start,
            tables: Tables::default(),
            outcome: Outcome::default(),
            state: State::default(),
            said: Said::default(),
            log: Log::default(),
            memory: MemoryLimit::new(limits.memory.0),
            meter: Meter::default(),
            cpu: CpuLimit::default(),
        }
    }

    /// Checks that a turn is going on, which is when wishes may be uttered.
    pub(crate) fn require_turn(&self, function: &'static str) -> Result<(), Breach> {
        match self.call {
            Call::Turn => Ok(()),
            Call::Start | Call::Describe | Call::Validate | Call::Restore | Call::Query => {
                Err(Breach::Misplaced { function })
            }
        }
    }
}
