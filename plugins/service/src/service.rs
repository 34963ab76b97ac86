//! From turns to plans and back: which Services are looked at, and how their plans become
//! operations, demand and wake-ups.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::rc::Rc;

use kelson_sdk::serde_json::Value;
use kelson_sdk::{
    Agent, AgentState, Cluster, Demand, Description, Offer, Placement, Problem, Scheduler, Status,
    Task, Turn, Workload,
};

use crate::place::place;
use crate::plan::{Plan, plan_removal, plan_workload};
use crate::spec::{Ports, Spec};
use crate::status::unreadable;
use crate::view::{Start, View, Want};
use crate::{schema, validate};

/// Operations of one turn; the rest waits for the next, which is asked for at once.
const OPERATIONS: usize = 2000;
/// Bytes that are left for what one Service says beside the operations that can be cut: its status,
/// a rollback, notes.
const WORDS: u64 = 4096;
/// Slots and tasks looked at in one turn, at most; what a Service costs by itself is counted in
/// them too. It is half of what the fuel of a turn is enough for. A single larger Service is looked
/// at whole, which its largest number of instances keeps within the fuel.
const ROWS: usize = 12_000;
const ROWS_OF_A_SERVICE: usize = 40;

/// Where the seat's state keeps the Service that was looked at last, while there was no room for
/// all that are due.
const PLACE: &str = "place";

/// The scheduler of Services of one seat.
///
/// *Flow*: a turn looks at Services that were offered something, changed, were refused something,
/// or are due by time; each is planned whole, from its rows. Where there is no room for all, those
/// with offers come first, and the others go on in the next turn behind the one that was looked at
/// last, which the seat's state keeps. *Guarantees*: a Service with nothing to do costs nothing,
/// and none starves, however many wait. *Caveats*: what was said last is remembered only here, so a
/// restored instance may say it once more.
#[derive(Debug, Default)]
pub struct Service {
    memos: BTreeMap<u64, Memo>,
    /// To be looked at in the next turn in any case: the last one had no room for them.
    pending: BTreeSet<u64>,
    /// Asked for something in the last turn, which may have been refused.
    asked: BTreeSet<u64>,
    /// The Service that was looked at last when there was no room for all: the next turn begins
    /// behind it, so that none starves. Absent: there was room, or this instance has not taken a
    /// turn yet.
    last: Option<u64>,
    /// Whether `last` is known: a new instance reads it from the seat's state.
    is_begun: bool,
}

/// What is kept of one Service: a cache, all of it.
#[derive(Debug, Default)]
struct Memo {
    name: String,
    spec: Option<(u64, Rc<Spec>)>,
    /// Ports of generations beside the wanted one, while tasks of them are there or the newest was
    /// given up. Absent: not kept any more.
    ports: BTreeMap<u64, Option<Ports>>,
    said: Option<Status>,
    demand: Option<Demand>,
    wake_at: Option<u64>,
    /// A generation, and from when its deadline counts, where it has waited for room: as the seat's
    /// state has it.
    waited: Option<Option<(u64, u64)>>,
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
        let due = self.due(cluster, turn);
        self.asked.clear();
        let is_away = |agent: &&Agent| agent.state != AgentState::Ready;
        let away = cluster.agents().filter(is_away).map(|agent| agent.id);
        let unreachable: BTreeSet<u32> = away.collect();
        let mut rows = 0usize;
        if !std::mem::replace(&mut self.is_begun, true) {
            self.last = turn.read.state(PLACE).as_deref().and_then(number);
        }
        let begin = self.last.unwrap_or(0);
        let mut last = self.last;
        let offered: BTreeSet<u64> = offers.keys().map(|key| key >> KEY_BITS).collect();
        let behind = due.range((Bound::Excluded(begin), Bound::Unbounded));
        let others = behind.chain(due.range(..=begin));
        let others = others.filter(|id| !offered.contains(id));
        for id in offered.iter().chain(others).copied() {
            let Some(row) = cluster.workload(id) else {
                self.memos.remove(&id);
                continue;
            };
            if rows >= ROWS || room(turn) == 0 {
                self.pending.insert(id);
                continue;
            }
            rows += ROWS_OF_A_SERVICE + self.tend(row, &unreachable, cluster, &offers, turn);
            if !offered.contains(&id) {
                last = Some(id);
            }
        }
        self.keep_place(last.filter(|_| !self.pending.is_empty()), turn);
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
    /// Keeps the place at which the next turn goes on, for an instance that knows nothing else.
    fn keep_place(&mut self, last: Option<u64>, turn: &mut Turn<'_>) {
        match last {
            Some(id) if self.last != last => turn.set_state(PLACE, id.to_string().as_bytes()),
            None if self.last.is_some() => turn.delete_state(PLACE),
            Some(_) | None => {}
        }
        self.last = last;
    }

    /// Finds the Services to look at; leaves nothing pending.
    fn due(&mut self, cluster: &Cluster, turn: &Turn<'_>) -> BTreeSet<u64> {
        let mut due = std::mem::take(&mut self.pending);
        due.extend(&cluster.changes().workloads);
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
                memo.say(&row, unreadable(row.generation, want, &error).into(), turn);
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
                    memo.say(&row, unreadable(row.generation, want, &error).into(), turn);
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
        if row.is_gone || plan.is_good || want.is_rollback {
            memo.drop_waited(row.id, turn);
        } else if let Some(from) = plan.counted_from
            && unmet.len() < plan.starts.len()
        {
            memo.keep_waited(row.id, (want.generation, from), turn);
        }
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
                plan.miss_offers(&unmet, &spec.shape, turn.now);
            }
        }
        memo.wake_at = plan.wake_at.filter(|at| *at > turn.now);
        if let Some(status) = plan.status {
            memo.say(&row, status.into(), turn);
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
        let is_settled = want.is_rollback || row.good_generation == Some(row.generation);
        let waited = (!is_settled).then(|| self.waited(row.id, turn)).flatten();
        let counted_from = waited.filter(|(generation, _)| *generation == want.generation);
        let is_port_shared = self.is_port_shared(row, want, &spec.ports, tasks, turn);
        let is_port_fixed = if want.is_rollback {
            let newest = self.ports_of(row.id, row.generation, turn);
            newest.is_some_and(|ports| !ports.fixed.is_empty())
        } else {
            !spec.ports.fixed.is_empty()
        };
        let view = View {
            row,
            want,
            spec: &spec,
            is_port_shared,
            is_port_fixed,
            name: &self.name,
            now: turn.now,
            counted_from: counted_from.map(|(_, from)| from),
            is_reachable: &|agent| !unreachable.contains(&agent),
            end_of: &|task| turn.read.end_of(task),
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

    /// Whether a task of another version may hold a port that is asked for by its number; one whose
    /// specification is not kept may.
    fn is_port_shared(
        &mut self,
        row: &Workload,
        want: Want,
        wanted: &Ports,
        tasks: &[&Task],
        turn: &Turn<'_>,
    ) -> bool {
        let others: BTreeSet<u64> = tasks
            .iter()
            .filter(|task| !task.state.is_terminal() && task.template_id != want.template_id)
            .map(|task| task.generation)
            .collect();
        self.ports.retain(|generation, _| {
            others.contains(generation) || want.is_rollback && *generation == row.generation
        });
        !wanted.fixed.is_empty()
            && others.into_iter().any(|generation| {
                let ports = self.ports_of(row.id, generation, turn);
                ports.is_none_or(|ports| ports.may_hold_one_of(wanted))
            })
    }

    fn ports_of(&mut self, workload: u64, generation: u64, turn: &Turn<'_>) -> Option<&Ports> {
        let ports = self.ports.entry(generation).or_insert_with(|| {
            let spec = turn.read.spec(workload, generation)?;
            Some(Ports::read(&spec))
        });
        ports.as_ref()
    }

    fn waited(&mut self, workload: u64, turn: &Turn<'_>) -> Option<(u64, u64)> {
        *self.waited.get_or_insert_with(|| {
            let value = turn.read.state(&waited_key(workload))?;
            let text = std::str::from_utf8(&value).ok()?;
            let (generation, from) = text.split_once(' ')?;
            Some((generation.parse().ok()?, from.parse().ok()?))
        })
    }

    /// Notes from when the deadline of a generation counts.
    fn keep_waited(&mut self, workload: u64, waited: (u64, u64), turn: &mut Turn<'_>) {
        let value = format!("{} {}", waited.0, waited.1);
        turn.set_state(&waited_key(workload), value.as_bytes());
        self.waited = Some(Some(waited));
    }

    /// Drops that note: there is no deadline any more.
    fn drop_waited(&mut self, workload: u64, turn: &mut Turn<'_>) {
        if self.waited(workload, turn).is_some() {
            turn.delete_state(&waited_key(workload));
            self.waited = Some(None);
        }
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

fn waited_key(workload: u64) -> String {
    format!("waited/{workload}")
}

fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
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
