//! The one loop that owns all tasks of this agent.
//!
//! *Flow*: what happens (orders, acknowledgements, shims, probes, time) comes in as messages; the
//! machine of the task in question says what must be done; what takes time is done by spawned
//! futures that answer with a message. After each message everything that the kernel has not
//! heard yet is handed to the session, as far as that takes it.
//!
//! *Guarantees*: no task directory is deleted before the kernel has recorded the end. All spawned
//! futures end with the loop; shims do not.

mod effects;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kelson_agent_core::{
    Assignments, Batch, Decision, Effect, Input, LaunchPlan, Moment, Task, TaskOrder, TaskSettings,
    UpdateQueue, Which,
};
use kelson_model::id::TaskId;
use kelson_proto::v1::{self, AgentMessage, agent_message};
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use crate::check::Prober;
use crate::clock::BootClock;
use crate::config::ShutdownMode;
use crate::drift::{DriftBook, Seen};
use crate::isolation::Groups;
use crate::launch::Launcher;
use crate::recovery::{Found, Recovered};

/// Between two comparisons of limits.
const DRIFT_INTERVAL: Duration = Duration::from_secs(3);
/// Most statuses in one message.
const STATUSES_AT_ONCE: usize = 512;
/// How long the kernel may take to acknowledge the end of the last task.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Where the session is full, it is tried again after this.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// What comes to the loop, but for what happens to tasks.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A session stands; statuses go there.
    SessionUp(mpsc::Sender<AgentMessage>),
    /// It does not stand any more.
    SessionDown,
    /// The kernel's orders.
    Orders(Batch),
    /// What the kernel has recorded.
    Acks(Vec<(TaskId, u64)>),
    /// The cgroups of a task that is prepared.
    Groups(TaskId, Groups),
    /// What was compared.
    Drift(Vec<Seen>),
    /// What was left of a task is deleted.
    Deleted(TaskId),
    /// The agent ends.
    Shutdown(ShutdownMode),
}

struct Held {
    machine: Task,
    order: Option<TaskOrder>,
    plan: Option<Arc<LaunchPlan>>,
    groups: Groups,
    is_omitted: bool,
    /// Told when the task is to end: nobody waits for its files then.
    halt: Arc<Notify>,
}

pub(crate) struct Supervisor {
    launcher: Arc<Launcher>,
    host: String,
    path: String,
    isolation: String,
    boot_id: String,
    clock: BootClock,
    assignments: Assignments,
    queue: UpdateQueue,
    tasks: BTreeMap<TaskId, Held>,
    drift: DriftBook,
    is_comparing: bool,
    /// Tasks whose program had ended when it was last looked at, and whose shim has not said so.
    unreported: BTreeSet<TaskId>,
    prober: Arc<Prober>,
    /// What is under way for a task; it ends with the task.
    probes: BTreeMap<(TaskId, Which), AbortHandle>,
    kills: BTreeMap<TaskId, AbortHandle>,
    session: Option<mpsc::Sender<AgentMessage>>,
    stopping_since: Option<Instant>,
    work: JoinSet<()>,
    inputs: mpsc::Sender<(TaskId, Input)>,
    notices: mpsc::Sender<Notice>,
    incoming_inputs: mpsc::Receiver<(TaskId, Input)>,
    incoming_notices: mpsc::Receiver<Notice>,
}

impl Supervisor {
    /// A loop that owns nothing yet, and the way to talk to it.
    pub(crate) fn new(
        launcher: Arc<Launcher>,
        host: String,
        incarnation: u64,
    ) -> (Self, mpsc::Sender<Notice>) {
        let (inputs, incoming_inputs) = mpsc::channel(1024);
        let (notices, incoming_notices) = mpsc::channel(1024);
        let prober = Prober::new(
            launcher.layout.clone(),
            host.clone(),
            launcher.shim_exe.clone(),
        );
        let default_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let this = Self {
            isolation: launcher.isolation.line(),
            launcher,
            host,
            path: std::env::var("PATH").unwrap_or_else(|_| default_path.to_owned()),
            boot_id: crate::proc::boot_id(),
            clock: BootClock::start(),
            assignments: Assignments::new(),
            queue: UpdateQueue::new(incarnation),
            tasks: BTreeMap::new(),
            drift: DriftBook::default(),
            is_comparing: false,
            unreported: BTreeSet::new(),
            prober: Arc::new(prober),
            probes: BTreeMap::new(),
            kills: BTreeMap::new(),
            session: None,
            stopping_since: None,
            work: JoinSet::new(),
            inputs,
            notices: notices.clone(),
            incoming_inputs,
            incoming_notices,
        };
        (this, notices)
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Takes over what an earlier run has left.
    pub(crate) fn adopt(&mut self, recovered: Vec<Recovered>) {
        for one in recovered {
            let (task, now) = (one.task, self.now());
            let generation = one.order.as_ref().map_or(0, |order| order.generation);
            self.assignments.adopt(task, generation);
            let plan = one.order.as_ref().and_then(|order| self.plan(order).ok());
            let settings = match &one.order {
                Some(order) => self.settings(order, plan.as_ref()),
                None => TaskSettings::default(),
            };
            let (launcher, events) = (Arc::clone(&self.launcher), self.inputs.clone());
            let (machine, effects) = match one.found {
                Found::Running { shim, adopted } => {
                    tracing::info!(%task, pid = adopted.pid, "adopted a running task");
                    self.work.spawn(async move {
                        shim.ended().await;
                        launcher.report_end(task, &events).await;
                    });
                    Task::adopt_running(task, settings, adopted, now)
                }
                Found::Over { what, stop } => Task::adopt_ended(task, settings, what, stop, now),
                Found::Unheld { reason, cause } => {
                    tracing::warn!(%task, reason, "ending what is left of a task that nobody holds");
                    self.work.spawn(async move {
                        launcher.end_for_good(task).await;
                        let died = Input::SupervisorDied { reason, cause };
                        let _ = events.send((task, died)).await;
                    });
                    (Task::adopt_unheld(task, settings), Vec::new())
                }
            };
            self.tasks.insert(
                task,
                Held {
                    machine,
                    order: one.order,
                    plan,
                    groups: one.groups,
                    is_omitted: false,
                    halt: Arc::default(),
                },
            );
            self.carry_out(task, effects);
        }
    }

    fn plan(&self, order: &TaskOrder) -> Result<Arc<LaunchPlan>, String> {
        let home = self.launcher.layout.work(order.task);
        let planned = order.plan_launch(&self.host, &home.to_string_lossy(), &self.path);
        planned.map(Arc::new).map_err(|error| error.to_string())
    }

    fn settings(&self, order: &TaskOrder, plan: Option<&Arc<LaunchPlan>>) -> TaskSettings {
        TaskSettings {
            stop_signal: plan.map_or(15, |plan| plan.stop_signal),
            stop_grace: order.template.stop.grace,
            health: plan
                .and_then(|plan| plan.health.as_ref())
                .map(|probe| probe.pace),
            readiness: plan
                .and_then(|plan| plan.readiness.as_ref())
                .map(|probe| probe.pace),
            isolation: self.isolation_of(order),
        }
    }

    /// What of this order is not enforced here.
    fn isolation_of(&self, order: &TaskOrder) -> String {
        let disk = (order.template.resources.disk.0 > 0).then_some("disk: none");
        let parts = [
            Some(self.isolation.as_str()).filter(|line| !line.is_empty()),
            disk,
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Runs until a shutdown is through.
    pub(crate) async fn run(mut self) {
        let mut compare = tokio::time::interval(DRIFT_INTERVAL);
        compare.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_blocked = self.flush();
            if self.is_through() {
                break;
            }
            let wake = self.next_wake(is_blocked);
            tokio::select! {
                biased;
                notice = self.incoming_notices.recv() => match notice {
                    Some(Notice::Shutdown(ShutdownMode::LeaveTasks)) | None => break,
                    Some(notice) => self.notice(notice),
                },
                input = self.incoming_inputs.recv() => {
                    if let Some((task, input)) = input {
                        self.input(task, input);
                    }
                }
                () = sleep_until(wake) => self.tick(),
                _ = compare.tick() => {
                    self.clock.catch_up();
                    self.compare_limits();
                }
                Some(_) = self.work.join_next(), if !self.work.is_empty() => {}
            }
        }
        self.work.abort_all();
    }

    fn next_wake(&self, is_blocked: bool) -> Option<tokio::time::Instant> {
        let tasks = self
            .tasks
            .values()
            .filter_map(|entry| entry.machine.next_wake())
            .min();
        let wake = tasks.and_then(|moment| self.clock.instant_of(moment));
        let soon = tokio::time::Instant::now() + FULL_PAUSE;
        let is_pressed = is_blocked || self.stopping_since.is_some();
        if is_pressed {
            Some(wake.map_or(soon, |wake| wake.min(soon)))
        } else {
            wake
        }
    }

    fn is_through(&self) -> bool {
        let Some(since) = self.stopping_since else {
            return false;
        };
        let is_over = |entry: &Held| entry.machine.state().is_terminal();
        if !self.tasks.values().all(is_over) {
            return false;
        }
        let is_told = self.queue.pending() == 0 || self.session.is_none();
        is_told || since.elapsed() > LAST_WORDS
    }

    fn tick(&mut self) {
        let now = self.now();
        let due: Vec<TaskId> = self
            .tasks
            .iter()
            .filter(|(_, entry)| entry.machine.next_wake().is_some_and(|at| at <= now))
            .map(|(task, _)| *task)
            .collect();
        for task in due {
            self.input(task, Input::Tick);
        }
        let is_over = self
            .tasks
            .values()
            .all(|entry| entry.machine.state().is_terminal());
        if !is_over && self.stopping_since.is_some() {
            // The kernel's time for last words begins when the last task has ended.
            self.stopping_since = Some(Instant::now());
        }
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::SessionUp(session) => {
                self.queue.resend_all();
                self.drift.repeat_open();
                self.session = Some(session);
            }
            Notice::SessionDown => self.session = None,
            Notice::Orders(batch) => self.orders(batch),
            Notice::Acks(acks) => self.acks(&acks),
            Notice::Groups(task, groups) => {
                if let Some(entry) = self.tasks.get_mut(&task) {
                    entry.groups = groups;
                }
                self.input(task, Input::Prepared);
            }
            Notice::Drift(seen) => {
                self.is_comparing = false;
                let running = |one: &Seen| {
                    self.tasks
                        .get(&one.task())
                        .is_some_and(|entry| !entry.machine.state().is_terminal())
                };
                let seen: Vec<Seen> = seen.into_iter().filter(running).collect();
                self.end_unreported(&seen);
                self.drift.record(seen);
            }
            Notice::Deleted(task) => {
                self.tasks.remove(&task);
                self.kills.remove(&task);
                self.queue.forget(task);
            }
            Notice::Shutdown(_) => {
                self.stopping_since = Some(Instant::now());
                self.say_leaving();
                let tasks: Vec<TaskId> = self.tasks.keys().copied().collect();
                for task in tasks {
                    self.input(task, Input::AgentEnds);
                }
            }
        }
    }

    /// Tells the kernel not to start anything here any more; without a session there is nobody
    /// who would.
    fn say_leaving(&self) {
        let message =
            kelson_proto::v1::agent_message::Message::Leaving(kelson_proto::v1::Leaving {});
        if let Some(session) = &self.session
            && session
                .try_send(AgentMessage {
                    message: Some(message),
                })
                .is_err()
        {
            tracing::debug!("the session is too full for a farewell");
        }
    }

    fn orders(&mut self, batch: Batch) {
        if self.stopping_since.is_some() {
            return;
        }
        for decision in self.assignments.apply(batch) {
            match decision {
                Decision::Start(order) => self.start(*order),
                Decision::Update(order) => {
                    if let Some(entry) = self.tasks.get_mut(&order.task) {
                        entry.order = Some(*order);
                    }
                }
                Decision::Stop { task, reason } => self.input(task, Input::Stop { reason }),
                Decision::Refuse { task, reason } => {
                    let (machine, effects) = Task::adopt_over(
                        task,
                        TaskSettings::default(),
                        Input::PrepareFailed { reason },
                        self.now(),
                    );
                    self.insert(task, machine, effects);
                }
                Decision::Unknown { task } => {
                    let (machine, effects) = Task::unknown(task);
                    self.assignments.adopt(task, 0);
                    self.insert(task, machine, effects);
                }
                Decision::Forget { task } => self.input(task, Input::Forget),
                Decision::Omitted { task } => {
                    if let Some(entry) = self.tasks.get_mut(&task) {
                        entry.is_omitted = true;
                    }
                    let reason = "the kernel does not list it".to_owned();
                    self.input(task, Input::Stop { reason });
                    self.forget_omitted(task);
                }
            }
        }
    }

    fn insert(&mut self, task: TaskId, machine: Task, effects: Vec<Effect>) {
        self.tasks.insert(
            task,
            Held {
                machine,
                order: None,
                plan: None,
                groups: Groups::default(),
                is_omitted: false,
                halt: Arc::default(),
            },
        );
        self.carry_out(task, effects);
    }

    fn start(&mut self, order: TaskOrder) {
        let (task, now) = (order.task, self.now());
        tracing::info!(%task, name = order.name, namespace = order.namespace, "starting");
        let planned = self.plan(&order);
        let settings = self.settings(&order, planned.as_ref().ok());
        let (machine, effects) = match &planned {
            Ok(_) => Task::new(task, settings),
            Err(reason) => {
                let reason = reason.clone();
                let failed = Input::PrepareFailed { reason };
                Task::adopt_over(task, settings, failed, now)
            }
        };
        let entry = Held {
            machine,
            order: Some(order),
            plan: planned.ok(),
            groups: Groups::default(),
            is_omitted: false,
            halt: Arc::default(),
        };
        self.tasks.insert(task, entry);
        self.carry_out(task, effects);
    }

    fn acks(&mut self, acks: &[(TaskId, u64)]) {
        for (task, sequence) in acks {
            self.queue.acknowledge(*task, *sequence);
            self.forget_omitted(*task);
        }
    }

    /// What the kernel does not list, has ended and is acknowledged, is as good as forgotten.
    fn forget_omitted(&mut self, task: TaskId) {
        let is_done = self.tasks.get(&task).is_some_and(|entry| {
            entry.is_omitted && entry.machine.state().is_terminal() && self.queue.is_told(task)
        });
        if is_done {
            self.assignments.forget(task);
            self.input(task, Input::Forget);
        }
    }

    fn input(&mut self, task: TaskId, input: Input) {
        let now = self.now();
        let Some(entry) = self.tasks.get_mut(&task) else {
            return;
        };
        if matches!(input, Input::Stop { .. } | Input::AgentEnds | Input::Forget) {
            entry.halt.notify_one();
        }
        let effects = entry.machine.apply(now, input);
        self.carry_out(task, effects);
    }

    /// Hands over what the kernel has not heard; says whether the session could not take all of it.
    fn flush(&mut self) -> bool {
        let Some(session) = self.session.clone() else {
            return false;
        };
        loop {
            let permit = match session.try_reserve() {
                Ok(permit) => permit,
                Err(mpsc::error::TrySendError::Full(())) => return true,
                Err(mpsc::error::TrySendError::Closed(())) => {
                    self.session = None;
                    return false;
                }
            };
            let statuses = self.queue.take_unsent(self.now(), STATUSES_AT_ONCE);
            let message = if !statuses.is_empty() {
                agent_message::Message::Statuses(v1::StatusUpdates {
                    statuses: statuses.iter().map(v1::TaskStatus::from).collect(),
                })
            } else if let Some(drift) = self.drift.take() {
                agent_message::Message::Drift(drift)
            } else {
                return false;
            };
            permit.send(AgentMessage {
                message: Some(message),
            });
        }
    }
}

async fn sleep_until(wake: Option<tokio::time::Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
