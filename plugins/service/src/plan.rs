//! The whole decision about one Service: a pure function of its specification, its rows and the
//! time.
//!
//! *Guarantees*: the same rows give the same plan; a plan that was carried out is followed by an
//! empty one, until something happens. At most `maxSurge` slots hold two tasks; a working task of
//! an older version is ended only where its slot has a proved new one, or where at least
//! `instances` - `maxUnavailable` slots stay served. A slot that keeps failing holds its place in
//! the surge, so a broken version is tried in as many slots as the surge allows and in no more.
//! *Assumes*: what was refused of a plan is seen as rows that did not change, and so planned again.

use kelson_sdk::quantity::duration_text;
use kelson_sdk::{Check, Health, KillReason, Rollout, Status, Task, TaskState, Workload};

use crate::slots::{Slot, has_proved, is_working, sort};
use crate::spec::{OnFailure, Spec};
use crate::status::{Waiting, how_it_ended};

/// At least this many failures in a row make a loop.
const LOOP: u32 = 3;
/// How long demand may stand before a missing offer is worth a word, in ms.
const PATIENCE: u64 = 2000;

/// Which generation is worked towards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// The generation that new tasks run.
    pub generation: u64,
    /// Names the content of its template: tasks that run it are kept, whatever their generation.
    pub template_id: u64,
    /// Whether it is the good generation, because the newest was quarantined.
    pub is_rollback: bool,
}

impl Want {
    /// The newest generation, or the good one where the newest is quarantined.
    pub fn of(row: &Workload) -> Self {
        match (row.good_generation, row.good_template_id) {
            (Some(generation), Some(template_id))
                if row.quarantined_generation == Some(row.generation)
                    && generation != row.generation =>
            {
                Self {
                    generation,
                    template_id,
                    is_rollback: true,
                }
            }
            _ => Self {
                generation: row.generation,
                template_id: row.template_id,
                is_rollback: false,
            },
        }
    }
}

/// Everything that a plan is a function of, beside the tasks.
pub struct View<'a> {
    /// The workload.
    pub row: &'a Workload,
    /// Which generation is worked towards.
    pub want: Want,
    /// The specification of that generation.
    pub spec: &'a Spec,
    /// The workload's name, for messages.
    pub name: &'a str,
    /// Cluster time in ms.
    pub now: u64,
    /// Whether an agent can be reached.
    pub is_reachable: &'a dyn Fn(u32) -> bool,
}

/// A slot that needs a task now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Which.
    pub slot: u32,
    /// Since when, in cluster time.
    pub since: u64,
}

/// What is to be done about one Service now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Tasks to end.
    pub kills: Vec<(u64, KillReason)>,
    /// Ended tasks that need not be seen any more.
    pub forgets: Vec<u64>,
    /// Slots to fill from offers, most urgent first; those without an offer are demand.
    pub starts: Vec<Start>,
    /// When time alone would change the plan.
    pub wake_at: Option<u64>,
    /// Whether the newest generation has proved itself.
    pub is_good: bool,
    /// Whether the newest generation is to be given up.
    pub is_given_up: bool,
    /// What is said about it; absent: nothing (it is being removed).
    pub status: Option<Status>,
}

impl Plan {
    fn wake(&mut self, at: u64) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Whether nothing is to be done or asked for.
    pub fn is_idle(&self) -> bool {
        self.kills.is_empty()
            && self.forgets.is_empty()
            && self.starts.is_empty()
            && !self.is_good
            && !self.is_given_up
    }
}

/// Plans one Service. Its tasks come by slot and then by age.
pub fn plan_workload<'a>(view: &View<'_>, tasks: impl Iterator<Item = &'a Task>) -> Plan {
    if view.row.is_gone {
        return plan_removal(tasks);
    }
    if view.row.is_suspended {
        return plan_suspended(view);
    }
    let tasks: Vec<&Task> = tasks.collect();
    let mut plan = Plan::default();
    let mut slots = sort(&tasks, view.want.template_id).peekable();
    let mut seats = Vec::with_capacity(usize::try_from(view.spec.instances).unwrap_or(0));
    for number in 0..view.spec.instances {
        let slot = slots.next_if(|slot| slot.number == number);
        seats.push(weed(view, slot.unwrap_or(Slot::empty(number)), &mut plan));
    }
    for surplus in slots {
        for task in surplus.tasks {
            if task.state.is_terminal() {
                plan.forgets.push(task.id);
            } else if task.is_live() {
                plan.kills.push((task.id, KillReason::ScaledDown));
            }
        }
    }
    let pace = Pace::of(view, &seats);
    if pace.is_overdue && may_roll_back(view) {
        plan.is_given_up = true;
    }
    if !pace.is_paused {
        retire(view, &mut seats, &mut plan);
    }
    fill(view, &pace, &seats, &mut plan);
    conclude(view, &pace, &seats, &mut plan);
    plan
}

/// One wanted slot, with at most one task of each sort.
struct Seat<'a> {
    slot: Slot<'a>,
    fresh: Option<&'a Task>,
    stale: Option<&'a Task>,
    is_fresh_working: bool,
    is_fresh_proved: bool,
    is_stale_working: bool,
}

impl Seat<'_> {
    fn is_served(&self) -> bool {
        self.is_fresh_proved || self.is_stale_working
    }
}

/// Where the rollout stands in time.
struct Pace {
    /// When a task last became healthy, or the generation came to be.
    progress_at: u64,
    is_overdue: bool,
    is_paused: bool,
}

impl Pace {
    fn of(view: &View<'_>, seats: &[Seat<'_>]) -> Self {
        let healthy = seats
            .iter()
            .filter(|seat| seat.is_fresh_working)
            .filter_map(|seat| seat.fresh.and_then(|task| task.healthy_since));
        let progress_at = healthy.fold(view.row.generation_since, u64::max);
        let is_done = seats
            .iter()
            .all(|seat| seat.is_fresh_proved && seat.stale.is_none());
        // What was good once and is short of a task again is counted from when that began, not from
        // its rollout.
        let is_settled = view.row.good_generation == Some(view.row.generation);
        let moved_at = seats.iter().map(|seat| seat.slot.moved_at);
        let from = if is_settled || view.want.is_rollback {
            moved_at.fold(progress_at, u64::max)
        } else {
            progress_at
        };
        let is_overdue = !is_done && view.now >= from.saturating_add(view.spec.update.deadline);
        let is_rollout =
            !is_settled && !view.want.is_rollback && view.row.good_generation.is_some();
        Self {
            progress_at: from,
            is_overdue,
            is_paused: is_overdue && is_rollout && view.spec.update.on_failure == OnFailure::Pause,
        }
    }
}

/// Whether there is another version to go back to.
fn may_roll_back(view: &View<'_>) -> bool {
    view.spec.update.on_failure == OnFailure::Rollback
        && !view.want.is_rollback
        && view
            .row
            .good_generation
            .is_some_and(|good| good != view.row.generation)
        && view
            .row
            .good_template_id
            .is_some_and(|good| good != view.row.template_id)
}

/// Plans the end of a Service that was removed: needs no specification, which may not be kept any
/// more.
pub fn plan_removal<'a>(tasks: impl Iterator<Item = &'a Task>) -> Plan {
    let mut plan = Plan::default();
    for task in tasks {
        if task.state.is_terminal() {
            plan.forgets.push(task.id);
        } else if task.is_live() {
            plan.kills.push((task.id, KillReason::Removed));
        }
    }
    plan
}

fn plan_suspended(view: &View<'_>) -> Plan {
    Plan {
        status: Some(Status {
            generation: view.row.generation,
            health: Health::Suspended,
            rollout: rollout_of(view, false),
            reason: "Suspended".to_owned(),
            message: "held by hand: nothing is started or ended".to_owned(),
        }),
        ..Plan::default()
    }
}

/// Ends what no slot may hold: unhealthy tasks, seconds of a sort, and old ones that do not work.
/// Forgets what need not be seen.
fn weed<'a>(view: &View<'_>, slot: Slot<'a>, plan: &mut Plan) -> Seat<'a> {
    plan.forgets.extend(slot.forgettable().map(|task| task.id));
    let works = |task: &Task| is_working(task, (view.is_reachable)(task.agent));
    let mut keep = |is_stale: bool| -> Option<&'a Task> {
        let is_kept = |task: &&'a Task| {
            !(view.is_reachable)(task.agent)
                || task.health != Check::Unhealthy && (!is_stale || is_worth_keeping(task))
        };
        // The oldest of those that work, else the oldest.
        let live = slot.live(is_stale).filter(is_kept);
        let kept = live.min_by_key(|task| (!works(task), task.id));
        for task in slot.live(is_stale) {
            if Some(task.id) != kept.map(|task| task.id) {
                let reason = if task.health == Check::Unhealthy {
                    KillReason::Unhealthy
                } else {
                    KillReason::Replaced
                };
                plan.kills.push((task.id, reason));
            }
        }
        kept
    };
    let (fresh, stale) = (keep(false), keep(true));
    let is_fresh_working = fresh.is_some_and(works);
    Seat {
        slot,
        fresh,
        stale,
        is_fresh_working,
        is_fresh_proved: is_fresh_working
            && fresh.is_some_and(|task| has_proved(task, view.now, view.spec.update.min_healthy)),
        is_stale_working: stale.is_some_and(works),
    }
}

/// Whether a task of an older version has ever got so far that its slot loses something with it.
fn is_worth_keeping(task: &Task) -> bool {
    task.state == TaskState::Running && task.health == Check::Healthy
}

/// Ends old tasks: those with a proved successor, and as many of the others as may be away.
fn retire(view: &View<'_>, seats: &mut [Seat<'_>], plan: &mut Plan) {
    let end = |seat: &mut Seat<'_>, plan: &mut Plan| {
        if let Some(task) = seat.stale.take() {
            plan.kills.push((task.id, KillReason::Replaced));
            seat.is_stale_working = false;
        }
    };
    for seat in seats.iter_mut().filter(|seat| seat.is_fresh_proved) {
        end(seat, plan);
    }
    let away = seats
        .iter()
        .filter(|seat| !seat.is_fresh_proved && seat.stale.is_none())
        .count();
    let unserved = seats.iter().filter(|seat| !seat.is_served()).count();
    let most = usize::try_from(view.spec.update.max_unavailable).unwrap_or(usize::MAX);
    // A working task may go while enough others serve; one that does not serve, while few enough
    // are on their way.
    let mut working_may_go = most.saturating_sub(unserved);
    let mut idle_may_go = most.saturating_sub(away);
    for seat in seats.iter_mut() {
        // A slot whose successor is on its way keeps its old task until that has proved itself.
        let is_untried = seat.fresh.is_none() && seat.slot.last_try.is_none();
        let Some(stale) = seat.stale.filter(|_| is_untried) else {
            continue;
        };
        if seat.is_stale_working {
            if working_may_go > 0 && idle_may_go > 0 {
                working_may_go -= 1;
                idle_may_go -= 1;
                end(seat, plan);
            }
        } else if idle_may_go > 0 && (view.is_reachable)(stale.agent) {
            idle_may_go -= 1;
            end(seat, plan);
        }
    }
}

/// Finds the slots that need a task now.
fn fill(view: &View<'_>, pace: &Pace, seats: &[Seat<'_>], plan: &mut Plan) {
    let retry_at = |seat: &Seat<'_>| {
        let ended = seat.slot.last_try?;
        Some(
            view.spec
                .backoff
                .retry_at(ended, view.spec.update.min_healthy),
        )
    };
    let since = |seat: &Seat<'_>| {
        seat.slot
            .moved_at
            .max(pace.progress_at)
            .max(retry_at(seat).unwrap_or(0))
    };
    let is_open = |seat: &Seat<'_>| seat.fresh.is_none() && !seat.slot.is_fresh_ending;
    for seat in seats
        .iter()
        .filter(|seat| is_open(seat) && seat.stale.is_none())
    {
        match retry_at(seat) {
            Some(at) if at > view.now => plan.wake(at),
            _ => plan.starts.push(Start {
                slot: seat.slot.number,
                since: since(seat),
            }),
        }
    }
    if pace.is_paused {
        return;
    }
    // A slot that was tried before holds its place in the surge, also while it pauses.
    let mut room = view.spec.update.max_surge;
    let held = |seat: &&Seat<'_>| !is_open(seat) || seat.slot.last_try.is_some();
    let surging = seats.iter().filter(|seat| seat.stale.is_some());
    let (started, waiting): (Vec<_>, Vec<_>) = surging.partition(held);
    for seat in started {
        room = room.saturating_sub(1);
        if is_open(seat) {
            match retry_at(seat) {
                Some(at) if at > view.now => plan.wake(at),
                _ => plan.starts.push(Start {
                    slot: seat.slot.number,
                    since: since(seat),
                }),
            }
        }
    }
    let next = usize::try_from(room).unwrap_or(usize::MAX);
    plan.starts
        .extend(waiting.iter().take(next).map(|seat| Start {
            slot: seat.slot.number,
            since: since(seat),
        }));
}

/// Says how the Service does, whether it is good, and when to look again.
fn conclude(view: &View<'_>, pace: &Pace, seats: &[Seat<'_>], plan: &mut Plan) {
    let proved = seats.iter().filter(|seat| seat.is_fresh_proved).count();
    let is_done = plan.kills.is_empty()
        && seats
            .iter()
            .all(|seat| seat.is_fresh_proved && seat.stale.is_none());
    plan.is_good =
        is_done && !view.want.is_rollback && view.row.good_generation != Some(view.row.generation);
    for seat in seats
        .iter()
        .filter(|seat| seat.is_fresh_working && !seat.is_fresh_proved)
    {
        if let Some(since) = seat.fresh.and_then(|task| task.healthy_since) {
            plan.wake(since.saturating_add(view.spec.update.min_healthy));
        }
    }
    if !is_done && !pace.is_overdue {
        plan.wake(pace.progress_at.saturating_add(view.spec.update.deadline));
    }
    let instances = view.spec.instances;
    let count = if instances == 0 {
        "no instances are wanted".to_owned()
    } else {
        format!("{proved} of {instances} healthy")
    };
    plan.status = Some(if view.want.is_rollback {
        Status {
            generation: view.row.generation,
            health: Health::Degraded,
            rollout: Rollout::RolledBack,
            reason: "RolledBack".to_owned(),
            message: format!(
                "generation {} {} and was rolled back; generation {} runs: {count}",
                view.row.generation,
                why_given_up(view, seats),
                view.want.generation
            ),
        }
    } else if is_done {
        Status {
            generation: view.row.generation,
            health: Health::Healthy,
            rollout: Rollout::Complete,
            reason: String::new(),
            message: count,
        }
    } else {
        on_the_way(view, pace, seats, plan, &count)
    });
}

/// What the newest generation's last failure was, where one is still to be seen.
fn why_given_up(view: &View<'_>, seats: &[Seat<'_>]) -> String {
    let failed = seats
        .iter()
        .flat_map(|seat| seat.slot.ended())
        .filter(|task| task.template_id == view.row.template_id && task.state != TaskState::Killed)
        .max_by_key(|task| task.id);
    match failed {
        Some(task) => format!(
            "failed ({}.{} {})",
            view.name,
            task.slot,
            how_it_ended(task)
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
    plan: &Plan,
    count: &str,
) -> Status {
    let mut status = Status {
        generation: view.row.generation,
        health: Health::Progressing,
        rollout: rollout_of(view, pace.is_paused),
        reason: "Waiting".to_owned(),
        message: count.to_owned(),
    };
    let mut starting: Vec<u32> = plan.starts.iter().map(|start| start.slot).collect();
    starting.sort_unstable();
    let open = || {
        seats
            .iter()
            .filter(|seat| !seat.is_fresh_proved || seat.stale.is_some())
    };
    let looping = open().find(|seat| match seat.fresh {
        Some(task) => !seat.is_fresh_proved && task.attempts > LOOP,
        None => seat.slot.last_try.is_some_and(|task| task.attempts >= LOOP),
    });
    // What can be told of one slot is told of the most telling one.
    let wait = |seat| wait_of(view, seat, &starting);
    let told = looping
        .map(wait)
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
        status.reason = "CrashLoop".to_owned();
    }
    if pace.is_overdue {
        status.health = Health::Degraded;
        if status.reason == "Waiting" {
            status.reason = "ProgressDeadline".to_owned();
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
        Some(ended) if !seat.slot.is_fresh_ending => Waiting::after(ended),
        _ if seat.slot.is_fresh_ending => Waiting::ToEnd(seat.slot.number),
        _ if seat.stale.is_none() => Waiting::ToEnd(seat.slot.number),
        _ => Waiting::ForItsTurn(seat.slot.number),
    }
}

/// Says that offers are missing where demand has stood for a while; else looks again when it would
/// have.
pub(crate) fn tell_missing_offers(plan: &mut Plan, unmet: &[Start], shape: &str, now: u64) {
    let Some(since) = unmet.iter().map(|start| start.since).min() else {
        return;
    };
    let late = since.saturating_add(PATIENCE);
    if now < late {
        plan.wake(late);
        return;
    }
    if let Some(status) = plan
        .status
        .as_mut()
        .filter(|status| status.reason != "RolledBack")
    {
        let tasks = if unmet.len() == 1 { "task" } else { "tasks" };
        let counted = status.message.split(';').next().unwrap_or_default();
        status.message = format!(
            "{counted}; no offers for {} {tasks} of {shape}",
            unmet.len()
        );
        if status.reason == "Waiting" {
            status.reason = "NoOffers".to_owned();
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
