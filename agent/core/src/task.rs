//! One task on its way from staging to its end: what has happened goes in, what must be done comes
//! out.

use kelson_model::id::TaskId;
use kelson_model::quantity::Millis;
use kelson_model::task::{CheckState, Exit, ExitCause, StopReason, TaskState, TaskStatus};
use kelson_model::time::WallTime;

use crate::effect::{Effect, Ending, Input, StopNote, TaskNote, Which};
use crate::moment::Moment;
use crate::probe::{Pace, ProbeSchedule};
use crate::signal::signal_name;
use crate::update::Report;

/// A shim that has not reported its program this long after it was started is given up.
const START_DEADLINE: Millis = Millis(60_000);
/// Between two attempts to kill what will not go.
const KILL_AGAIN: Millis = Millis(2000);

/// What the machine must know of a task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskSettings {
    /// How it is asked to end.
    pub stop_signal: i32,
    /// After which it is killed.
    pub stop_grace: Millis,
    /// Absent: a running task is healthy.
    pub health: Option<Pace>,
    /// Absent: as health.
    pub readiness: Option<Pace>,
    /// What is not enforced on this agent, for people.
    pub isolation: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// Of an earlier agent: nobody holds it, and what may live of it is being ended.
    Unheld,
    Preparing,
    /// It waits for its turn to be started.
    Queued,
    Launching {
        deadline: Moment,
    },
    Running,
    Stopping {
        kill_at: Moment,
    },
    Over {
        state: TaskState,
        exit: Exit,
    },
}

/// Tells one check of one task from all others.
fn seed(id: TaskId, which: Which) -> u64 {
    let which = match which {
        Which::Health => 0,
        Which::Readiness => 1,
    };
    id.0.wrapping_mul(2).wrapping_add(which)
}

/// The machine of one task.
///
/// *Flow*: [`Task::new`] or one of the `adopt_*`, then [`apply`](Self::apply) for whatever happens
/// and a [`Input::Tick`] at [`next_wake`](Self::next_wake).
/// *Guarantees*: a terminal state is never left and told once; the shim is started at most once;
/// after a stop the end is `Killed` (or `Lost`), whatever the exit status.
/// *Caveats*: an unhealthy task goes on running: whether it is replaced is its scheduler's
/// decision.
#[derive(Debug, Clone)]
pub struct Task {
    id: TaskId,
    settings: TaskSettings,
    phase: Phase,
    pid: Option<u32>,
    started_at: Option<WallTime>,
    stop: Option<String>,
    /// What lies behind `stop`, where that is not the kernel.
    stop_cause: Option<ExitCause>,
    /// Until when an end is what an earlier agent asked for that was to end itself.
    outlives: Option<Moment>,
    is_late: bool,
    is_forgotten: bool,
    is_cleaned: bool,
    running_since: Option<Moment>,
    health: Option<ProbeSchedule>,
    readiness: Option<ProbeSchedule>,
    told: Option<TaskStatus>,
    noted: TaskNote,
    /// How many first answers are waited for before anything is told.
    unanswered: usize,
}

/// A running task of an earlier agent, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// Its process id.
    pub pid: u32,
    /// When it was started, for people.
    pub at: WallTime,
    /// When it was started, to count from.
    pub started: Moment,
    /// What the earlier agent has noted; absent: nothing.
    pub note: Option<TaskNote>,
}

impl Task {
    /// A task that the kernel has just assigned.
    pub fn new(id: TaskId, settings: TaskSettings) -> (Self, Vec<Effect>) {
        let mut task = Self::at(id, settings, Phase::Preparing);
        let mut effects = vec![Effect::Prepare];
        task.tell(&mut effects);
        (task, effects)
    }

    /// A task of an earlier run of the agent whose shim lives and has started it: what was known of
    /// it stays known, a stop goes on.
    pub fn adopt_running(
        id: TaskId,
        settings: TaskSettings,
        found: Adopted,
        now: Moment,
    ) -> (Self, Vec<Effect>) {
        let mut task = Self::at(id, settings, Phase::Running);
        let note = found.note.unwrap_or_default();
        let mut effects = Vec::new();
        (task.pid, task.started_at) = (Some(found.pid), Some(found.at));
        task.running_since = Some(found.started);
        let adopt = |pace: Option<Pace>, which, known| {
            pace.map(|pace| ProbeSchedule::adopt(pace, found.started, seed(id, which), known, now))
        };
        task.health = adopt(task.settings.health, Which::Health, note.health);
        task.readiness = adopt(task.settings.readiness, Which::Readiness, note.readiness);
        task.unanswered = usize::from(task.health.is_some() && note.health.is_none())
            + usize::from(task.readiness.is_some() && note.readiness.is_none());
        if let Some(stop) = note.stop {
            task.stop_cause = stop.cause;
            // An agent that asked for it only because it was to end has ended without it: what
            // lives goes on, and ends by itself once that stop's grace is over.
            if stop.cause == Some(ExitCause::AgentEnds) {
                task.outlives = Some(stop.kill_at);
            } else {
                task.phase = Phase::Stopping {
                    kill_at: stop.kill_at,
                };
                task.stop = Some(stop.reason);
            }
        }
        task.noted = task.note();
        task.tell(&mut effects);
        (task, effects)
    }

    /// A task of an earlier run of the agent that nobody holds. What may live of it is being ended,
    /// and nothing is said before [`Input::SupervisorDied`] says that this is done.
    pub fn adopt_unheld(id: TaskId, settings: TaskSettings) -> Self {
        Self::at(id, settings, Phase::Unheld)
    }

    /// A task of an earlier run of the agent that has ended, or that cannot be carried out.
    pub fn adopt_over(
        id: TaskId,
        settings: TaskSettings,
        what: Input,
        now: Moment,
    ) -> (Self, Vec<Effect>) {
        Self::adopt_ended(id, settings, what, None, now)
    }

    /// A task that ended while no agent was there, and what the earlier one has noted of a stop.
    pub fn adopt_ended(
        id: TaskId,
        settings: TaskSettings,
        what: Input,
        stop: Option<StopNote>,
        now: Moment,
    ) -> (Self, Vec<Effect>) {
        let mut task = Self::at(id, settings, Phase::Preparing);
        if let Some(stop) = stop {
            task.stop = Some(stop.reason);
            task.stop_cause = stop.cause;
        }
        let effects = task.apply(now, what);
        (task, effects)
    }

    /// A task that the kernel speaks of and that this agent does not have.
    pub fn unknown(id: TaskId) -> (Self, Vec<Effect>) {
        let reason = "the agent does not have this task".to_owned();
        Self::adopt_over(
            id,
            TaskSettings::default(),
            Input::SupervisorDied {
                reason,
                cause: ExitCause::NotThere,
            },
            Moment(0),
        )
    }

    fn at(id: TaskId, settings: TaskSettings, phase: Phase) -> Self {
        Self {
            id,
            settings,
            phase,
            pid: None,
            started_at: None,
            stop: None,
            stop_cause: None,
            outlives: None,
            is_late: false,
            is_forgotten: false,
            is_cleaned: false,
            running_since: None,
            health: None,
            readiness: None,
            told: None,
            noted: TaskNote::default(),
            unanswered: 0,
        }
    }

    /// Which task.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Where it stands.
    pub fn state(&self) -> TaskState {
        match &self.phase {
            Phase::Unheld => TaskState::Stopping,
            Phase::Preparing | Phase::Queued | Phase::Launching { .. } => TaskState::Starting,
            Phase::Running => TaskState::Running,
            Phase::Stopping { .. } => TaskState::Stopping,
            Phase::Over { state, .. } => *state,
        }
    }

    /// The process id of the program, once it has run.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// When a [`Input::Tick`] is due; absent: nothing waits for time.
    pub fn next_wake(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Unheld | Phase::Preparing | Phase::Queued | Phase::Over { .. } => None,
            Phase::Launching { deadline } => Some(*deadline),
            Phase::Stopping { kill_at } => Some(*kill_at),
            Phase::Running => {
                let health = self.health.as_ref().and_then(ProbeSchedule::next);
                let readiness = self.readiness.as_ref().and_then(ProbeSchedule::next);
                health.into_iter().chain(readiness).min()
            }
        }
    }

    /// Takes what has happened; says what must be done, in order.
    pub fn apply(&mut self, now: Moment, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Prepared => self.prepared(&mut effects),
            Input::PrepareFailed { reason } => self.never_started(&reason, Vec::new()),
            Input::ShimSpawned => self.spawned(now),
            Input::Started { pid, at } => self.started(now, pid, at, &mut effects),
            Input::Ended(mut ending) => {
                if self.outlives.is_some_and(|until| until < now) && self.stop.is_none() {
                    ending.by_agent = false;
                    self.stop_cause = None;
                }
                self.ended(&ending);
            }
            Input::SupervisorDied { reason, cause } => self.supervisor_died(reason, cause),
            Input::Stop { reason } => {
                if self.stop.is_none() {
                    self.stop_cause = None;
                }
                self.stop(now, reason, &mut effects);
            }
            Input::AgentEnds => {
                // What the kernel has asked for already stays the kernel's.
                if self.stop.is_none() {
                    self.stop_cause = Some(ExitCause::AgentEnds);
                }
                self.stop(now, "the agent ends".to_owned(), &mut effects);
            }
            Input::Forget => self.forget(now, &mut effects),
            Input::Probed { which, result } => self.probed(now, which, result),
            Input::Tick => self.tick(now, &mut effects),
        }
        self.keep_note(&mut effects);
        self.tell(&mut effects);
        if self.is_forgotten && !self.is_cleaned && matches!(self.phase, Phase::Over { .. }) {
            self.is_cleaned = true;
            effects.push(Effect::Cleanup);
        }
        effects
    }

    fn prepared(&mut self, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Preparing {
            return;
        }
        if self.stop.is_some() {
            self.never_started("it was stopped before it was started", Vec::new());
            return;
        }
        self.phase = Phase::Queued;
        effects.push(Effect::StartShim);
    }

    /// What it waited before is not the shim's fault.
    fn spawned(&mut self, now: Moment) {
        if self.phase == Phase::Queued {
            self.phase = Phase::Launching {
                deadline: now.after(START_DEADLINE),
            };
        }
    }

    fn started(&mut self, now: Moment, pid: u32, at: WallTime, effects: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Queued | Phase::Launching { .. }) {
            return;
        }
        self.begin(pid, at, now);
        if let Some(reason) = self.stop.clone() {
            self.stop(now, reason, effects);
        } else {
            self.probe(now, effects);
        }
    }

    fn begin(&mut self, pid: u32, at: WallTime, now: Moment) {
        self.pid = Some(pid);
        self.started_at = Some(at);
        self.running_since = Some(now);
        self.phase = Phase::Running;
        let schedule = |pace: Option<Pace>, which| {
            pace.map(|pace| ProbeSchedule::new(pace, now, seed(self.id, which)))
        };
        let (health, readiness) = (self.settings.health, self.settings.readiness);
        self.health = schedule(health, Which::Health);
        self.readiness = schedule(readiness, Which::Readiness);
        self.noted = self.note();
    }

    fn stop(&mut self, now: Moment, reason: String, effects: &mut Vec<Effect>) {
        if self.stop.is_none() {
            self.stop = Some(self.with_answer(reason));
        }
        match self.phase {
            Phase::Running => {
                self.phase = Phase::Stopping {
                    kill_at: now.after(self.settings.stop_grace),
                };
                // First the note: whoever comes next must not ask again.
                self.keep_note(effects);
                effects.push(Effect::Signal(self.settings.stop_signal));
            }
            // Stopped once it is prepared, or started; a second stop is no second signal.
            Phase::Unheld
            | Phase::Preparing
            | Phase::Queued
            | Phase::Launching { .. }
            | Phase::Stopping { .. }
            | Phase::Over { .. } => {}
        }
    }

    /// A reason to stop; where the health check is that, with what it answered last.
    fn with_answer(&self, reason: String) -> String {
        let answer = self.health.as_ref().map(ProbeSchedule::last_failure);
        match answer.filter(|answer| !answer.is_empty()) {
            Some(answer) if reason == StopReason::Unhealthy.word() => format!("{reason}: {answer}"),
            Some(_) | None => reason,
        }
    }

    /// Nobody waits for it any more: it gets no grace, and is killed until it is gone.
    fn forget(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.is_forgotten = true;
        if !matches!(self.phase, Phase::Over { .. }) {
            self.stop.get_or_insert_with(|| "forgotten".to_owned());
        }
        let again = now.after(KILL_AGAIN);
        match &mut self.phase {
            Phase::Running => {
                self.phase = Phase::Stopping { kill_at: again };
                // First the note: whoever comes next goes on killing it.
                self.keep_note(effects);
                effects.push(Effect::KillAll);
            }
            Phase::Stopping { kill_at } => {
                *kill_at = again.min(*kill_at);
                effects.push(Effect::KillAll);
            }
            Phase::Queued | Phase::Launching { .. } => effects.push(Effect::KillAll),
            Phase::Unheld | Phase::Preparing | Phase::Over { .. } => {}
        }
    }

    fn tick(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        match &mut self.phase {
            Phase::Launching { deadline } if *deadline <= now => {
                *deadline = now.after(KILL_AGAIN);
                self.is_late = true;
                effects.push(Effect::KillAll);
            }
            Phase::Stopping { kill_at } if *kill_at <= now => {
                *kill_at = now.after(KILL_AGAIN);
                effects.push(Effect::KillAll);
            }
            Phase::Running => self.probe(now, effects),
            Phase::Unheld
            | Phase::Preparing
            | Phase::Queued
            | Phase::Launching { .. }
            | Phase::Stopping { .. }
            | Phase::Over { .. } => {}
        }
    }

    fn probe(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.health.as_mut().is_some_and(|check| check.due(now)) {
            effects.push(Effect::Probe(Which::Health));
        }
        if self.readiness.as_mut().is_some_and(|check| check.due(now)) {
            effects.push(Effect::Probe(Which::Readiness));
        }
    }

    fn probed(&mut self, now: Moment, which: Which, result: Result<(), String>) {
        let check = match which {
            Which::Health => self.health.as_mut(),
            Which::Readiness => self.readiness.as_mut(),
        };
        self.unanswered = self.unanswered.saturating_sub(1);
        if let (Phase::Running, Some(check)) = (&self.phase, check) {
            check.answer(now, result);
        }
    }

    fn never_started(&mut self, reason: &str, taken_ports: Vec<u16>) {
        let state = if self.stop.is_some() {
            TaskState::Killed
        } else {
            TaskState::Failed
        };
        let reason = if self.stop.is_some() {
            "it was stopped before it was started".to_owned()
        } else {
            format!("could not be started: {reason}")
        };
        self.end(
            state,
            Exit {
                by_agent: self.stop.is_some(),
                reason,
                cause: (!taken_ports.is_empty())
                    .then_some(ExitCause::PortsTaken)
                    .or(self.stop_cause),
                taken_ports,
                ..Exit::default()
            },
        );
    }

    fn ended(&mut self, ending: &Ending) {
        let by_agent = ending.by_agent;
        let is_stopped = self.stop.is_some() || by_agent;
        if let Some(reason) = &ending.not_started {
            self.never_started(reason, ending.taken_ports.clone());
            return;
        }
        let mut said = match (ending.code, ending.signal) {
            (Some(code), _) => format!("exited with status {code}"),
            (None, Some(signal)) => format!("killed by {}", signal_name(signal)),
            (None, None) => "ended".to_owned(),
        };
        if ending.oom {
            said.push_str(": out of memory");
        } else if self.is_late {
            said = "could not be started: it took too long".to_owned();
        } else if let (true, Some(stop)) = (is_stopped, &self.stop) {
            said.push_str(&format!(" after it was asked to stop ({stop})"));
        } else if is_stopped {
            said.push_str(" after it was asked to stop");
        }
        let state = if self.is_late && self.stop.is_none() {
            TaskState::Failed
        } else if is_stopped {
            TaskState::Killed
        } else if ending.code == Some(0) {
            TaskState::Finished
        } else {
            TaskState::Failed
        };
        self.end(
            state,
            Exit {
                code: ending.code,
                signal: ending.signal,
                oom: ending.oom,
                by_agent,
                reason: said,
                cause: self.stop_cause,
                ..Exit::default()
            },
        );
    }

    fn supervisor_died(&mut self, reason: String, cause: ExitCause) {
        self.end(
            TaskState::Lost,
            Exit {
                reason,
                cause: Some(cause),
                ..Exit::default()
            },
        );
    }

    fn end(&mut self, state: TaskState, exit: Exit) {
        if !matches!(self.phase, Phase::Over { .. }) {
            self.phase = Phase::Over { state, exit };
        }
    }

    fn health_now(&self) -> (CheckState, Option<Moment>) {
        match (&self.phase, &self.health) {
            (Phase::Running, Some(check)) => (check.state(), check.healthy_since()),
            (Phase::Running, None) => (CheckState::Healthy, self.running_since),
            (Phase::Stopping { .. } | Phase::Over { .. }, Some(check)) => (check.state(), None),
            (
                Phase::Unheld
                | Phase::Preparing
                | Phase::Queued
                | Phase::Launching { .. }
                | Phase::Stopping { .. }
                | Phase::Over { .. },
                _,
            ) => (CheckState::Unknown, None),
        }
    }

    fn message(&self) -> String {
        let failing = |name: &str, check: &Option<ProbeSchedule>| {
            let said = check.as_ref().and_then(ProbeSchedule::said);
            said.map(|said| format!("{name}: {said}"))
        };
        match &self.phase {
            Phase::Unheld => "ending what is left of it".to_owned(),
            Phase::Preparing => "preparing its directory".to_owned(),
            Phase::Queued => "waiting for its turn to be started".to_owned(),
            Phase::Launching { .. } => "starting".to_owned(),
            Phase::Running => failing("health", &self.health)
                .or_else(|| failing("readiness", &self.readiness))
                .unwrap_or_default(),
            Phase::Stopping { .. } => {
                let reason = self.stop.as_deref().unwrap_or("asked to");
                format!(
                    "stopping ({reason}), killed after {}",
                    self.settings.stop_grace
                )
            }
            Phase::Over { exit, .. } => exit.reason.clone(),
        }
    }

    /// What is to be said about it now.
    pub fn report(&self) -> Report {
        let (health, healthy_since) = self.health_now();
        let is_ready = matches!(self.phase, Phase::Running)
            && match &self.readiness {
                Some(check) => check.state() == CheckState::Healthy,
                None => health == CheckState::Healthy,
            };
        let exit = match &self.phase {
            Phase::Over { exit, .. } => Some(exit.clone()),
            Phase::Unheld
            | Phase::Preparing
            | Phase::Queued
            | Phase::Launching { .. }
            | Phase::Running
            | Phase::Stopping { .. } => None,
        };
        Report {
            status: TaskStatus {
                task: self.id,
                sequence: 0,
                state: self.state(),
                health,
                ready: is_ready,
                pid: self.pid,
                started_at: self.started_at,
                healthy_for: 0,
                exit,
                isolation: self.settings.isolation.clone(),
                message: self.message(),
            },
            healthy_since,
        }
    }

    fn note(&self) -> TaskNote {
        let mut stop = None;
        if let (Phase::Stopping { kill_at }, Some(reason)) = (&self.phase, &self.stop) {
            stop = Some(StopNote {
                reason: reason.clone(),
                kill_at: *kill_at,
                cause: self.stop_cause,
            });
        }
        TaskNote {
            health: self.health.as_ref().map(ProbeSchedule::note),
            readiness: self.readiness.as_ref().map(ProbeSchedule::note),
            stop,
        }
    }

    /// Writes down what has changed of that which the next agent must know.
    fn keep_note(&mut self, effects: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Running | Phase::Stopping { .. }) {
            return;
        }
        let mut note = self.note();
        if let (Some(stop), Some(noted)) = (&mut note.stop, &self.noted.stop) {
            // The next attempt to kill it is no news: the grace is over once and for all.
            stop.kill_at = noted.kill_at;
        }
        if note != self.noted {
            self.noted = note.clone();
            effects.push(Effect::Note(note));
        }
    }

    fn tell(&mut self, effects: &mut Vec<Effect>) {
        let is_waiting = self.unanswered > 0 && matches!(self.phase, Phase::Running);
        if is_waiting || self.phase == Phase::Unheld {
            return;
        }
        let report = self.report();
        let is_news = self.told.as_ref().is_none_or(|told| {
            let same = told.state == report.status.state
                && told.health == report.status.health
                && told.ready == report.status.ready
                && told.pid == report.status.pid
                && (told.message == report.status.message || self.phase != Phase::Running);
            !same
        });
        if is_news {
            self.told = Some(report.status.clone());
            effects.push(Effect::EmitStatus(Box::new(report)));
        }
    }
}
