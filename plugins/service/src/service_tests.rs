#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests"
)]

use kelson_sdk::serde_json::json;
use kelson_sdk::testing::{Asked, Said, Stage, Stated};
use kelson_sdk::{Agent, AgentState, Check, Refusal, Runner, Task, TaskState};

use super::*;

/// What the tasks of a template do.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Conduct {
    Works,
    Crashes,
    NeverHealthy,
}

/// A kernel and its agents, small enough to check every rule at every step.
struct World {
    runner: Runner<Service>,
    stage: Stage,
    now: u64,
    turns: u64,
    /// Tasks that fit on each of the agents.
    room: Vec<u32>,
    rows: BTreeMap<u64, Workload>,
    tasks: BTreeMap<u64, Task>,
    changed: BTreeSet<u64>,
    changed_rows: BTreeSet<u64>,
    gone: Vec<Task>,
    refusals: Vec<Refusal>,
    demand: Vec<Stated>,
    wake_at: Option<u64>,
    said: BTreeMap<u64, Said>,
    conduct: BTreeMap<u64, Conduct>,
    launched: u32,
    most_live: usize,
    least_served: usize,
}

fn spec(instances: u32, surge: u32, unavailable: u32) -> String {
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
    fn new(room: &[u32]) -> Self {
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
    fn commit(&mut self, template_id: u64, spec: &str) {
        self.commit_of(1, template_id, spec);
    }

    fn commit_of(&mut self, id: u64, template_id: u64, spec: &str) {
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
            is_suspended: false,
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

    fn live(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().filter(|task| task.is_live())
    }

    /// A new instance, as after a kernel restart.
    fn forget_instance(&mut self) {
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
    fn cut(&self) -> Vec<Offer> {
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
    fn turn(&mut self) -> Asked {
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

    fn carry_out(&mut self, asked: &Asked, offers: &[Offer]) {
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
                Some(task) if task.state.is_terminal() && !task.is_ended_by_hand => {
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
    fn act(&mut self) -> bool {
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
                task.exit_code = (next == TaskState::Failed).then_some(1);
                self.changed.insert(task.id);
                is_news = true;
            }
        }
        is_news
    }

    fn watch(&mut self) {
        self.most_live = self.most_live.max(self.live().count());
        let served: BTreeSet<u32> = self
            .live()
            .filter(|task| task.is_ready)
            .map(|task| task.slot)
            .collect();
        self.least_served = self.least_served.min(served.len());
    }

    /// Goes on until nothing happens any more, or until cluster time `end`.
    fn run_until(&mut self, end: u64) {
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

    fn run(&mut self) {
        self.run_until(u64::MAX);
    }

    fn said(&self) -> &Said {
        &self.said[&1]
    }
}

const HEALTHY: (u32, u32) = (0, 1);
const ROLLED_BACK: (u32, u32) = (2, 2);

#[test]
fn a_service_becomes_healthy_and_comes_to_rest() {
    let mut world = World::new(&[2, 2]);
    world.commit(100, &spec(3, 1, 0));
    world.run();
    assert_eq!((world.said().health, world.said().rollout), HEALTHY);
    assert_eq!(world.rows[&1].good_generation, Some(1));
    assert_eq!(world.launched, 3);
    let agents: BTreeSet<u32> = world.live().map(|task| task.agent).collect();
    assert_eq!(agents.len(), 2, "spread");
    assert_eq!(
        world.turn(),
        Asked::default(),
        "nothing to do, nothing asked"
    );
}

#[test]
fn a_restored_instance_asks_for_nothing_new() {
    let mut world = World::new(&[8]);
    world.commit(100, &spec(3, 1, 0));
    world.run();
    world.forget_instance();
    let asked = world.turn();
    assert!(asked.launches.is_empty() && asked.kills.is_empty() && asked.forgets.is_empty());
    assert_eq!(asked.statuses.first(), Some(world.said()), "the same again");
}

#[test]
fn a_rollout_never_serves_less_nor_takes_more_than_it_may() {
    for (surge, unavailable) in [(1, 0), (0, 1), (2, 0), (0, 3), (2, 2), (1, 1)] {
        let mut world = World::new(&[20]);
        world.commit(100, &spec(5, surge, unavailable));
        world.run();
        world.commit(200, &spec(5, surge, unavailable));
        world.run();
        let name = format!("surge {surge}, unavailable {unavailable}");
        assert_eq!(
            (world.said().health, world.said().rollout),
            HEALTHY,
            "{name}"
        );
        assert!(world.live().all(|task| task.template_id == 200), "{name}");
        assert_eq!(world.live().count(), 5, "{name}");
        let (surge, unavailable) = (
            usize::try_from(surge).unwrap(),
            usize::try_from(unavailable).unwrap(),
        );
        // Neither more than is allowed, nor less: a rollout that dawdles is wrong too.
        assert_eq!(world.most_live, 5 + surge, "{name}");
        assert_eq!(world.least_served, 5 - unavailable, "{name}");
        assert_eq!(world.launched, 10, "{name}: each task once");
    }
}

#[test]
fn a_rollout_by_instances_that_are_restored_at_every_turn_ends_the_same() {
    let mut world = World::new(&[9, 9]);
    world.commit(100, &spec(4, 1, 0));
    world.run();
    world.commit(200, &spec(4, 1, 0));
    for _ in 0..60 {
        world.forget_instance();
        world.turn();
        world.watch();
        if !world.act() && world.cut().is_empty() && world.changed.is_empty() {
            world.now = world.wake_at.unwrap_or(world.now);
        }
    }
    assert_eq!((world.said().health, world.said().rollout), HEALTHY);
    assert_eq!(
        (world.launched, world.most_live, world.least_served),
        (8, 5, 4)
    );
}

#[test]
fn a_broken_version_is_rolled_back_and_nobody_notices() {
    for conduct in [Conduct::Crashes, Conduct::NeverHealthy] {
        let mut world = World::new(&[20]);
        world.conduct.insert(200, conduct);
        world.commit(100, &spec(3, 1, 0));
        world.run();
        world.commit(200, &spec(3, 1, 0));
        world.run();
        assert_eq!(
            (world.said().health, world.said().rollout),
            ROLLED_BACK,
            "{conduct:?}"
        );
        assert_eq!(world.said().reason, "RolledBack");
        let why = if conduct == Conduct::Crashes {
            "failed (web1.0 exited with status 1)"
        } else {
            "did not become healthy in time"
        };
        assert_eq!(
            world.said().message,
            format!("generation 2 {why} and was rolled back; generation 1 runs: 3 of 3 healthy")
        );
        assert_eq!(world.rows[&1].quarantined_generation, Some(2));
        assert_eq!(world.least_served, 3, "{conduct:?}");
        assert!(world.live().all(|task| task.template_id == 100));
        let tried: BTreeSet<u32> = world
            .tasks
            .values()
            .filter(|task| task.template_id == 200)
            .map(|task| task.slot)
            .collect();
        assert!(tried.len() <= 1, "{conduct:?}: tried in {tried:?}");
        // What git says next is tried again.
        world.commit(300, &spec(3, 1, 0));
        world.run();
        assert_eq!((world.said().health, world.said().rollout), HEALTHY);
        assert!(world.live().all(|task| task.template_id == 300));
    }
}

#[test]
fn a_rollback_in_the_middle_brings_back_what_had_gone() {
    let mut world = World::new(&[20]);
    world.commit(100, &spec(4, 1, 0));
    world.run();
    world.commit(200, &spec(4, 1, 0));
    let begin = world.now;
    world.run_until(begin + 11_000);
    let gone_over = world
        .live()
        .filter(|task| task.template_id == 200 && task.is_ready)
        .count();
    assert!((1..4).contains(&gone_over), "{gone_over}");
    world.conduct.insert(200, Conduct::Crashes);
    world.run();
    assert_eq!((world.said().health, world.said().rollout), ROLLED_BACK);
    assert!(world.live().all(|task| task.template_id == 100));
    assert_eq!(world.live().count(), 4);
    assert_eq!(world.least_served, 4);
}

#[test]
fn a_first_version_that_crashes_backs_off_and_is_not_given_up() {
    let mut world = World::new(&[4]);
    world.conduct.insert(100, Conduct::Crashes);
    world.commit(100, &spec(1, 1, 0));
    world.run_until(60_000);
    assert_eq!((world.said().health, world.said().rollout), (2, 0));
    assert_eq!(world.said().reason, "CrashLoop");
    assert_eq!(world.rows[&1].quarantined_generation, None);
    assert!((10..30).contains(&world.launched), "{}", world.launched);
    assert!(world.tasks.len() <= 3, "old failures are forgotten");
}

#[test]
fn too_little_room_is_told_and_used_when_it_comes() {
    let mut world = World::new(&[2]);
    world.commit(100, &spec(3, 1, 0));
    world.run_until(20_000);
    assert_eq!(world.said().reason, "NoOffers");
    assert_eq!(
        world.said().message,
        "2 of 3 healthy; no offers for 1 task of 0.1 cpus and 128Mi"
    );
    assert_eq!(world.demand.len(), 1);
    world.room[0] = 3;
    world.run();
    assert_eq!((world.said().health, world.said().rollout), HEALTHY);
    assert!(world.demand.is_empty());
}

#[test]
fn scaling_up_and_down_leaves_the_others_alone() {
    let mut world = World::new(&[20]);
    world.commit(100, &spec(2, 1, 0));
    world.run();
    world.commit(100, &spec(5, 1, 0));
    world.run();
    assert_eq!(world.launched, 5);
    world.commit(100, &spec(1, 1, 0));
    world.run();
    let left: Vec<u64> = world.tasks.keys().copied().collect();
    assert_eq!(left, [1], "the first is the one that it was");
    assert_eq!(world.rows[&1].good_generation, Some(3));
}

#[test]
fn a_removed_service_leaves_nothing() {
    let mut world = World::new(&[20]);
    world.commit(100, &spec(3, 1, 0));
    world.run();
    world.rows.get_mut(&1).unwrap().is_gone = true;
    world.changed_rows.insert(1);
    world.run();
    assert!(world.tasks.is_empty());
    assert_eq!(world.runner.cluster().workloads().count(), 0);
}

#[test]
fn a_service_that_left_without_a_last_row_is_not_waited_for() {
    let mut world = World::new(&[0]);
    world.commit(100, &spec(3, 1, 0));
    world.turn();
    assert_eq!(world.demand.len(), 1);
    world.stage.names.clear();
    world.run_until(600_000);
    assert!(world.demand.is_empty());
}

#[test]
fn a_killed_task_is_replaced() {
    let mut world = World::new(&[20]);
    world.commit(100, &spec(2, 1, 0));
    world.run();
    let now = world.now;
    let task = world.tasks.get_mut(&1).unwrap();
    (task.state, task.state_since, task.is_ready) = (TaskState::Failed, now, false);
    task.is_ended_by_hand = true;
    world.changed.insert(1);
    world.run();
    assert_eq!((world.said().health, world.said().rollout), HEALTHY);
    assert_eq!(world.launched, 3);
    assert!(
        world.now - now < 6000,
        "it lived long enough to be replaced at once"
    );
}

#[test]
fn an_offer_for_an_older_generation_is_left() {
    let mut world = World::new(&[20]);
    world.commit(100, &spec(2, 1, 0));
    world.turn();
    assert_eq!(world.demand[0].generation, 1);
    world.commit(200, &spec(2, 1, 0));
    let asked = world.turn();
    assert!(asked.launches.is_empty(), "launching would void the turn");
    assert_eq!(world.demand[0].generation, 2);
    world.run();
    assert!(world.live().all(|task| task.template_id == 200));
}

#[test]
fn a_refused_launch_is_asked_for_again() {
    let mut world = World::new(&[20]);
    world.commit(100, &spec(1, 1, 0));
    world.turn();
    let asked = world.turn();
    assert_eq!(asked.launches.len(), 1);
    assert!(world.demand.is_empty());
    // The commit refused it after all.
    world.tasks.clear();
    world.changed.clear();
    world.refusals = vec![Refusal {
        group: 0,
        subject: 1,
        reason: "no room".into(),
    }];
    world.turn();
    assert_eq!(world.demand.len(), 1);
}

#[test]
fn an_unreachable_agent_is_waited_for_and_a_lost_task_replaced() {
    let mut world = World::new(&[1, 1]);
    world.commit(100, &spec(1, 1, 0));
    world.run();
    let agent = |state| Agent {
        id: 0,
        state,
        free_cpus: 0,
        free_memory: 0,
        free_disk: 0,
    };
    world.stage.agents = vec![agent(AgentState::Unreachable)];
    let asked = world.turn();
    assert!(asked.kills.is_empty() && asked.demand.is_none());
    assert!(
        world.said().message.contains("cannot be reached"),
        "{:?}",
        world.said()
    );
    let now = world.now;
    let task = world.tasks.get_mut(&1).unwrap();
    (task.state, task.state_since, task.is_ready) = (TaskState::Lost, now, false);
    task.is_agent_lost = true;
    world.changed.insert(1);
    world.room[0] = 0;
    world.run();
    assert_eq!((world.said().health, world.said().rollout), HEALTHY);
    assert_eq!(world.live().next().unwrap().agent, 1);
}

#[test]
fn a_turn_never_asks_for_more_than_its_share_and_goes_on_at_once() {
    let mut world = World::new(&[5000]);
    world.commit(100, &spec(5000, 1, 0));
    world.turn();
    let asked = world.turn();
    assert_eq!(asked.launches.len(), OPERATIONS);
    assert_eq!(world.demand[0].count, 3000);
    world.run();
    assert_eq!(world.live().count(), 5000);
    world.commit(100, &spec(0, 1, 0));
    let asked = world.turn();
    assert_eq!(asked.kills.len(), OPERATIONS);
    assert_eq!(asked.wake_at, Some(world.now));
    world.run();
    assert!(world.tasks.is_empty());
}

#[test]
fn services_do_not_disturb_each_other() {
    let mut world = World::new(&[50]);
    for id in 1..=3 {
        world.commit_of(id, 100 + id, &spec(2, 1, 0));
    }
    world.run();
    assert!(
        world
            .said
            .values()
            .all(|said| (said.health, said.rollout) == HEALTHY)
    );
    world.commit_of(2, 300, &spec(2, 1, 0));
    let asked = world.turn();
    assert!(asked.statuses.iter().all(|said| said.workload == 2));
    world.run();
    assert_eq!(world.launched, 8);
}

#[test]
fn services_that_change_all_the_time_do_not_starve_the_others() {
    let mut world = World::new(&[0]);
    for id in 1..=700 {
        world.commit_of(id, 100, &spec(1, 1, 0));
    }
    let asked = world.turn();
    let first = asked.demand.unwrap_or_default().len();
    assert!(
        (1..700).contains(&first),
        "{first} do not fit into one turn"
    );
    for _ in 0..5 {
        world.changed_rows.extend(1..=350);
        world.turn();
    }
    assert_eq!(world.demand.len(), 700);
}
