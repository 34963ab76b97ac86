//! A kernel and its agents for tests of the scheduler.

use std::collections::{BTreeMap, BTreeSet};

use kelson_sdk::serde_json::json;
use kelson_sdk::testing::{Asked, Said, Stage, Stated};
use kelson_sdk::{Check, Offer, Refusal, Runner, Task, TaskState, Workload};

use super::super::{OPERATIONS, Service, key_of};

/// What the tasks of a template do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Conduct {
    Works,
    Crashes,
    NeverHealthy,
    PortTaken,
}

/// A kernel and its agents, small enough to check every rule at every step.
pub(super) struct World {
    pub(super) runner: Runner<Service>,
    pub(super) stage: Stage,
    pub(super) now: u64,
    pub(super) turns: u64,
    /// Tasks that fit on each of the agents.
    pub(super) room: Vec<u32>,
    pub(super) rows: BTreeMap<u64, Workload>,
    pub(super) tasks: BTreeMap<u64, Task>,
    pub(super) changed: BTreeSet<u64>,
    pub(super) changed_rows: BTreeSet<u64>,
    pub(super) gone: Vec<Task>,
    pub(super) refusals: Vec<Refusal>,
    pub(super) demand: Vec<Stated>,
    pub(super) wake_at: Option<u64>,
    pub(super) said: BTreeMap<u64, Said>,
    pub(super) conduct: BTreeMap<u64, Conduct>,
    pub(super) launched: u32,
    pub(super) most_live: usize,
    pub(super) least_served: usize,
}

pub(super) fn spec(instances: u32, surge: u32, unavailable: u32) -> String {
    json!({
        "instances": instances,
        "run": {"command": "x"},
        "resources": {"cpus": "0.1", "memory": "128Mi", "disk": "0"},
        "ports": [],
        "restart": {"backoff": {"initial": "1s", "factor": 1.15, "max": "300s"}},
        "update": {"maxUnavailable": unavailable, "maxSurge": surge, "minHealthyTime": "5s", "progressDeadline": "2m", "onFailure": "rollback"}
    })
    .to_string()
}

impl World {
    pub(super) fn new(room: &[u32]) -> Self {
        Self {
            runner: Runner::default(),
            stage: Stage::default(),
            now: 1000,
            turns: 0,
            room: room.to_vec(),
            rows: BTreeMap::new(),
            tasks: BTreeMap::new(),
            changed: BTreeSet::new(),
            changed_rows: BTreeSet::new(),
            gone: Vec::new(),
            refusals: Vec::new(),
            demand: Vec::new(),
            wake_at: None,
            said: BTreeMap::new(),
            conduct: BTreeMap::new(),
            launched: 0,
            most_live: 0,
            least_served: usize::MAX,
        }
    }

    /// A commit: the next generation of workload 1.
    pub(super) fn commit(&mut self, template_id: u64, spec: &str) {
        self.commit_of(1, template_id, spec);
    }

    pub(super) fn commit_of(&mut self, id: u64, template_id: u64, spec: &str) {
        let row = self.rows.entry(id).or_insert(Workload {
            id,
            generation: 0,
            good_generation: None,
            quarantined_generation: None,
            template_id,
            good_template_id: None,
            generation_since: 0,
            kind: 0,
            is_gone: false,
        });
        row.generation += 1;
        row.template_id = template_id;
        row.generation_since = self.now;
        let key = (id, row.generation);
        self.stage.specs.insert(key, spec.to_owned());
        self.stage.names.insert(id, format!("web{id}"));
        self.changed_rows.insert(id);
        (self.most_live, self.least_served) = (0, usize::MAX);
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().filter(|task| task.is_live())
    }

    /// A new instance, as after a kernel restart.
    pub(super) fn forget_instance(&mut self) {
        self.runner = Runner::default();
        self.stage.workloads = self.rows.values().cloned().collect();
        self.stage.tasks = self
            .tasks
            .values()
            .map(|task| (task.clone(), false))
            .collect();
        self.runner.restore(&self.stage).unwrap();
        self.stage.take();
    }

    /// Offers for the demand, each agent used no more than it can hold.
    pub(super) fn cut(&self) -> Vec<Offer> {
        let mut free: Vec<u32> = self.room.clone();
        for task in self.tasks.values().filter(|task| !task.state.is_terminal()) {
            let agent = usize::try_from(task.agent).unwrap();
            free[agent] = free[agent].saturating_sub(1);
        }
        let mut offers = Vec::new();
        for demand in &self.demand {
            let mut left = demand.count;
            for (agent, free) in free.iter_mut().enumerate() {
                let count = left.min(*free);
                if count > 0 {
                    *free -= count;
                    left -= count;
                    offers.push(Offer {
                        id: u32::try_from(offers.len()).unwrap(),
                        key: demand.key,
                        agent: u32::try_from(agent).unwrap(),
                        count,
                    });
                }
            }
        }
        offers
    }

    /// One turn, checked as the kernel checks it. Returns what was asked for.
    pub(super) fn turn(&mut self) -> Asked {
        self.turns += 1;
        let offers = self.cut();
        self.stage.offers = offers.clone();
        self.stage.refusals = std::mem::take(&mut self.refusals);
        let rows = std::mem::take(&mut self.changed_rows);
        self.stage.workloads = rows
            .iter()
            .filter_map(|id| self.rows.get(id).cloned())
            .collect();
        let changed = std::mem::take(&mut self.changed);
        let tasks = changed.iter().filter_map(|id| self.tasks.get(id).cloned());
        self.stage.tasks = tasks.map(|task| (task, false)).collect();
        self.stage
            .tasks
            .extend(self.gone.drain(..).map(|task| (task, true)));
        self.wake_at = None;
        self.runner
            .turn(&self.stage, self.now, 0, self.turns)
            .unwrap();
        let asked = self.stage.take();
        self.carry_out(&asked, &offers);
        asked
    }

    pub(super) fn carry_out(&mut self, asked: &Asked, offers: &[Offer]) {
        let operations = asked.launches.len() + asked.kills.len() + asked.forgets.len();
        assert!(operations <= OPERATIONS + 10, "{operations} operations");
        for (id, _) in &asked.kills {
            let task = self.tasks.get_mut(id).expect("its own task");
            assert!(task.is_live(), "ended twice");
            task.is_stop_asked = true;
            self.changed.insert(*id);
        }
        for (id, generation) in &asked.good {
            let row = self.rows.get_mut(id).unwrap();
            row.good_generation = Some(*generation);
            row.good_template_id = Some(row.template_id);
            self.changed_rows.insert(*id);
        }
        for (id, generation) in &asked.quarantined {
            self.rows.get_mut(id).unwrap().quarantined_generation = Some(*generation);
            self.changed_rows.insert(*id);
        }
        let mut used: BTreeMap<u32, u32> = BTreeMap::new();
        for launch in &asked.launches {
            let offer = offers
                .iter()
                .find(|offer| offer.id == launch.offer)
                .expect("an offer of this turn");
            let count = used.entry(offer.id).or_default();
            *count += 1;
            assert!(*count <= offer.count, "more than was offered");
            assert_eq!(offer.key, key_of(launch.workload, launch.generation));
            let row = &self.rows[&launch.workload];
            assert_ne!(row.quarantined_generation, Some(launch.generation));
            let template_id = if launch.generation == row.generation {
                row.template_id
            } else {
                row.good_template_id.unwrap()
            };
            self.launched += 1;
            let id = u64::from(self.launched);
            let before = self.tasks.values().filter(|task| {
                task.workload == launch.workload
                    && task.slot == launch.slot
                    && task.template_id == template_id
            });
            let attempts = match before.max_by_key(|task| task.id) {
                Some(task)
                    if task.state.is_terminal()
                        && !(task.is_ended_by_hand && task.is_stop_asked) =>
                {
                    task.attempts + 1
                }
                _ => 1,
            };
            self.tasks.insert(
                id,
                Task {
                    id,
                    workload: launch.workload,
                    generation: launch.generation,
                    template: 0,
                    template_id,
                    slot: launch.slot,
                    agent: offer.agent,
                    state: TaskState::Staging,
                    health: Check::Unknown,
                    is_ready: false,
                    is_stop_asked: false,
                    is_ended_by_hand: false,
                    is_out_of_memory: false,
                    is_agent_lost: false,
                    is_port_taken: false,
                    state_since: self.now,
                    healthy_since: None,
                    exit_code: None,
                    attempts,
                },
            );
            self.changed.insert(id);
        }
        for id in &asked.forgets {
            let task = self.tasks.remove(id).expect("its own task");
            assert!(task.state.is_terminal(), "forgotten alive");
            self.gone.push(task);
        }
        for said in &asked.statuses {
            self.said.insert(said.workload, said.clone());
        }
        if let Some(demand) = &asked.demand {
            self.demand = demand.clone();
        }
        self.wake_at = asked.wake_at;
    }

    /// What the agents do next. Returns whether anything happened.
    pub(super) fn act(&mut self) -> bool {
        let now = self.now;
        let mut is_news = false;
        for task in self.tasks.values_mut() {
            let conduct = self
                .conduct
                .get(&task.template_id)
                .copied()
                .unwrap_or(Conduct::Works);
            let next = match task.state {
                TaskState::Staging
                | TaskState::Starting
                | TaskState::Running
                | TaskState::Stopping
                    if task.is_stop_asked =>
                {
                    TaskState::Killed
                }
                TaskState::Staging if conduct == Conduct::Crashes => TaskState::Failed,
                TaskState::Staging if conduct == Conduct::PortTaken => TaskState::Failed,
                TaskState::Staging => TaskState::Running,
                other => other,
            };
            if next != task.state {
                task.state = next;
                task.state_since = now;
                let works = next == TaskState::Running && conduct == Conduct::Works;
                task.is_ready = works;
                if next == TaskState::Running {
                    task.health = if works {
                        Check::Healthy
                    } else {
                        Check::Unknown
                    };
                    task.healthy_since = works.then_some(now);
                }
                task.is_port_taken = next == TaskState::Failed && conduct == Conduct::PortTaken;
                task.exit_code = (next == TaskState::Failed && !task.is_port_taken).then_some(1);
                self.changed.insert(task.id);
                is_news = true;
            }
        }
        is_news
    }

    pub(super) fn watch(&mut self) {
        self.most_live = self.most_live.max(self.live().count());
        let served: BTreeSet<u32> = self
            .live()
            .filter(|task| task.is_ready)
            .map(|task| task.slot)
            .collect();
        self.least_served = self.least_served.min(served.len());
    }

    /// Goes on until nothing happens any more, or until cluster time `end`.
    pub(super) fn run_until(&mut self, end: u64) {
        for _ in 0..2000 {
            self.turn();
            self.watch();
            let is_news = self.act();
            self.watch();
            let has_rows = !self.changed.is_empty() || !self.changed_rows.is_empty();
            if is_news || has_rows || !self.cut().is_empty() || !self.gone.is_empty() {
                continue;
            }
            match self.wake_at {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => return,
            }
        }
        unreachable!("it never came to rest: {:?}", self.said);
    }

    pub(super) fn run(&mut self) {
        self.run_until(u64::MAX);
    }

    pub(super) fn said(&self) -> &Said {
        &self.said[&1]
    }
}
