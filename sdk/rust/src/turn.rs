//! One turn: what is offered, and the buffer of what the scheduler wants of it.

use crate::budget::{Budget, Row};
use crate::rows::{Offer, Refusal};
use crate::stated::Stated;
use crate::treaty::{Reads, Treaty};
use crate::wishes::LaunchColumns;

/// Why a task is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KillReason {
    /// By a newer generation.
    Replaced,
    /// Fewer are wanted.
    ScaledDown,
    /// The workload was removed.
    Removed,
    /// Its health check failed too often.
    Unhealthy,
}

/// How a workload does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// All that is wanted runs and works.
    Healthy,
    /// On the way.
    Progressing,
    /// Something is wrong that may not mend itself.
    Degraded,
    /// A person holds it.
    Suspended,
}

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rollout {
    /// On the way.
    Progressing,
    /// The newest generation runs.
    Complete,
    /// The newest generation failed and the good one runs again.
    RolledBack,
    /// The newest generation failed, and a person must decide.
    Paused,
}

/// What a scheduler says about a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The generation that it is about.
    pub generation: u64,
    /// How it does.
    pub health: Health,
    /// Where its rollout stands.
    pub rollout: Rollout,
    /// One word, `RolledBack`; empty where all is well.
    pub reason: String,
    /// One sentence for people.
    pub message: String,
}

/// How a demand wants its tasks placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Placement {
    /// Over as many agents as possible.
    #[default]
    Spread,
    /// On as few agents as possible.
    Pack,
}

/// Offers are wanted for `count` tasks of a workload's template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// The scheduler's own name for it, below 2^53; offers that answer it carry it.
    pub key: u64,
    /// For which workload.
    pub workload: u64,
    /// Of which generation; a launch from its offers must name the same.
    pub generation: u64,
    /// From which template.
    pub template: u32,
    /// For how many tasks.
    pub count: u32,
    /// Spread or pack.
    pub placement: Placement,
    /// Higher first within the seat.
    pub priority: i32,
}

/// How much a line of the log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the author.
    Debug,
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warn,
    /// Wrong.
    Error,
}

#[derive(Debug, Default)]
struct Kills {
    group: Vec<u32>,
    task: Vec<u64>,
    reason: Vec<u32>,
}

#[derive(Debug, Default)]
struct Forgets {
    group: Vec<u32>,
    task: Vec<u64>,
}

/// One turn. What is asked for here crosses to the kernel once, when the turn ends well; if it ends
/// in an error, nothing does.
pub struct Turn<'a> {
    /// Cluster time in ms.
    pub now: u64,
    /// A hash of cluster, seat and turn number, below 2^53: the only randomness there is.
    pub seed: u64,
    /// The number of this turn.
    pub number: u64,
    /// Reads by call: specifications, names, attributes, configuration, the seat's own pairs.
    pub read: Reads<'a>,
    treaty: &'a dyn Treaty,
    offers: Vec<Offer>,
    refusals: Vec<Refusal>,
    group: u32,
    groups: u32,
    launches: LaunchColumns,
    kills: Kills,
    forgets: Forgets,
    good: Vec<(u32, u64, u64)>,
    quarantines: Vec<(u32, u64, u64, String)>,
    statuses: Vec<(u32, u64, Status)>,
    notes: Vec<(u64, String)>,
    demand: Option<Vec<Demand>>,
    wake_at: Option<u64>,
    budget: Budget<'a>,
}

impl std::fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn")
            .field("now", &self.now)
            .field("number", &self.number)
            .field("operations", &self.operations())
            .finish_non_exhaustive()
    }
}

impl<'a> Turn<'a> {
    pub(crate) fn new(
        treaty: &'a dyn Treaty,
        now: u64,
        seed: u64,
        number: u64,
        offers: Vec<Offer>,
        refusals: Vec<Refusal>,
    ) -> Self {
        Self {
            now,
            seed,
            number,
            read: Reads::new(treaty),
            treaty,
            offers,
            refusals,
            group: 0,
            groups: 0,
            launches: LaunchColumns::default(),
            kills: Kills::default(),
            forgets: Forgets::default(),
            good: Vec::new(),
            quarantines: Vec::new(),
            statuses: Vec::new(),
            notes: Vec::new(),
            demand: None,
            wake_at: None,
            budget: Budget::new(treaty),
        }
    }

    /// The offers of this turn. Those that are not launched from are declined by that.
    pub fn offers(&self) -> impl Iterator<Item = Offer> + use<> {
        self.offers.clone().into_iter()
    }

    /// What was refused of the last turn that counted.
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    /// How many bytes this turn may still say: it is one entry of the kernel's log. Who has more to
    /// say says it in the next turn and asks for that with [`Turn::wake_at`]. What is said beyond
    /// it is not noted, and the instance is made anew for the next turn, which then comes by
    /// itself. Demand beyond it is stated in parts without further ado.
    pub fn bytes_left(&self) -> u64 {
        self.budget.bytes_left()
    }

    /// How many operations this turn may still ask for.
    pub fn operations_left(&self) -> u32 {
        self.budget.operations_left()
    }

    /// What this many launches count against [`Turn::bytes_left`].
    pub fn bytes_of_launches(&self, count: usize) -> u64 {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.budget.price(Row::Launch, 0).saturating_mul(count)
    }

    /// How many operations were asked for so far.
    pub fn operations(&self) -> usize {
        self.launches.offer.len()
            + self.kills.task.len()
            + self.forgets.task.len()
            + self.good.len()
            + self.quarantines.len()
            + self.statuses.len()
            + self.notes.len()
    }

    /// Runs `ask` so that everything it asks for is accepted or refused together.
    pub fn together(&mut self, ask: impl FnOnce(&mut Self)) {
        let before = self.group;
        self.groups = self.groups.saturating_add(1);
        self.group = self.groups;
        ask(self);
        self.group = before;
    }

    /// Starts a task in `slot` from an offer of this turn. Workload, generation and template must
    /// be those of the offer's demand.
    pub fn launch(
        &mut self,
        workload: u64,
        generation: u64,
        template: u32,
        slot: u32,
        offer: &Offer,
    ) {
        self.budget.operation(Row::Launch, 0);
        self.launches.group.push(self.group);
        self.launches.workload.push(workload);
        self.launches.generation.push(generation);
        self.launches.template.push(template);
        self.launches.slot.push(slot);
        self.launches.offer.push(offer.id);
    }

    /// Ends a task.
    pub fn kill(&mut self, task: u64, reason: KillReason) {
        self.budget.operation(Row::Kill, 0);
        self.kills.group.push(self.group);
        self.kills.task.push(task);
        self.kills.reason.push(match reason {
            KillReason::Replaced => 0,
            KillReason::ScaledDown => 1,
            KillReason::Removed => 2,
            KillReason::Unhealthy => 3,
        });
    }

    /// Drops a terminal task from the tables.
    pub fn forget(&mut self, task: u64) {
        self.budget.operation(Row::Forget, 0);
        self.forgets.group.push(self.group);
        self.forgets.task.push(task);
    }

    /// Says how a workload does.
    pub fn set_status(&mut self, workload: u64, status: Status) {
        let texts = status.reason.len() + status.message.len();
        self.budget.operation(Row::SetStatus, texts);
        self.statuses.push((self.group, workload, status));
    }

    /// Declares a generation good: what a rollback goes back to.
    pub fn set_good_generation(&mut self, workload: u64, generation: u64) {
        self.budget.operation(Row::SetGoodGeneration, 0);
        self.good.push((self.group, workload, generation));
    }

    /// Gives a generation up: it is not tried again until git changes it. `reason` is one word.
    pub fn quarantine(&mut self, workload: u64, generation: u64, reason: &str) {
        self.budget.operation(Row::Quarantine, reason.len());
        self.quarantines
            .push((self.group, workload, generation, reason.to_owned()));
    }

    /// Replaces the seat's whole demand. Not calling it keeps the demand of the turn before; after
    /// a restore it is to be called. Only what differs is sent, and what does not fit this turn is
    /// sent in the next ones, which come by themselves.
    pub fn set_demand(&mut self, demand: Vec<Demand>) {
        self.demand = Some(demand);
    }

    /// Asks for a turn at a cluster time (ms) even if nothing changes; the earliest wins.
    pub fn wake_at(&mut self, at: u64) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// An event for people, about a workload; 1,000 bytes at the most.
    pub fn note(&mut self, workload: u64, text: impl Into<String>) {
        let text = text.into();
        self.budget.operation(Row::Note, text.len());
        self.notes.push((workload, text));
    }

    /// Writes one of the seat's own pairs; it takes effect when the turn counts.
    pub fn set_state(&mut self, key: &str, value: &[u8]) {
        let texts = key.len() + value.len();
        self.budget.row(Row::Write, texts);
        self.treaty.set(self.group, key, value);
    }

    /// Deletes one of the seat's own pairs.
    pub fn delete_state(&mut self, key: &str) {
        self.budget.row(Row::Write, key.len());
        self.treaty.delete(self.group, key);
    }

    /// A line for the author of the framework: 100 a turn, 1,000 bytes each.
    pub fn log(&mut self, level: Level, line: &str) {
        let level = match level {
            Level::Debug => 0,
            Level::Info => 1,
            Level::Warn => 2,
            Level::Error => 3,
        };
        self.treaty.log(level, line);
    }

    /// Hands everything to the kernel.
    ///
    /// Launches go before forgets, so that the kernel still sees what a slot has been through when
    /// it counts attempts.
    ///
    /// # Errors
    /// Two rows of the demand have one key; nothing was handed over.
    pub(crate) fn flush(mut self, stated: &mut Stated) -> Result<(), String> {
        if let Some(demand) = self.demand.take() {
            stated.want(demand)?;
        }
        if stated.send(self.treaty, &self.budget) {
            self.wake_at(self.now);
        }
        let treaty = self.treaty;
        for (group, workload, generation) in self.good {
            treaty.set_good_generation(group, workload, generation);
        }
        for (group, workload, generation, reason) in self.quarantines {
            treaty.quarantine(group, workload, generation, &reason);
        }
        if !self.kills.task.is_empty() {
            treaty.kill(&self.kills.group, &self.kills.task, &self.kills.reason);
        }
        if !self.launches.offer.is_empty() {
            treaty.launch(&self.launches);
        }
        if !self.forgets.task.is_empty() {
            treaty.forget(&self.forgets.group, &self.forgets.task);
        }
        for (group, workload, status) in self.statuses {
            flush_status(treaty, group, workload, &status);
        }
        for (workload, text) in self.notes {
            treaty.note(workload, &text);
        }
        if let Some(at) = self.wake_at {
            treaty.wake_at(at);
        }
        Ok(())
    }
}

fn flush_status(treaty: &dyn Treaty, group: u32, workload: u64, status: &Status) {
    let health = match status.health {
        Health::Healthy => 0,
        Health::Progressing => 1,
        Health::Degraded => 2,
        Health::Suspended => 3,
    };
    let rollout = match status.rollout {
        Rollout::Progressing => 0,
        Rollout::Complete => 1,
        Rollout::RolledBack => 2,
        Rollout::Paused => 3,
    };
    treaty.set_status(
        group,
        workload,
        status.generation,
        health,
        rollout,
        &status.reason,
        &status.message,
    );
}
