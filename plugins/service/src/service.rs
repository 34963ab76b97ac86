//! From turns to plans and back: which Services are looked at, and how their plans become
//! operations, demand and wake-ups.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::rc::Rc;

use kelson_sdk::serde_json::Value;
use kelson_sdk::{
    Agent, AgentState, Cluster, Demand, Description, Health, Offer, Placement, Problem, Rollout,
    Scheduler, Status, Task, Turn, Workload,
};

use crate::place::place;
use crate::plan::{Plan, Start, View, Want, plan_removal, plan_workload, tell_missing_offers};
use crate::spec::Spec;
use crate::{schema, validate};

/// Operations of one turn; the rest waits for the next, which is asked for at once.
const OPERATIONS: usize = 2000;
/// Bytes that are left for what one Service says beside the operations that can be cut: its status,
/// a rollback, notes.
const WORDS: u64 = 4096;
/// Slots and tasks looked at in one turn, whatever a Service costs by itself counted as this many:
/// half of what the fuel of a turn is enough for. A single larger Service is looked at whole, which
/// its largest number of instances keeps within the fuel.
const ROWS: usize = 12_000;
const ROWS_OF_A_SERVICE: usize = 40;

/// The scheduler of Services of one seat.
///
/// *Flow*: a turn looks at Services that changed, were offered something, were refused something,
/// or are due by time; each is planned whole, from its rows. *Guarantees*: a Service with nothing
/// to do costs nothing. *Caveats*: what was said last is remembered only here, so a restored
/// instance may say it once more.
#[derive(Debug, Default)]
pub struct Service {
    memos: BTreeMap<u64, Memo>,
    /// To be looked at in the next turn in any case: the last one had no room for them.
    pending: BTreeSet<u64>,
    /// Asked for something in the last turn, which may have been refused.
    asked: BTreeSet<u64>,
    /// The Service that was looked at last when there was no room for all: the next turn begins
    /// behind it, so that none starves.
    last: u64,
}

/// What is kept of one Service: a cache, all of it.
#[derive(Debug, Default)]
struct Memo {
    name: String,
    spec: Option<(u64, Rc<Spec>)>,
    said: Option<Status>,
    demand: Option<Demand>,
    wake_at: Option<u64>,
}

impl Scheduler for Service {
    fn describe() -> Description {
        schema::description()
    }

    fn validate(_kind: &str, spec: &Value) -> Vec<Problem> {
        validate::problems(spec)
    }

    fn turn(&mut self, cluster: &Cluster, turn: &mut Turn<'_>) -> Result<(), String> {
        let mut offers: BTreeMap<u64, Vec<Offer>> = BTreeMap::new();
        for offer in turn.offers() {
            offers.entry(offer.key).or_default().push(offer);
        }
        let due = self.due(cluster, turn, &offers);
        self.asked.clear();
        let is_away = |agent: &&Agent| agent.state != AgentState::Ready;
        let away = cluster.agents().filter(is_away).map(|agent| agent.id);
        let unreachable: BTreeSet<u32> = away.collect();
        let mut rows = 0usize;
        let mut last = self.last;
        let behind = due.range((Bound::Excluded(self.last), Bound::Unbounded));
        for id in behind.chain(due.range(..=self.last)).copied() {
            let Some(row) = cluster.workload(id) else {
                self.memos.remove(&id);
                continue;
            };
            if rows >= ROWS || room(turn) == 0 {
                self.pending.insert(id);
                continue;
            }
            rows += ROWS_OF_A_SERVICE + self.tend(row, &unreachable, cluster, &offers, turn);
            last = id;
        }
        self.last = if self.pending.is_empty() { 0 } else { last };
        if !self.pending.is_empty() {
            turn.wake_at(turn.now);
        }
        if let Some(at) = self.memos.values().filter_map(|memo| memo.wake_at).min() {
            turn.wake_at(at);
        }
        let demand = self.memos.values().filter_map(|memo| memo.demand.clone());
        turn.set_demand(demand.collect());
        Ok(())
    }
}

impl Service {
    /// Finds the Services to look at; leaves nothing pending.
    fn due(
        &mut self,
        cluster: &Cluster,
        turn: &Turn<'_>,
        offers: &BTreeMap<u64, Vec<Offer>>,
    ) -> BTreeSet<u64> {
        let mut due = std::mem::take(&mut self.pending);
        due.extend(&cluster.changes().workloads);
        due.extend(offers.keys().map(|key| key >> KEY_BITS));
        if !turn.refusals().is_empty() {
            due.extend(&self.asked);
        }
        let is_due = |memo: &Memo| memo.wake_at.is_some_and(|at| at <= turn.now);
        due.extend(
            self.memos
                .iter()
                .filter(|(_, memo)| is_due(memo))
                .map(|(id, _)| id),
        );
        let agents = &cluster.changes().agents;
        if !agents.is_empty() {
            let touched = cluster.tasks().filter(|task| agents.contains(&task.agent));
            due.extend(touched.map(|task| task.workload));
        }
        due
    }

    /// Plans one Service and asks for what its plan says. Returns how many slots and tasks were
    /// looked at.
    fn tend(
        &mut self,
        row: &Workload,
        unreachable: &BTreeSet<u32>,
        cluster: &Cluster,
        offers: &BTreeMap<u64, Vec<Offer>>,
        turn: &mut Turn<'_>,
    ) -> usize {
        let tasks: Vec<&Task> = cluster.tasks_of(row.id).collect();
        let memo = self.memos.entry(row.id).or_default();
        memo.demand = None;
        memo.wake_at = None;
        if memo.name.is_empty() {
            memo.name = turn.read.name(row.id);
        }
        let mut row = row.clone();
        // A workload without tasks may have left without a last row.
        row.is_gone |= !turn.read.is_known(row.id);
        let mut want = Want::of(&row);
        let planned = if row.is_gone {
            Ok(plan_removal(tasks.iter().copied()))
        } else {
            memo.plan(&row, want, unreachable, &tasks, turn)
        };
        let mut plan = match planned {
            Ok(plan) => plan,
            Err(error) => {
                memo.say(&row, unreadable(&row, want, &error), turn);
                return tasks.len();
            }
        };
        if plan.is_given_up {
            turn.quarantine(row.id, row.generation, "ProgressDeadline");
            row.quarantined_generation = Some(row.generation);
            want = Want::of(&row);
            turn.note(
                row.id,
                format!(
                    "generation {} made no progress and is given up; going back to generation {}",
                    row.generation, want.generation
                ),
            );
            plan = match memo.plan(&row, want, unreachable, &tasks, turn) {
                Ok(plan) => plan,
                Err(error) => {
                    memo.say(&row, unreadable(&row, want, &error), turn);
                    return tasks.len();
                }
            };
        }
        if plan.is_good {
            turn.set_good_generation(row.id, row.generation);
        }
        let mut is_cut = false;
        for (task, reason) in &plan.kills {
            is_cut |= room(turn) == 0;
            if !is_cut {
                turn.kill(*task, *reason);
            }
        }
        let unmet = launch(&plan, want, &row, &tasks, offers, turn);
        for task in &plan.forgets {
            is_cut |= room(turn) == 0;
            if !is_cut {
                turn.forget(*task);
            }
        }
        if is_cut {
            self.pending.insert(row.id);
        }
        if !plan.is_idle() {
            self.asked.insert(row.id);
        }
        if !unmet.is_empty() {
            memo.demand = Some(Demand {
                key: key_of(row.id, want.generation),
                workload: row.id,
                generation: want.generation,
                template: 0,
                count: u32::try_from(unmet.len()).unwrap_or(u32::MAX),
                placement: Placement::Spread,
                priority: 0,
            });
            let had_offers = offers.contains_key(&key_of(row.id, want.generation));
            if let Some((_, spec)) = memo.spec.as_ref().filter(|_| !had_offers) {
                tell_missing_offers(&mut plan, &unmet, &spec.shape, turn.now);
            }
        }
        memo.wake_at = plan.wake_at.filter(|at| *at > turn.now);
        if let Some(status) = plan.status {
            memo.say(&row, status, turn);
        }
        let instances = memo.spec.as_ref().map_or(0, |(_, spec)| spec.instances);
        tasks
            .len()
            .max(usize::try_from(instances).unwrap_or(usize::MAX))
    }
}

impl Memo {
    fn plan(
        &mut self,
        row: &Workload,
        want: Want,
        unreachable: &BTreeSet<u32>,
        tasks: &[&Task],
        turn: &Turn<'_>,
    ) -> Result<Plan, String> {
        let spec = self.spec(row.id, want.generation, turn)?;
        let view = View {
            row,
            want,
            spec: &spec,
            name: &self.name,
            now: turn.now,
            is_reachable: &|agent| !unreachable.contains(&agent),
        };
        Ok(plan_workload(&view, tasks.iter().copied()))
    }

    fn spec(
        &mut self,
        workload: u64,
        generation: u64,
        turn: &Turn<'_>,
    ) -> Result<Rc<Spec>, String> {
        if let Some((known, spec)) = &self.spec
            && *known == generation
        {
            return Ok(Rc::clone(spec));
        }
        let value = turn
            .read
            .spec(workload, generation)
            .ok_or("is not kept any more")?;
        let spec = Rc::new(Spec::read(&value)?);
        self.spec = Some((generation, Rc::clone(&spec)));
        Ok(spec)
    }

    fn say(&mut self, row: &Workload, status: Status, turn: &mut Turn<'_>) {
        if self.said.as_ref() != Some(&status) {
            turn.set_status(row.id, status.clone());
            self.said = Some(status);
        }
    }
}

/// How many more launches, kills and forgets this turn has room for.
fn room(turn: &Turn<'_>) -> usize {
    let bytes = turn.bytes_left().saturating_sub(WORDS) / turn.bytes_of_launches(1).max(1);
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    bytes.min(OPERATIONS.saturating_sub(turn.operations()))
}

/// Launches what offers were found for; what remains is demand.
fn launch(
    plan: &Plan,
    want: Want,
    row: &Workload,
    tasks: &[&Task],
    offers: &BTreeMap<u64, Vec<Offer>>,
    turn: &mut Turn<'_>,
) -> Vec<Start> {
    let Some(offers) = offers.get(&key_of(row.id, want.generation)) else {
        return plan.starts.clone();
    };
    let mut load: BTreeMap<u32, u32> = BTreeMap::new();
    for task in tasks.iter().filter(|task| task.is_live()) {
        *load.entry(task.agent).or_default() += 1;
    }
    let room = room(turn);
    let now = plan.starts.get(..room).unwrap_or(&plan.starts);
    let later = plan.starts.get(room..).unwrap_or_default();
    let (placed, mut unmet) = place(now, offers, &load);
    for placed in placed {
        turn.launch(row.id, want.generation, 0, placed.slot, &placed.offer);
    }
    unmet.extend(later);
    unmet
}

fn unreadable(row: &Workload, want: Want, error: &str) -> Status {
    Status {
        generation: row.generation,
        health: Health::Degraded,
        rollout: if want.is_rollback {
            Rollout::RolledBack
        } else {
            Rollout::Progressing
        },
        reason: "BadSpecification".to_owned(),
        message: format!(
            "the specification of generation {} {error}",
            want.generation
        ),
    }
}

const KEY_BITS: u32 = 10;

/// Names the demand of a generation, so that an offer for an older one is recognised: launching
/// from it would void the turn.
fn key_of(workload: u64, generation: u64) -> u64 {
    (workload << KEY_BITS) | (generation & ((1 << KEY_BITS) - 1))
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
