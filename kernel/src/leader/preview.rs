//! Previews: runs the real schedulers against a fork of the state.
//!
//! *Flow:* fork the state, accept the given objects in the fork, run rounds until nothing happens;
//! then assume that what was launched turns healthy and what was asked to end has ended, and go on.
//! The same is done without the objects, and what happens anyway is left out, but not that the
//! scheduler of a given object fails. *Guarantees:* nothing of it is proposed; the state hash of
//! the member is the same after as before; the first step is what the next round would do.
//! *Caveats:* later steps assume, and say so; time moves only by wake-ups.

use std::collections::{BTreeMap, BTreeSet};

use kelson_kernel_core::command::{Command, RecordStatuses};
use kelson_kernel_core::explain_demand;
use kelson_kernel_core::port::{ForkTurns, Op, SchedulerHost};
use kelson_kernel_core::round::{RoundMemory, plan_round, says_nothing};
use kelson_kernel_core::{Entry, State, apply};
use kelson_model::id::{AgentId, Index, Revision, TaskId};
use kelson_model::object::ObjectKey;
use kelson_model::preview::{Launch, PlanRequest, Preview, StatusOf, Step, StopOf, Waiting};
use kelson_model::principal::Principal;
use kelson_model::quantity::Millis;
use kelson_model::request::{Accept, Stage};
use kelson_model::task::{CheckState, Exit, TaskState, TaskStatus};
use kelson_model::time::{ClusterTime, WallTime};

/// Most steps of a preview.
const MAX_STEPS: usize = 50;
/// Most rounds within a step.
const MAX_ROUNDS: usize = 200;
/// A wake-up that is at most this far away belongs to the same step.
const AT_ONCE: Millis = Millis(100);
/// How far time may be moved to reach a wake-up.
const HORIZON_MS: u64 = 3_600_000;
/// Why an object waits whose scheduler has failed; `why` says it with the same word.
const SCHEDULER_PAUSED: &str = "SchedulerPaused";

/// Shows what would happen to `origin` at `now`. Blocks: run it on a blocking thread.
///
/// # Errors
/// The objects cannot be accepted.
pub fn preview(
    origin: &State,
    now: ClusterTime,
    wall: WallTime,
    host: &dyn SchedulerHost,
    request: &PlanRequest,
) -> Result<Preview, kelson_model::request::Refusal> {
    let mut preview = foretell(origin, now, wall, host, Some(request))?;
    // Nothing can be foretold of objects whose scheduler fails: that is told even where it fails
    // anyway.
    let given: BTreeSet<&ObjectKey> = request
        .objects
        .iter()
        .map(|object| &object.key)
        .chain(&request.prune)
        .collect();
    let is_told =
        |waits: &Waiting| waits.reason == SCHEDULER_PAUSED && given.contains(&waits.workload);
    let waiting = std::mem::take(&mut preview.waiting);
    let (told, waiting): (Vec<Waiting>, Vec<Waiting>) = waiting.into_iter().partition(is_told);
    preview.waiting = waiting;
    preview.subtract(&foretell(origin, now, wall, host, None)?);
    preview.waiting.extend(told);
    preview.state_hash = origin.hash().to_string();
    Ok(preview)
}

/// Shows everything that would happen, with these objects or as things are.
fn foretell(
    origin: &State,
    now: ClusterTime,
    wall: WallTime,
    host: &dyn SchedulerHost,
    request: Option<&PlanRequest>,
) -> Result<Preview, kelson_model::request::Refusal> {
    let mut fork = Fork {
        state: origin.clone(),
        now,
        term: origin.term,
        wall,
    };
    let last_real = origin.last_task;
    let revision = "0".repeat(40).parse::<Revision>().ok();
    if let Some((revision, request)) = revision.zip(request) {
        fork.accept(request, &revision)?;
    }
    let mut preview = Preview {
        index: origin.index.0,
        ..Preview::default()
    };
    let mut memory = RoundMemory::unpaced();
    let turns = host.fork();
    for number in 1..=MAX_STEPS {
        let mut step = Step {
            step: number,
            ..Step::default()
        };
        if number > 1 {
            step.assumes = Some(format!(
                "the tasks of step {} turn healthy, and those asked to end have ended",
                number - 1
            ));
        }
        let mut statuses = BTreeMap::new();
        let rested = fork.run_rounds(
            turns.as_ref(),
            &mut memory,
            &mut step,
            &mut statuses,
            last_real,
        );
        preview.truncated |= !rested;
        step.statuses = statuses.into_values().collect();
        let is_empty = step.launches.is_empty() && step.stops.is_empty();
        if !is_empty || !step.statuses.is_empty() {
            preview.steps.push(step);
        }
        let moved = fork.turn_healthy();
        if is_empty && !moved && !fork.move_time(&mut memory) {
            break;
        }
        preview.truncated |= number == MAX_STEPS;
    }
    for seat in fork.state.seats.values() {
        for demand in seat.demand.iter().filter(|demand| demand.count > 0) {
            if let Some(object) = fork.state.object_of(demand.workload) {
                let why = explain_demand(&fork.state, demand);
                preview.waiting.push(Waiting {
                    workload: object.key.clone(),
                    reason: why.reason,
                    message: why.message,
                });
            }
        }
    }
    preview.waiting.extend(fork.failed(&memory));
    Ok(preview)
}

/// A state that nobody else sees.
struct Fork {
    state: State,
    now: ClusterTime,
    term: u64,
    wall: WallTime,
}

impl Fork {
    fn apply(&mut self, command: Command) -> kelson_kernel_core::Reply {
        let entry = Entry {
            principal: Principal::reconciler(),
            at: self.now,
            wall: self.wall,
            term: self.term,
            client: None,
            since: None,
            command,
        };
        let index = Index(self.state.index.0 + 1);
        apply(&mut self.state, index, &entry)
    }

    fn accept(
        &mut self,
        request: &PlanRequest,
        revision: &Revision,
    ) -> Result<(), kelson_model::request::Refusal> {
        let source = request.source.clone();
        let previous = self
            .state
            .sources
            .get(&source)
            .and_then(|record| record.applied.clone());
        let objects = u32::try_from(request.objects.len()).unwrap_or(u32::MAX);
        let staged = Stage {
            source: source.clone(),
            revision: revision.clone(),
            part: 0,
            objects: request.objects.clone(),
            prune: Vec::new(),
        };
        let accepted = Accept {
            source,
            revision: revision.clone(),
            previous,
            parts: 1,
            prune: request.prune.clone(),
            objects,
            going: 0,
            released: Vec::new(),
            hands: None,
        };
        for command in [Command::Stage(staged), Command::Accept(accepted)] {
            if let kelson_kernel_core::Reply::Refused(refusal) = self.apply(command) {
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Runs rounds until none has a turn that says something. Returns whether it came to that
    /// before they were too many.
    fn run_rounds(
        &mut self,
        turns: &dyn ForkTurns,
        memory: &mut RoundMemory,
        step: &mut Step,
        statuses: &mut BTreeMap<ObjectKey, StatusOf>,
        last_real: TaskId,
    ) -> bool {
        for _ in 0..MAX_ROUNDS {
            let round = plan_round(&self.state, memory, self.now);
            if round.turns.is_empty() {
                // A scheduler that goes through many objects asks for its next turn at once.
                match round.wake_at.filter(|at| at.since(self.now) <= AT_ONCE) {
                    Some(at) => self.now = at,
                    None => return true,
                }
            }
            for turn in round.turns {
                let seat = turn.request.seat.clone();
                let result = turns.turn(&turn.request);
                if let Ok(outcome) = &result {
                    memory.turn_wishes(&turn, outcome);
                }
                match result {
                    Err(fault) => memory.turn_was_void(&turn, &fault, self.now),
                    Ok(outcome) if says_nothing(&self.state, &seat, &outcome, self.now) => {
                        memory.turn_counted(&turn, &self.state)
                    }
                    Ok(outcome) => {
                        let last_task = self.state.last_task;
                        self.note(&outcome.operations, step, statuses, last_real);
                        let is_full = outcome.is_full;
                        let reply = self.apply(turn.commit(outcome));
                        note_launches(last_task, &self.state, step);
                        memory.turn_committed(&turn, &self.state, is_full, &reply, self.now);
                    }
                }
            }
        }
        false
    }

    /// The objects whose scheduler has failed, and how.
    fn failed(&self, memory: &RoundMemory) -> Vec<Waiting> {
        let pauses = memory.pauses();
        if pauses.is_empty() {
            return Vec::new();
        }
        let failed = self.state.objects.keys().filter_map(|key| {
            let seat = self.state.seat_of(key)?;
            let pause = pauses.get(&seat)?;
            Some(Waiting {
                workload: key.clone(),
                reason: SCHEDULER_PAUSED.to_owned(),
                message: format!("the scheduler of {seat} has failed: {}", pause.fault),
            })
        });
        failed.collect()
    }

    fn note(
        &self,
        operations: &[kelson_kernel_core::port::Operation],
        step: &mut Step,
        statuses: &mut BTreeMap<ObjectKey, StatusOf>,
        last_real: TaskId,
    ) {
        for operation in operations {
            match &operation.op {
                Op::Kill { task, reason } => {
                    if let Some(known) = self
                        .state
                        .tasks
                        .get(*task)
                        .filter(|known| known.stop().is_none() && !known.state().is_terminal())
                    {
                        let id = (known.id() <= last_real).then(|| known.id().to_string());
                        step.stops.push(StopOf {
                            workload: known.object().clone(),
                            task: known.name(),
                            id,
                            reason: *reason,
                        });
                    }
                }
                Op::SetStatus {
                    workload,
                    health,
                    rollout,
                    message,
                    ..
                } => {
                    if let Some(object) = self.state.object_of(*workload) {
                        let said = StatusOf {
                            workload: object.key.clone(),
                            health: *health,
                            rollout: *rollout,
                            message: message.clone(),
                        };
                        statuses.insert(object.key.clone(), said);
                    }
                }
                Op::Launch { .. }
                | Op::Forget { .. }
                | Op::SetGoodGeneration { .. }
                | Op::Quarantine { .. }
                | Op::Note { .. } => {}
            }
        }
    }

    /// Assumes that every task does what it was asked to do. Returns whether that changed anything.
    fn turn_healthy(&mut self) -> bool {
        let mut by_agent: BTreeMap<AgentId, Vec<TaskStatus>> = BTreeMap::new();
        for task in self
            .state
            .tasks
            .iter()
            .filter(|task| !task.state().is_terminal())
        {
            let is_ending = task.stop().is_some();
            if !is_ending
                && task.state() == TaskState::Running
                && task.health() == CheckState::Healthy
                && task.is_ready()
            {
                continue;
            }
            by_agent.entry(task.agent()).or_default().push(TaskStatus {
                task: task.id(),
                sequence: task.sequence() + 1,
                state: if is_ending {
                    TaskState::Killed
                } else {
                    TaskState::Running
                },
                health: if is_ending {
                    CheckState::Unknown
                } else {
                    CheckState::Healthy
                },
                ready: !is_ending,
                pid: None,
                started_at: None,
                healthy_for: 0,
                exit: is_ending.then(|| Exit {
                    by_agent: true,
                    reason: "stopped".to_owned(),
                    ..Exit::default()
                }),
                isolation: String::new(),
                message: String::new(),
            });
        }
        let is_moved = !by_agent.is_empty();
        for (agent, statuses) in by_agent {
            let incarnation = self
                .state
                .agents
                .get(&agent)
                .map_or(0, |agent| agent.incarnation);
            self.apply(Command::RecordStatuses(RecordStatuses {
                agent,
                incarnation,
                statuses,
            }));
        }
        is_moved
    }

    /// Moves time to the next wake-up within the horizon. Returns whether there is one.
    fn move_time(&mut self, memory: &mut RoundMemory) -> bool {
        let wakes = self
            .state
            .seats
            .values()
            .filter_map(|seat| seat.wake_at)
            .filter(|at| *at > self.now);
        let Some(at) = wakes.min().filter(|at| at.since(self.now).0 <= HORIZON_MS) else {
            return false;
        };
        if !memory.pauses().is_empty() {
            return false;
        }
        self.now = at;
        true
    }
}

/// Lists the tasks that one commit has made.
fn note_launches(before: TaskId, after: &State, step: &mut Step) {
    let first = TaskId(before.0 + 1);
    for task in after.tasks.since(first) {
        step.launches.push(Launch {
            workload: task.object().clone(),
            task: task.name(),
            agent: task.agent().to_string(),
            generation: task.generation(),
        });
    }
}
