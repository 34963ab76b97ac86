//! The whole decision about one Service: a pure function of its specification, its rows and the
//! time.
//!
//! *Guarantees*: the same rows give the same plan; a plan that was carried out is followed by an
//! empty one, until something happens. At most `maxSurge` slots hold two tasks; a working task of
//! an older version is ended only where its slot has a proved new one, or where at least
//! `instances` - `maxUnavailable` slots stay served. A slot that keeps failing holds its place in
//! the surge, so a broken version is tried in as many slots as the surge allows and in no more.
//! *Assumes*: what was refused of a plan is seen as rows that did not change, and so planned again.

use kelson_sdk::{Check, KillReason, Task, TaskState};

use crate::pace::{PATIENCE, Pace};
use crate::slots::{Slot, has_proved, is_working, sort};
use crate::spec::OnFailure;
use crate::status::{Said, say_missing_offers, status_of};
use crate::view::{Seat, Start, View};

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
    /// From when the deadline counts if something is started now, where it has waited for room.
    pub counted_from: Option<u64>,
    /// What is said about it; absent: nothing (it is being removed).
    pub status: Option<Said>,
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
    plan.counted_from = pace.counted_from_now(view);
    conclude(view, &pace, &seats, &mut plan);
    plan
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
    let most = usize::try_from(view.update().max_unavailable).unwrap_or(usize::MAX);
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
    for seat in seats
        .iter()
        .filter(|seat| seat.is_open() && seat.stale.is_none())
    {
        start(view, pace, seat, plan);
    }
    if pace.is_paused {
        return;
    }
    // A slot that was tried before holds its place in the surge, also while it pauses.
    let mut room = view.update().max_surge;
    let held = |seat: &&Seat<'_>| !seat.is_open() || seat.slot.last_try.is_some();
    let surging = seats.iter().filter(|seat| seat.stale.is_some());
    let (started, waiting): (Vec<_>, Vec<_>) = surging.partition(held);
    for seat in started {
        room = room.saturating_sub(1);
        if seat.is_open() {
            start(view, pace, seat, plan);
        }
    }
    let next = usize::try_from(room).unwrap_or(usize::MAX);
    for seat in waiting.into_iter().take(next) {
        start(view, pace, seat, plan);
    }
}

/// Starts an open slot, or looks again when its pause is over.
fn start(view: &View<'_>, pace: &Pace, seat: &Seat<'_>, plan: &mut Plan) {
    let retry_at = view.retry_at(seat).unwrap_or(0);
    if retry_at > view.now {
        plan.wake(retry_at);
        return;
    }
    plan.starts.push(Start {
        slot: seat.slot.number,
        since: seat.slot.moved_at.max(pace.from).max(retry_at),
    });
}

/// Finds out whether the Service is good, says how it does, and when to look again.
fn conclude(view: &View<'_>, pace: &Pace, seats: &[Seat<'_>], plan: &mut Plan) {
    let is_done = plan.kills.is_empty()
        && seats
            .iter()
            .all(|seat| seat.is_fresh_proved && seat.stale.is_none());
    // Where nothing is wanted, nothing has shown that the version works, unless it did before.
    let has_run = !seats.is_empty() || view.row.good_template_id == Some(view.row.template_id);
    plan.is_good = is_done
        && has_run
        && !view.want.is_rollback
        && view.row.good_generation != Some(view.row.generation);
    for seat in seats
        .iter()
        .filter(|seat| seat.is_fresh_working && !seat.is_fresh_proved)
    {
        if let Some(since) = seat.fresh.and_then(|task| task.healthy_since) {
            plan.wake(since.saturating_add(view.spec.update.min_healthy));
        }
    }
    if let Some(deadline) = pace.deadline(view).filter(|_| !is_done) {
        plan.wake(deadline);
    }
    plan.status = Some(status_of(view, pace, seats, &plan.starts, is_done));
}

impl Plan {
    /// Says that offers are missing where demand has stood for a while; else looks again when it
    /// would have.
    pub(crate) fn miss_offers(&mut self, unmet: &[Start], shape: &str, now: u64) {
        let Some(since) = unmet.iter().map(|start| start.since).min() else {
            return;
        };
        let late = since.saturating_add(PATIENCE);
        if now < late {
            self.wake(late);
        } else if let Some(status) = &mut self.status {
            say_missing_offers(status, unmet.len(), shape);
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
