//! A stage for native tests: rows are put on it, a turn is taken, and what the scheduler asked for
//! is carried out or looked at.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::budget::Row;
use crate::columns::{
    AgentColumns, OfferColumns, RefusalColumns, TaskColumns, WorkloadColumns, of_agents, of_offers,
    of_refusals, of_tasks, of_workloads,
};
use crate::rows::{Agent, Offer, Refusal, Task, Workload};
use crate::treaty::Treaty;
use crate::wishes::{DemandColumns, LaunchColumns};

/// One launch that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launched {
    /// The group.
    pub group: u32,
    /// Whose.
    pub workload: u64,
    /// What it runs.
    pub generation: u64,
    /// Which template.
    pub template: u32,
    /// Which slot.
    pub slot: u32,
    /// From which offer.
    pub offer: u32,
}

/// One row of the stated demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stated {
    /// The scheduler's name for it.
    pub key: u64,
    /// For which workload.
    pub workload: u64,
    /// Of which generation.
    pub generation: u64,
    /// From which template.
    pub template: u32,
    /// For how many tasks.
    pub count: u32,
}

/// One status that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// About which workload.
    pub workload: u64,
    /// About which generation.
    pub generation: u64,
    /// 0 healthy, 1 progressing, 2 degraded, 3 suspended.
    pub health: u32,
    /// 0 progressing, 1 complete, 2 rolled back, 3 paused.
    pub rollout: u32,
    /// One word.
    pub reason: String,
    /// One sentence.
    pub message: String,
}

/// Everything that was asked for in a turn.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    /// Launches, in order.
    pub launches: Vec<Launched>,
    /// Task and reason.
    pub kills: Vec<(u64, u32)>,
    /// Tasks to forget.
    pub forgets: Vec<u64>,
    /// Statuses, in order.
    pub statuses: Vec<Said>,
    /// Workload and generation.
    pub good: Vec<(u64, u64)>,
    /// Workload and generation.
    pub quarantined: Vec<(u64, u64)>,
    /// The whole demand as it is with what was stated, where something was.
    pub demand: Option<Vec<Stated>>,
    /// The earliest wake-up.
    pub wake_at: Option<u64>,
    /// Notes, in order.
    pub notes: Vec<(u64, String)>,
    /// Lines of the log.
    pub log: Vec<(u32, String)>,
    /// Whether more was said than a turn may. Then this is what the kernel takes of it, and the
    /// next turn comes at once, of an instance that is made anew; where it is nothing, the turn is
    /// void.
    pub is_full: bool,
}

/// How many bytes one turn may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnBytes(pub u64);

impl Default for TurnBytes {
    fn default() -> Self {
        Self(252 * 1024)
    }
}

/// What the rows count, in the treaty's order.
const PRICES: [u32; 9] = [48, 20, 20, 36, 32, 32, 24, 48, 16];
/// How many operations one turn may ask for.
const OPERATIONS: u32 = 10_000;

/// What counts in a turn: rows that are kept together where their group is.
#[derive(Debug)]
enum Wish {
    Launch(Launched),
    Kill(u64, u32),
    Forget(u64),
    Status(Said),
    Good(u64, u64),
    /// With the bytes of its reason.
    Quarantine(u64, u64, usize),
    Note(u64, String),
    Pair(String, Option<Vec<u8>>),
}

impl Wish {
    /// What it counts, by the kernel's rule.
    fn bytes(&self) -> u64 {
        let (row, texts) = match self {
            Self::Launch(_) => (Row::Launch, 0),
            Self::Kill(..) => (Row::Kill, 0),
            Self::Forget(_) => (Row::Forget, 0),
            Self::Status(said) => (Row::SetStatus, said.reason.len() + said.message.len()),
            Self::Good(..) => (Row::SetGoodGeneration, 0),
            Self::Quarantine(.., reason) => (Row::Quarantine, *reason),
            Self::Note(_, text) => (Row::Note, text.len()),
            Self::Pair(key, value) => {
                let value = value.as_ref().map_or(0, Vec::len);
                (Row::Write, key.len() + value)
            }
        };
        bytes_of(row, texts)
    }
}

fn bytes_of(row: Row, texts: usize) -> u64 {
    let price = PRICES.get(row as usize).copied().unwrap_or(0);
    u64::from(price).saturating_add(u64::try_from(texts).unwrap_or(u64::MAX))
}

/// What a turn has said so far, as the kernel counts it.
#[derive(Debug, Default)]
struct Noted {
    wishes: Vec<(u32, Wish)>,
    bytes: u64,
    operations: u32,
    /// The groups of which something is noted, and those of which a part is not.
    groups: BTreeSet<u32>,
    cut: BTreeSet<u32>,
    is_full: bool,
}

impl Noted {
    /// Counts what is about to be noted; says whether it is.
    fn takes(&mut self, group: u32, bytes: u64, operations: u32, most: u64) -> bool {
        let said = self.bytes.saturating_add(bytes);
        let asked = self.operations.saturating_add(operations);
        if !self.is_full && said <= most && asked <= OPERATIONS {
            (self.bytes, self.operations) = (said, asked);
            self.groups.insert(group);
            return true;
        }
        self.is_full = true;
        if group != 0 && self.groups.contains(&group) {
            self.cut.insert(group);
        }
        false
    }

    /// What counts of it: of a full turn no group of which a part is missing, and no state that was
    /// written alone.
    fn into_whole(self) -> impl Iterator<Item = Wish> {
        let (is_full, cut) = (self.is_full, self.cut);
        let counts = move |(group, wish): &(u32, Wish)| {
            let is_alone = *group == 0 && matches!(wish, Wish::Pair(..));
            !(cut.contains(group) || is_full && is_alone)
        };
        let wishes = self.wishes.into_iter().filter(counts);
        wishes.map(|(_, wish)| wish)
    }
}

/// The kernel's side of the treaty, in memory. Tables hold what the next call will see.
#[derive(Debug, Default)]
pub struct Stage {
    /// Rows of the next call.
    pub workloads: Vec<Workload>,
    /// Rows of the next call; the flag says that the kernel has forgotten the task.
    pub tasks: Vec<(Task, bool)>,
    /// Rows of the next call.
    pub agents: Vec<Agent>,
    /// Offers of the next call.
    pub offers: Vec<Offer>,
    /// Refusals of the next call.
    pub refusals: Vec<Refusal>,
    /// Specifications by workload and generation.
    pub specs: BTreeMap<(u64, u64), String>,
    /// Names by workload.
    pub names: BTreeMap<u64, String>,
    /// How tasks ended, by task.
    pub ends: BTreeMap<u64, String>,
    /// `spec.config` of the framework; empty: null.
    pub config: String,
    /// Bytes that one turn may say; the kernel's limit unless it is changed.
    pub turn_bytes: TurnBytes,
    pairs: RefCell<BTreeMap<String, Vec<u8>>>,
    held: RefCell<BTreeMap<u64, Stated>>,
    asked: RefCell<Asked>,
    noted: RefCell<Noted>,
    /// What was said last of each workload: to say it again counts nothing.
    told: RefCell<BTreeMap<u64, Said>>,
}

impl Stage {
    /// Takes what counts of what was asked for since the last call of this, which is one turn, and
    /// clears the tables.
    pub fn take(&mut self) -> Asked {
        self.workloads.clear();
        self.tasks.clear();
        self.agents.clear();
        self.offers.clear();
        self.refusals.clear();
        let mut asked = std::mem::take(self.asked.get_mut());
        let noted = std::mem::take(self.noted.get_mut());
        asked.is_full = noted.is_full;
        let (pairs, told) = (self.pairs.get_mut(), self.told.get_mut());
        for wish in noted.into_whole() {
            match wish {
                Wish::Launch(launch) => asked.launches.push(launch),
                Wish::Kill(task, reason) => asked.kills.push((task, reason)),
                Wish::Forget(task) => asked.forgets.push(task),
                Wish::Status(said) => {
                    told.insert(said.workload, said.clone());
                    asked.statuses.push(said);
                }
                Wish::Good(workload, generation) => asked.good.push((workload, generation)),
                Wish::Quarantine(workload, generation, _) => {
                    asked.quarantined.push((workload, generation));
                }
                Wish::Note(workload, text) => asked.notes.push((workload, text)),
                Wish::Pair(key, Some(value)) => drop(pairs.insert(key, value)),
                Wish::Pair(key, None) => drop(pairs.remove(&key)),
            }
        }
        asked
    }

    /// One of the seat's own pairs, with what the turn has written.
    pub fn pair(&self, key: &str) -> Option<Vec<u8>> {
        let noted = self.noted.borrow();
        let mut writes = noted.wishes.iter().rev();
        let written = writes.find_map(|(_, wish)| match wish {
            Wish::Pair(own, value) if own == key => Some(value.clone()),
            _ => None,
        });
        written.unwrap_or_else(|| self.pairs.borrow().get(key).cloned())
    }

    fn note_wish(&self, group: u32, wish: Wish) {
        let mut noted = self.noted.borrow_mut();
        let operations = u32::from(!matches!(wish, Wish::Pair(..)));
        if noted.takes(group, wish.bytes(), operations, self.turn_bytes.0) {
            noted.wishes.push((group, wish));
        }
    }
}

impl Stage {
    /// States the rows that there is room for.
    fn change_rows(&self, rows: impl IntoIterator<Item = Stated>) {
        let bytes = bytes_of(Row::Demand, 0);
        let (mut held, mut noted) = (self.held.borrow_mut(), self.noted.borrow_mut());
        for row in rows {
            if !noted.takes(0, bytes, 0, self.turn_bytes.0) {
                break;
            }
            match row.count {
                0 => held.remove(&row.key),
                _ => held.insert(row.key, row),
            };
        }
        self.asked.borrow_mut().demand = Some(held.values().copied().collect());
    }

    /// States the whole demand; of one that is larger than what is left, the part that differs.
    fn replace_rows(&self, rows: Vec<Stated>) {
        let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        let bytes = bytes_of(Row::Demand, 0).saturating_mul(count);
        let held: BTreeMap<u64, Stated> = self.held.borrow().clone();
        if bytes <= self.bytes_left() {
            self.held.borrow_mut().clear();
            self.change_rows(rows);
            return;
        }
        let keys: BTreeSet<u64> = rows.iter().map(|row| row.key).collect();
        let over = held.values().filter(|row| !keys.contains(&row.key));
        let over = over.map(|row| Stated { count: 0, ..*row });
        let differs = rows.iter().filter(|row| held.get(&row.key) != Some(row));
        self.change_rows(over.chain(differs.copied()));
    }
}

fn rows_of(columns: &DemandColumns) -> Vec<Stated> {
    let names = columns.key.iter().zip(&columns.workload);
    let rest = columns.generation.iter().zip(&columns.template);
    let rows = names.zip(rest).zip(&columns.count);
    rows.map(
        |(((key, workload), (generation, template)), count)| Stated {
            key: *key,
            workload: *workload,
            generation: *generation,
            template: *template,
            count: *count,
        },
    )
    .collect()
}

fn page_of<T>(rows: &[T], page: u32) -> &[T] {
    if page == 0 { rows } else { &[] }
}

impl Treaty for Stage {
    fn workloads(&self, page: u32) -> WorkloadColumns {
        of_workloads(page_of(&self.workloads, page))
    }
    fn workload_spec(&self, workload: u64, generation: u64) -> Option<String> {
        self.specs.get(&(workload, generation)).cloned()
    }
    fn workload_name(&self, workload: u64) -> Option<String> {
        self.names.get(&workload).cloned()
    }
    fn tasks(&self, page: u32) -> TaskColumns {
        of_tasks(page_of(&self.tasks, page))
    }
    fn task_end(&self, task: u64) -> Option<String> {
        self.ends.get(&task).cloned()
    }
    fn agents(&self, page: u32) -> AgentColumns {
        of_agents(page_of(&self.agents, page))
    }
    fn agent_attributes(&self, _agent: u32) -> Option<Vec<(String, String)>> {
        None
    }
    fn offers(&self, page: u32) -> OfferColumns {
        of_offers(page_of(&self.offers, page))
    }
    fn refusals(&self, page: u32) -> RefusalColumns {
        of_refusals(page_of(&self.refusals, page))
    }
    fn config(&self) -> String {
        if self.config.is_empty() {
            "null".to_owned()
        } else {
            self.config.clone()
        }
    }
    fn launch(&self, columns: &LaunchColumns) {
        let names = columns.group.iter().zip(&columns.workload);
        let what = columns.generation.iter().zip(&columns.template);
        let rest = columns.slot.iter().zip(&columns.offer);
        for (((group, workload), (generation, template)), (slot, offer)) in
            names.zip(what).zip(rest)
        {
            let launched = Launched {
                group: *group,
                workload: *workload,
                generation: *generation,
                template: *template,
                slot: *slot,
                offer: *offer,
            };
            self.note_wish(*group, Wish::Launch(launched));
        }
    }
    fn kill(&self, group: &[u32], task: &[u64], reason: &[u32]) {
        for ((group, task), reason) in group.iter().zip(task).zip(reason) {
            self.note_wish(*group, Wish::Kill(*task, *reason));
        }
    }
    fn forget(&self, group: &[u32], task: &[u64]) {
        for (group, task) in group.iter().zip(task) {
            self.note_wish(*group, Wish::Forget(*task));
        }
    }
    fn set_status(
        &self,
        group: u32,
        workload: u64,
        generation: u64,
        health: u32,
        rollout: u32,
        reason: &str,
        message: &str,
    ) {
        let said = Said {
            workload,
            generation,
            health,
            rollout,
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        if self.told.borrow().get(&workload) == Some(&said) {
            self.noted.borrow_mut().wishes.push((0, Wish::Status(said)));
        } else {
            self.note_wish(group, Wish::Status(said));
        }
    }
    fn set_good_generation(&self, group: u32, workload: u64, generation: u64) {
        self.note_wish(group, Wish::Good(workload, generation));
    }
    fn quarantine(&self, group: u32, workload: u64, generation: u64, reason: &str) {
        self.note_wish(group, Wish::Quarantine(workload, generation, reason.len()));
    }
    fn demand(&self, columns: &DemandColumns) {
        self.replace_rows(rows_of(columns));
    }
    fn change_demand(&self, columns: &DemandColumns) {
        self.change_rows(rows_of(columns));
    }
    fn bytes_left(&self) -> u64 {
        let noted = self.noted.borrow();
        match noted.is_full {
            true => 0,
            false => self.turn_bytes.0.saturating_sub(noted.bytes),
        }
    }
    fn operations_left(&self) -> u32 {
        let noted = self.noted.borrow();
        match noted.is_full {
            true => 0,
            false => OPERATIONS.saturating_sub(noted.operations),
        }
    }
    fn prices(&self) -> Vec<u32> {
        PRICES.to_vec()
    }
    fn wake_at(&self, at: u64) {
        let mut asked = self.asked.borrow_mut();
        asked.wake_at = Some(asked.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
    fn note(&self, workload: u64, text: &str) {
        self.note_wish(0, Wish::Note(workload, text.to_owned()));
    }
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.pair(key)
    }
    fn set(&self, group: u32, key: &str, value: &[u8]) {
        self.note_wish(group, Wish::Pair(key.to_owned(), Some(value.to_vec())));
    }
    fn delete(&self, group: u32, key: &str) {
        self.note_wish(group, Wish::Pair(key.to_owned(), None));
    }
    fn list(&self, prefix: &str, after: &str) -> Vec<String> {
        let mut keys: BTreeSet<String> = self.pairs.borrow().keys().cloned().collect();
        for (_, wish) in &self.noted.borrow().wishes {
            match wish {
                Wish::Pair(key, Some(_)) => drop(keys.insert(key.clone())),
                Wish::Pair(key, None) => drop(keys.remove(key)),
                _ => {}
            }
        }
        keys.into_iter()
            .filter(|key| key.starts_with(prefix) && key.as_str() > after)
            .take(1024)
            .collect()
    }
    fn log(&self, level: u32, line: &str) {
        self.asked.borrow_mut().log.push((level, line.to_owned()));
    }
}
