//! One task on its way from staging to its end: what has happened goes in, what must be done comes out.

use kelson_model::id::TaskId;
use kelson_model::quantity::Millis;
use kelson_model::task::{CheckState, Exit, TaskState, TaskStatus};
use kelson_model::time::WallTime;

use crate::moment::Moment;
use crate::probe::{Pace, ProbeSchedule};
use crate::signal::signal_name;
use crate::update::Report;

/// A shim that has not reported its program after so long is given up.
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

/// Which of the two checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// Whether it works.
    Health,
    /// Whether it may take traffic.
    Readiness,
}

/// How a program ended, as its shim has recorded it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ending {
    /// The exit status, where it exited.
    pub code: Option<i32>,
    /// The signal's number, where it was killed by one.
    pub signal: Option<i32>,
    /// Whether the memory limit killed it.
    pub oom: bool,
    /// Whether the shim had been asked to signal it.
    pub by_agent: bool,
    /// Why it could not be started, where it could not.
    pub not_started: Option<String>,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Its directory and files are there, and its specification is durable.
    Prepared,
    /// They are not, and will not be.
    PrepareFailed {
        /// A sentence for people.
        reason: String,
    },
    /// The program runs.
    Started {
        /// Its process id.
        pid: u32,
        /// When.
        at: WallTime,
    },
    /// The shim has recorded the end and is gone.
    Ended(Ending),
    /// The shim is gone and has recorded nothing.
    SupervisorDied {
        /// What is known about it, for people.
        reason: String,
    },
    /// The kernel wants it to end.
    Stop {
        /// One word of the protocol.
        reason: String,
    },
    /// The kernel has recorded its end.
    Forget,
    /// A probe was answered.
    Probed {
        /// Of which check.
        which: Which,
        /// What came of it.
        result: Result<(), String>,
    },
    /// Time has gone by.
    Tick,
}

/// What the shell must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make the directory, lay down the files, write the specification durably; answer Prepared or PrepareFailed.
    Prepare,
    /// Start the shim; answer Started, Ended or SupervisorDied.
    StartShim,
    /// Ask the shim to signal the program's group.
    Signal(i32),
    /// Kill everything that belongs to the task, through the shim and without it.
    KillAll,
    /// Probe; answer Probed.
    Probe(Which),
    /// Tell the kernel.
    EmitStatus(Box<Report>),
    /// Delete what is left; the machine is done.
    Cleanup,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Preparing,
    Launching { deadline: Moment },
    Running,
    Stopping { kill_at: Moment },
    Over { state: TaskState, exit: Exit },
}

/// The machine of one task.
///
/// *Flow*: [`Task::new`] or one of the `adopt_*`, then [`apply`](Self::apply) for whatever happens and a [`Input::Tick`] at
/// [`next_wake`](Self::next_wake).
/// *Guarantees*: a terminal state is never left and told once; the shim is started at most once; after a stop the end is `Killed`
/// (or `Lost`), whatever the exit status.
/// *Caveats*: an unhealthy task goes on running: whether it is replaced is its scheduler's decision.
#[derive(Debug, Clone)]
pub struct Task {
    id: TaskId,
    settings: TaskSettings,
    phase: Phase,
    pid: Option<u32>,
    started_at: Option<WallTime>,
    stop: Option<String>,
    is_late: bool,
    is_forgotten: bool,
    is_cleaned: bool,
    running_since: Option<Moment>,
    health: Option<ProbeSchedule>,
    readiness: Option<ProbeSchedule>,
    told: Option<TaskStatus>,
    /// So many first answers are waited for before anything is told.
    unanswered: usize,
}

impl Task {
    /// A task that the kernel has just assigned.
    pub fn new(id: TaskId, settings: TaskSettings) -> (Self, Vec<Effect>) {
        let mut task = Self::at(id, settings, Phase::Preparing);
        let mut effects = vec![Effect::Prepare];
        task.tell(&mut effects);
        (task, effects)
    }

    /// A task of an earlier run of the agent whose shim lives and has started it.
    pub fn adopt_running(
        id: TaskId,
        mut settings: TaskSettings,
        pid: u32,
        at: WallTime,
        age: Millis,
        now: Moment,
    ) -> (Self, Vec<Effect>) {
        for pace in settings
            .health
            .iter_mut()
            .chain(settings.readiness.iter_mut())
        {
            pace.grace = Millis(pace.grace.0.saturating_sub(age.0));
        }
        let mut task = Self::at(id, settings, Phase::Preparing);
        let mut effects = Vec::new();
        task.begin(pid, at, now);
        task.probe(now, &mut effects);
        task.unanswered =
            usize::from(task.health.is_some()) + usize::from(task.readiness.is_some());
        task.tell(&mut effects);
        (task, effects)
    }

    /// A task of an earlier run of the agent that has ended, or whose shim is gone without a record.
    pub fn adopt_over(
        id: TaskId,
        settings: TaskSettings,
        what: Input,
        now: Moment,
    ) -> (Self, Vec<Effect>) {
        let mut task = Self::at(id, settings, Phase::Preparing);
        let effects = task.apply(now, what);
        (task, effects)
    }

    /// A task that the kernel speaks of and that this agent does not have.
    pub fn unknown(id: TaskId) -> (Self, Vec<Effect>) {
        let reason = "the agent does not have this task".to_owned();
        Self::adopt_over(
            id,
            TaskSettings::default(),
            Input::SupervisorDied { reason },
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
            is_late: false,
            is_forgotten: false,
            is_cleaned: false,
            running_since: None,
            health: None,
            readiness: None,
            told: None,
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
            Phase::Preparing | Phase::Launching { .. } => TaskState::Starting,
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
            Phase::Preparing | Phase::Over { .. } => None,
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
            Input::Prepared => self.prepared(now, &mut effects),
            Input::PrepareFailed { reason } => self.never_started(&reason),
            Input::Started { pid, at } => self.started(now, pid, at, &mut effects),
            Input::Ended(ending) => self.ended(&ending),
            Input::SupervisorDied { reason } => self.supervisor_died(reason, &mut effects),
            Input::Stop { reason } => self.stop(now, reason, &mut effects),
            Input::Forget => self.forget(&mut effects),
            Input::Probed { which, result } => self.probed(now, which, result),
            Input::Tick => self.tick(now, &mut effects),
        }
        self.tell(&mut effects);
        if self.is_forgotten && !self.is_cleaned && matches!(self.phase, Phase::Over { .. }) {
            self.is_cleaned = true;
            effects.push(Effect::Cleanup);
        }
        effects
    }

    fn prepared(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Preparing {
            return;
        }
        if self.stop.is_some() {
            self.never_started("it was stopped before it was started");
            return;
        }
        self.phase = Phase::Launching {
            deadline: now.after(START_DEADLINE),
        };
        effects.push(Effect::StartShim);
    }

    fn started(&mut self, now: Moment, pid: u32, at: WallTime, effects: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Launching { .. }) {
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
        self.health = self
            .settings
            .health
            .map(|pace| ProbeSchedule::new(pace, now));
        self.readiness = self
            .settings
            .readiness
            .map(|pace| ProbeSchedule::new(pace, now));
    }

    fn stop(&mut self, now: Moment, reason: String, effects: &mut Vec<Effect>) {
        self.stop.get_or_insert(reason);
        match self.phase {
            Phase::Running => {
                self.phase = Phase::Stopping {
                    kill_at: now.after(self.settings.stop_grace),
                };
                effects.push(Effect::Signal(self.settings.stop_signal));
            }
            // Stopped once it is prepared, or started; a second stop is no second signal.
            Phase::Preparing
            | Phase::Launching { .. }
            | Phase::Stopping { .. }
            | Phase::Over { .. } => {}
        }
    }

    fn forget(&mut self, effects: &mut Vec<Effect>) {
        self.is_forgotten = true;
        match self.phase {
            Phase::Launching { .. } | Phase::Running | Phase::Stopping { .. } => {
                self.stop.get_or_insert_with(|| "forgotten".to_owned());
                effects.push(Effect::KillAll);
            }
            Phase::Preparing => {
                self.stop.get_or_insert_with(|| "forgotten".to_owned());
            }
            Phase::Over { .. } => {}
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
            Phase::Preparing
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

    fn never_started(&mut self, reason: &str) {
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
                ..Exit::default()
            },
        );
    }

    fn ended(&mut self, ending: &Ending) {
        let by_agent = ending.by_agent;
        let is_stopped = self.stop.is_some() || by_agent;
        if let Some(reason) = &ending.not_started {
            self.never_started(reason);
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
            },
        );
    }

    fn supervisor_died(&mut self, reason: String, effects: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Over { .. }) {
            effects.push(Effect::KillAll);
        }
        self.end(
            TaskState::Lost,
            Exit {
                reason,
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
                Phase::Preparing
                | Phase::Launching { .. }
                | Phase::Stopping { .. }
                | Phase::Over { .. },
                _,
            ) => (CheckState::Unknown, None),
        }
    }

    fn message(&self) -> String {
        let failing = |name: &str, check: &Option<ProbeSchedule>| {
            check
                .as_ref()
                .filter(|check| check.state() == CheckState::Unhealthy)
                .map(|check| format!("{name}: {}", check.last_failure()))
        };
        match &self.phase {
            Phase::Preparing => "preparing its directory".to_owned(),
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
            Phase::Preparing
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

    fn tell(&mut self, effects: &mut Vec<Effect>) {
        if self.unanswered > 0 && matches!(self.phase, Phase::Running) {
            return;
        }
        let report = self.report();
        let is_news = self.told.as_ref().is_none_or(|told| {
            let same = told.state == report.status.state
                && told.health == report.status.health
                && told.ready == report.status.ready
                && told.pid == report.status.pid;
            !same
        });
        if is_news {
            self.told = Some(report.status.clone());
            effects.push(Effect::EmitStatus(Box::new(report)));
        }
    }
}
