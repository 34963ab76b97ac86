//! A warm instance of the service scheduler and one that is restored for the same turn answer
//! alike, turn after turn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kelson_kernel_core::port::{
    Demand, Offer, Op, SchedulerHost, SeatRows, TaskRow, TurnOutcome, TurnRequest, WorkloadRow,
};
use kelson_model::id::{AgentId, TaskId, WorkloadId};
use kelson_model::task::{CheckState, TaskState};
use kelson_model::time::ClusterTime;

use crate::bench::{Bench, View, request, workload};

const STEP_MS: u64 = 2_000;
const AGENTS: u64 = 4;

fn spec(instances: u32) -> String {
    format!(
        r#"{{"instances":{instances},"run":{{"command":"sleep","args":[],"env":{{}},"workdir":".","files":[]}},
        "resources":{{"cpus":"0.1","memory":"128Mi","disk":"0"}},"ports":[],"stop":{{"signal":"SIGTERM","grace":"10s"}},
        "restart":{{"backoff":{{"initial":"1s","factor":1.15,"max":"300s"}}}},
        "update":{{"maxUnavailable":1,"maxSurge":1,"minHealthyTime":"1s","progressDeadline":"10m","onFailure":"rollback"}}}}"#
    )
}

/// A cluster that does what it is told, and in which every seventh task dies young.
struct World {
    now: u64,
    next_task: u64,
    workload: WorkloadRow,
    tasks: BTreeMap<u64, TaskRow>,
    demand: Vec<Demand>,
    specs: BTreeMap<(u64, u64), String>,
    is_changed: bool,
    touched: BTreeSet<u64>,
}

impl World {
    fn new() -> Self {
        Self {
            now: 1_000,
            next_task: 1,
            workload: workload(1, 1),
            tasks: BTreeMap::new(),
            demand: Vec::new(),
            specs: [((1, 1), spec(5))].into(),
            is_changed: true,
            touched: BTreeSet::new(),
        }
    }

    /// A new generation: other content, or the same with another count.
    fn change(&mut self, template_id: u64, instances: u32) {
        self.workload.generation += 1;
        self.workload.template_id = template_id;
        self.workload.generation_since = ClusterTime(self.now);
        let key = (self.workload.id.0, self.workload.generation);
        self.specs.insert(key, spec(instances));
        self.is_changed = true;
    }

    fn rows(&self) -> SeatRows {
        SeatRows {
            workloads: vec![self.workload.clone()],
            tasks: self.tasks.values().cloned().collect(),
            agents: Vec::new(),
        }
    }

    /// Writes the next turn; the tasks' rows that it shows are then no longer new.
    fn next_turn(&mut self, turn: &mut TurnRequest) {
        turn.turn_no += 1;
        turn.now = ClusterTime(self.now);
        turn.seed = self.now;
        turn.offers = self
            .demand
            .iter()
            .flat_map(|demand| (1..=AGENTS).map(move |agent| offer(demand, agent)))
            .collect();
        let touched = std::mem::take(&mut self.touched);
        turn.changed = SeatRows {
            workloads: std::mem::take(&mut self.is_changed)
                .then(|| self.workload.clone())
                .into_iter()
                .collect(),
            tasks: touched
                .iter()
                .filter_map(|id| self.tasks.get(id).cloned())
                .collect(),
            agents: Vec::new(),
        };
        turn.view = Arc::new(View {
            rows: self.rows(),
            specs: self.specs.clone(),
        });
        // What was forgotten was shown as gone once.
        self.tasks.retain(|_, task| !task.is_gone);
    }

    fn apply(&mut self, outcome: &TurnOutcome) {
        if let Some(demand) = &outcome.demand {
            self.demand.clone_from(demand);
        }
        for operation in &outcome.operations {
            match &operation.op {
                Op::Launch {
                    generation,
                    slot,
                    agent,
                    ..
                } => self.launch(*generation, *slot, *agent),
                Op::Kill { task, .. } => self.set_state(task.0, TaskState::Killed),
                Op::Forget { task } => {
                    if let Some(row) = self.tasks.get_mut(&task.0) {
                        row.is_gone = true;
                        self.touched.insert(task.0);
                    }
                }
                Op::SetGoodGeneration { generation, .. } => {
                    self.workload.good_generation = *generation;
                    self.workload.good_template_id = self.workload.template_id;
                    self.is_changed = true;
                }
                Op::SetStatus { .. } | Op::Quarantine { .. } | Op::Note { .. } => {}
            }
        }
    }

    fn launch(&mut self, generation: u64, slot: u32, agent: AgentId) {
        let id = self.next_task;
        self.next_task += 1;
        self.touched.insert(id);
        let row = TaskRow {
            id: TaskId(id),
            workload: self.workload.id,
            generation,
            template: 0,
            template_id: self.workload.template_id,
            slot,
            agent,
            state: TaskState::Staging,
            health: CheckState::Unknown,
            is_ready: false,
            is_stop_asked: false,
            is_ended_by_hand: false,
            is_out_of_memory: false,
            is_agent_lost: false,
            is_port_taken: false,
            is_gone: false,
            state_since: ClusterTime(self.now),
            healthy_since: None,
            exit_code: None,
            attempts: 1,
        };
        self.tasks.insert(id, row);
    }

    fn set_state(&mut self, id: u64, state: TaskState) {
        let now = ClusterTime(self.now);
        if let Some(row) = self.tasks.get_mut(&id) {
            row.state = state;
            row.state_since = now;
            let is_running = state == TaskState::Running;
            row.is_ready = is_running;
            row.healthy_since = is_running.then_some(now);
            row.health = if is_running {
                CheckState::Healthy
            } else {
                CheckState::Unknown
            };
            self.touched.insert(id);
        }
    }

    /// Time passes: what was staged runs, and what was born to die dies.
    fn step(&mut self) {
        self.now += STEP_MS;
        let states: Vec<(u64, TaskState)> = self
            .tasks
            .iter()
            .map(|(id, task)| (*id, task.state))
            .collect();
        for (id, state) in states {
            match state {
                TaskState::Staging => self.set_state(id, TaskState::Running),
                TaskState::Running if id % 7 == 0 => self.set_state(id, TaskState::Failed),
                _ => {}
            }
        }
    }
}

fn offer(demand: &Demand, agent: u64) -> Offer {
    Offer {
        key: demand.key,
        workload: demand.workload,
        generation: demand.generation,
        template: demand.template,
        agent: AgentId(agent),
        count: demand.count.min(2),
    }
}

/// What must be alike: all but what a scheduler tells people, which a new instance may tell once
/// more.
fn essence(outcome: &TurnOutcome) -> (Vec<Op>, Option<Vec<Demand>>, Option<ClusterTime>) {
    let is_told = |op: &Op| matches!(op, Op::SetStatus { .. } | Op::Note { .. });
    let ops = outcome
        .operations
        .iter()
        .map(|operation| operation.op.clone())
        .filter(|op| !is_told(op))
        .collect();
    (ops, outcome.demand.clone(), outcome.wake_at)
}

#[test]
fn a_warm_and_a_restored_service_answer_alike() {
    let bench = Bench::new();
    let (component, _) = bench.load("kelson-plugin-service").unwrap();
    let mut world = World::new();
    let mut turn = request("null");
    turn.component = component;
    turn.turn_no = 0;
    let mut launches = 0;
    for round in 0..60 {
        match round {
            15 => world.change(2, 5),
            30 => world.change(2, 9),
            40 => world.change(2, 2),
            50 => {
                world.workload.is_gone = true;
                world.is_changed = true;
            }
            _ => {}
        }
        world.next_turn(&mut turn);
        let warm = bench.host.turn(&turn).unwrap();
        turn.is_throw_away = true;
        let restored = bench.host.turn(&turn).unwrap();
        turn.is_throw_away = false;
        let (ops, demand, wake_at) = essence(&warm);
        let (restored_ops, restored_demand, restored_wake_at) = essence(&restored);
        assert_eq!(ops, restored_ops, "round {round}");
        assert_eq!(wake_at, restored_wake_at, "round {round}");
        // Demand that is not stated stays; a restored instance has to state it.
        let stands = demand.as_ref().unwrap_or(&world.demand);
        assert_eq!(
            Some(stands),
            restored_demand.as_ref().or(Some(&world.demand)),
            "round {round}"
        );
        launches += ops
            .iter()
            .filter(|op| matches!(op, Op::Launch { .. }))
            .count();
        world.apply(&warm);
        world.step();
        match round {
            14 => assert_eq!(running(&world, 1), 5),
            29 => assert_eq!(running(&world, 2), 5),
            39 => assert_eq!(running(&world, 2), 9),
            49 => assert_eq!(running(&world, 2), 2),
            _ => {}
        }
    }
    assert!(launches > 14, "{launches}");
    assert!(world.tasks.values().all(|task| task.state.is_terminal()));
    assert_eq!(world.workload.id, WorkloadId(1));
}

fn running(world: &World, template_id: u64) -> usize {
    world
        .tasks
        .values()
        .filter(|task| task.state == TaskState::Running && task.template_id == template_id)
        .count()
}
