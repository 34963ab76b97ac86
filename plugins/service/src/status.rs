//! What is said about a Service, and what it waits for, in words.

use kelson_sdk::quantity::duration_text;
use kelson_sdk::{Check, Health, Rollout, Status, Task, TaskState};

use crate::pace::Pace;
use crate::view::{Seat, Start, View, Want};

/// How many failures in a row make a loop.
const LOOP: u32 = 3;

/// Why a Service is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is as it should be.
    None,
    /// It is on its way.
    Waiting,
    /// Its tasks find their ports taken.
    PortsTaken,
    /// It runs an older version than git asks for.
    RolledBack,
    /// A task fails again and again.
    CrashLoop,
    /// It has made no progress for longer than it may.
    ProgressDeadline,
    /// No agent has room for its tasks.
    NoOffers,
    /// Its specification cannot be read.
    BadSpecification,
}

impl Reason {
    /// One word; empty where all is well.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Waiting => "Waiting",
            Self::PortsTaken => "PortsTaken",
            Self::RolledBack => "RolledBack",
            Self::CrashLoop => "CrashLoop",
            Self::ProgressDeadline => "ProgressDeadline",
            Self::NoOffers => "NoOffers",
            Self::BadSpecification => "BadSpecification",
        }
    }
}

/// What is said of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The generation that it is about.
    pub generation: u64,
    /// How it does.
    pub health: Health,
    /// Where its rollout stands.
    pub rollout: Rollout,
    /// Why it is not as it should be.
    pub reason: Reason,
    /// One sentence for people.
    pub message: String,
}

impl From<Said> for Status {
    fn from(said: Said) -> Self {
        Self {
            generation: said.generation,
            health: said.health,
            rollout: said.rollout,
            reason: said.reason.word().to_owned(),
            message: said.message,
        }
    }
}

/// What a slot, and so the Service, waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// A task to be started by its agent.
    ToStart(u32),
    /// A running task to become healthy.
    ToBeHealthy(u32),
    /// A healthy task to become ready.
    ToBeReady(u32),
    /// A working task to stay healthy for this many ms.
    ToStayHealthy(u32, u64),
    /// A task whose agent cannot be reached.
    ToBeReached(u32),
    /// A task to end.
    ToEnd(u32),
    /// The pause after a failure: slot, attempts, how it ended.
    ToTryAgain(u32, u32, String),
    /// Offers for a new task.
    ForOffers(u32),
    /// An earlier slot of the rollout.
    ForItsTurn(u32),
}

impl Waiting {
    /// What a task that counts for nothing yet waits for.
    pub(crate) fn of(task: &Task, is_reachable: bool, min_healthy: u64) -> Self {
        if !is_reachable {
            return Self::ToBeReached(task.slot);
        }
        match task.state {
            TaskState::Staging | TaskState::Starting => Self::ToStart(task.slot),
            TaskState::Running if task.health != Check::Healthy || task.healthy_since.is_none() => {
                Self::ToBeHealthy(task.slot)
            }
            TaskState::Running if !task.is_ready => Self::ToBeReady(task.slot),
            TaskState::Running => Self::ToStayHealthy(task.slot, min_healthy),
            TaskState::Stopping
            | TaskState::Finished
            | TaskState::Failed
            | TaskState::Killed
            | TaskState::Lost => Self::ToEnd(task.slot),
        }
    }

    /// The pause after a failed task.
    pub(crate) fn after(ended: &Task, view: &View<'_>) -> Self {
        Self::ToTryAgain(ended.slot, ended.attempts, how_it_ended(ended, view))
    }

    /// As a clause: `waiting for web.1 to become ready`.
    pub fn text(&self, name: &str) -> String {
        match self {
            Self::ToStart(slot) => format!("waiting for {name}.{slot} to start"),
            Self::ToBeHealthy(slot) => format!("waiting for {name}.{slot} to become healthy"),
            Self::ToBeReady(slot) => format!("waiting for {name}.{slot} to become ready"),
            Self::ToStayHealthy(slot, ms) => format!(
                "waiting for {name}.{slot} to stay healthy for {}",
                duration_text(*ms)
            ),
            Self::ToBeReached(slot) => {
                format!("{name}.{slot} is on an agent that cannot be reached")
            }
            Self::ToEnd(slot) => format!("waiting for {name}.{slot} to end"),
            Self::ToTryAgain(slot, attempts, how) => {
                let times = if *attempts > 1 {
                    format!(", {attempts} times in a row")
                } else {
                    String::new()
                };
                format!("{name}.{slot} {how}{times}, and is tried again after a pause")
            }
            Self::ForOffers(slot) => format!("waiting for an offer for {name}.{slot}"),
            Self::ForItsTurn(slot) => format!("{name}.{slot} waits for its turn"),
        }
    }
}

/// How an ended task ended, as a verb: `exited with status 1`.
pub(crate) fn how_it_ended(task: &Task, view: &View<'_>) -> String {
    if task.is_port_taken {
        let unknown = || "could not be started: its ports are taken".to_owned();
        return (view.end_of)(task.id).unwrap_or_else(unknown);
    }
    if task.is_out_of_memory {
        return "ran out of memory".to_owned();
    }
    match (task.state, task.exit_code) {
        (TaskState::Lost, _) => "was lost".to_owned(),
        (TaskState::Killed, _) if task.health == Check::Unhealthy => {
            let end = (view.end_of)(task.id).unwrap_or_default();
            match answer_in(&end) {
                Some(answer) => format!("was ended as unhealthy ({answer})"),
                None => "was ended as unhealthy".to_owned(),
            }
        }
        (TaskState::Killed, _) => "was ended".to_owned(),
        (_, Some(code)) => format!("exited with status {code}"),
        (_, None) => "failed".to_owned(),
    }
}

/// What the health check answered last, where the words of an end tell it: `killed by SIGTERM after
/// it was asked to stop (unhealthy: GET / on port 80: status 404)`.
fn answer_in(end: &str) -> Option<&str> {
    let (_, answer) = end.split_once("(unhealthy: ")?;
    answer.strip_suffix(')')
}

/// What is said of a Service whose specification cannot be read.
pub(crate) fn unreadable(generation: u64, want: Want, error: &str) -> Said {
    Said {
        generation,
        health: Health::Degraded,
        rollout: if want.is_rollback {
            Rollout::RolledBack
        } else {
            Rollout::Progressing
        },
        reason: Reason::BadSpecification,
        message: format!(
            "the specification of generation {} {error}",
            want.generation
        ),
    }
}

/// How a Service does. `starts` are the slots that need a task now.
pub(crate) fn status_of(
    view: &View<'_>,
    pace: &Pace,
    seats: &[Seat<'_>],
    starts: &[Start],
    is_done: bool,
) -> Said {
    let proved = seats.iter().filter(|seat| seat.is_fresh_proved).count();
    let instances = view.spec.instances;
    let count = if instances == 0 {
        "no instances are wanted".to_owned()
    } else {
        format!("{proved} of {instances} healthy")
    };
    if view.want.is_rollback {
        Said {
            generation: view.row.generation,
            health: Health::Degraded,
            rollout: Rollout::RolledBack,
            reason: Reason::RolledBack,
            message: format!(
                "generation {} {} and was rolled back; generation {} runs: {count}",
                view.row.generation,
                why_given_up(view, seats),
                view.want.generation
            ),
        }
    } else if is_done {
        Said {
            generation: view.row.generation,
            health: Health::Healthy,
            rollout: Rollout::Complete,
            reason: Reason::None,
            message: count,
        }
    } else {
        let old = seats.iter().filter(|seat| seat.is_stale_working).count();
        let count = match old {
            0 => count,
            1 => format!("{proved} of {instances} new healthy, 1 old one serves"),
            old => format!("{proved} of {instances} new healthy, {old} old ones serve"),
        };
        on_the_way(view, pace, seats, starts, &count)
    }
}

/// What the newest generation's last failure was, where one is still to be seen.
fn why_given_up(view: &View<'_>, seats: &[Seat<'_>]) -> String {
    let failed = seats
        .iter()
        .flat_map(|seat| seat.slot.ended())
        .filter(|task| task.template_id == view.row.template_id)
        .filter(|task| task.state != TaskState::Killed)
        .filter(|task| view.is_telling(task))
        .max_by_key(|task| task.id);
    match failed {
        Some(task) => format!(
            "failed ({}.{} {})",
            view.name,
            task.slot,
            how_it_ended(task, view)
        ),
        None => "did not become healthy in time".to_owned(),
    }
}

fn rollout_of(view: &View<'_>, is_paused: bool) -> Rollout {
    if view.want.is_rollback {
        Rollout::RolledBack
    } else if view.row.good_generation == Some(view.row.generation) {
        Rollout::Complete
    } else if is_paused {
        Rollout::Paused
    } else {
        Rollout::Progressing
    }
}

/// The status of a Service that is short of something.
fn on_the_way(
    view: &View<'_>,
    pace: &Pace,
    seats: &[Seat<'_>],
    starts: &[Start],
    count: &str,
) -> Said {
    let mut status = Said {
        generation: view.row.generation,
        health: Health::Progressing,
        rollout: rollout_of(view, pace.is_paused),
        reason: Reason::Waiting,
        message: count.to_owned(),
    };
    let mut starting: Vec<u32> = starts.iter().map(|start| start.slot).collect();
    starting.sort_unstable();
    let open = || {
        seats
            .iter()
            .filter(|seat| !seat.is_fresh_proved || seat.stale.is_some())
    };
    let looping = open().find(|seat| match seat.fresh {
        Some(task) => !seat.is_fresh_proved && task.attempts > LOOP,
        None => seat
            .slot
            .last_try
            .is_some_and(|task| !task.is_port_taken && task.attempts >= LOOP),
    });
    let last_tries = open().filter(|seat| seat.is_open());
    let refused = last_tries
        .filter_map(|seat| seat.slot.last_try)
        .find(|task| task.is_port_taken);
    // What can be told of one slot is told of the most telling one.
    let wait = |seat| wait_of(view, seat, &starting);
    let told = looping
        .map(wait)
        .or_else(|| refused.map(|task| Waiting::after(task, view)))
        .or_else(|| {
            open()
                .map(wait)
                .find(|wait| !matches!(wait, Waiting::ForItsTurn(_)))
        })
        .or_else(|| open().next().map(wait));
    if let Some(wait) = told {
        status.message = format!("{count}; {}", wait.text(view.name));
    }
    if looping.is_some() {
        status.health = Health::Degraded;
        status.reason = Reason::CrashLoop;
    } else if let Some(task) = refused {
        status.reason = Reason::PortsTaken;
        if task.attempts >= LOOP {
            status.health = Health::Degraded;
        }
    }
    if pace.is_overdue {
        status.health = Health::Degraded;
        if status.reason == Reason::Waiting {
            status.reason = Reason::ProgressDeadline;
        }
        status.message = format!(
            "{}; no progress for {}",
            status.message,
            duration_text(view.spec.update.deadline)
        );
    }
    status
}

fn wait_of(view: &View<'_>, seat: &Seat<'_>, starting: &[u32]) -> Waiting {
    if let Some(task) = seat.fresh {
        if seat.is_fresh_proved {
            return Waiting::ToEnd(seat.slot.number);
        }
        return Waiting::of(
            task,
            (view.is_reachable)(task.agent),
            view.spec.update.min_healthy,
        );
    }
    if starting.binary_search(&seat.slot.number).is_ok() {
        return Waiting::ForOffers(seat.slot.number);
    }
    match seat.slot.last_try {
        Some(ended) if !seat.slot.is_fresh_ending => Waiting::after(ended, view),
        _ if seat.slot.is_fresh_ending => Waiting::ToEnd(seat.slot.number),
        _ if seat.stale.is_none() => Waiting::ToEnd(seat.slot.number),
        _ => Waiting::ForItsTurn(seat.slot.number),
    }
}

/// Says that no offers come for `unmet` tasks of this shape.
pub(crate) fn say_missing_offers(status: &mut Said, unmet: usize, shape: &str) {
    if status.reason == Reason::RolledBack {
        return;
    }
    let tasks = if unmet == 1 { "task" } else { "tasks" };
    let counted = status.message.split(';').next().unwrap_or_default();
    status.message = format!("{counted}; no offers for {unmet} {tasks} of {shape}");
    if matches!(status.reason, Reason::Waiting | Reason::PortsTaken) {
        status.reason = Reason::NoOffers;
    }
}
