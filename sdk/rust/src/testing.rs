//! A stage for native tests: rows are put on it, a turn is taken, and what the scheduler asked for
//! is carried out or looked at.

use std::cell::RefCell;
use std::collections::BTreeMap;

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
const PRICES: [u32; 9] = [104, 56, 40, 136, 80, 80, 56, 112, 40];

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
}

impl Stage {
    /// Takes what was asked for since the last call of this, and clears the tables.
    pub fn take(&mut self) -> Asked {
        self.workloads.clear();
        self.tasks.clear();
        self.agents.clear();
        self.offers.clear();
        self.refusals.clear();
        std::mem::take(self.asked.get_mut())
    }

    /// One of the seat's own pairs.
    pub fn pair(&self, key: &str) -> Option<Vec<u8>> {
        self.pairs.borrow().get(key).cloned()
    }
}

impl Stage {
    fn state_demand(&self, columns: &DemandColumns) {
        let mut held = self.held.borrow_mut();
        let names = columns.key.iter().zip(&columns.workload);
        let rest = columns.generation.iter().zip(&columns.template);
        let rows = names.zip(rest).zip(&columns.count);
        for (((key, workload), (generation, template)), count) in rows {
            let row = Stated {
                key: *key,
                workload: *workload,
                generation: *generation,
                template: *template,
                count: *count,
            };
            match row.count {
                0 => held.remove(key),
                _ => held.insert(*key, row),
            };
        }
        self.asked.borrow_mut().demand = Some(held.values().copied().collect());
    }
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
            self.asked.borrow_mut().launches.push(Launched {
                group: *group,
                workload: *workload,
                generation: *generation,
                template: *template,
                slot: *slot,
                offer: *offer,
            });
        }
    }
    fn kill(&self, _group: &[u32], task: &[u64], reason: &[u32]) {
        let rows = task.iter().copied().zip(reason.iter().copied());
        self.asked.borrow_mut().kills.extend(rows);
    }
    fn forget(&self, _group: &[u32], task: &[u64]) {
        self.asked.borrow_mut().forgets.extend(task);
    }
    fn set_status(
        &self,
        _group: u32,
        workload: u64,
        generation: u64,
        health: u32,
        rollout: u32,
        reason: &str,
        message: &str,
    ) {
        self.asked.borrow_mut().statuses.push(Said {
            workload,
            generation,
            health,
            rollout,
            reason: reason.to_owned(),
            message: message.to_owned(),
        });
    }
    fn set_good_generation(&self, _group: u32, workload: u64, generation: u64) {
        self.asked.borrow_mut().good.push((workload, generation));
    }
    fn quarantine(&self, _group: u32, workload: u64, generation: u64, _reason: &str) {
        self.asked
            .borrow_mut()
            .quarantined
            .push((workload, generation));
    }
    fn demand(&self, columns: &DemandColumns) {
        self.held.borrow_mut().clear();
        self.state_demand(columns);
    }
    fn change_demand(&self, columns: &DemandColumns) {
        self.state_demand(columns);
    }
    fn bytes_left(&self) -> u64 {
        self.turn_bytes.0
    }
    fn operations_left(&self) -> u32 {
        10_000
    }
    fn prices(&self) -> Vec<u32> {
        PRICES.to_vec()
    }
    fn wake_at(&self, at: u64) {
        let mut asked = self.asked.borrow_mut();
        asked.wake_at = Some(asked.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
    fn note(&self, workload: u64, text: &str) {
        self.asked
            .borrow_mut()
            .notes
            .push((workload, text.to_owned()));
    }
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.pair(key)
    }
    fn set(&self, _group: u32, key: &str, value: &[u8]) {
        self.pairs
            .borrow_mut()
            .insert(key.to_owned(), value.to_vec());
    }
    fn delete(&self, _group: u32, key: &str) {
        self.pairs.borrow_mut().remove(key);
    }
    fn list(&self, prefix: &str, after: &str) -> Vec<String> {
        self.pairs
            .borrow()
            .keys()
            .filter(|key| key.starts_with(prefix) && key.as_str() > after)
            .take(1024)
            .cloned()
            .collect()
    }
    fn log(&self, level: u32, line: &str) {
        self.asked.borrow_mut().log.push((level, line.to_owned()));
    }
}
