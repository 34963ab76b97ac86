//! Where a rollout stands in time.
//!
//! The deadline runs while a slot is tried: while a task of the wanted version is there, ends, or
//! pauses after a failure. Where all that is missing waits for room, the clock stands still:
//! waiting is not failing. Neither is to find a port taken that was picked for the task; one that
//! the version asks for by its number is the version's own matter.

use crate::spec::OnFailure;
use crate::view::{Seat, View};

/// How long a slot may wait for offers before that is worth a word or a note, in ms.
pub(crate) const PATIENCE: u64 = 2000;

/// Where the rollout stands in time.
pub(crate) struct Pace {
    /// From when the deadline counts: when a task last became healthy, or the generation came to
    /// be.
    pub(crate) from: u64,
    /// Up to when something was tried; `now` where something is.
    tried_until: u64,
    /// Whether something is tried now.
    is_tried: bool,
    /// Whether the version has been good, or is the one that was gone back to.
    is_settled: bool,
    pub(crate) is_overdue: bool,
    pub(crate) is_paused: bool,
}

impl Pace {
    pub(crate) fn of(view: &View<'_>, seats: &[Seat<'_>]) -> Self {
        let healthy = seats
            .iter()
            .filter(|seat| seat.is_fresh_working)
            .filter_map(|seat| seat.fresh.and_then(|task| task.healthy_since));
        let counted_from = view.counted_from.unwrap_or(0);
        let progress_at = healthy.fold(view.row.generation_since.max(counted_from), u64::max);
        // What was good once and is short of a task again is counted from when that began, not from
        // its rollout.
        let is_settled = view.row.good_generation == Some(view.row.generation);
        let moved_at = seats.iter().map(|seat| seat.slot.moved_at);
        let from = if is_settled || view.want.is_rollback {
            moved_at.fold(progress_at, u64::max)
        } else {
            progress_at
        };
        let unproved = || seats.iter().filter(|seat| !seat.is_fresh_proved);
        let pause_of = |seat: &Seat<'_>| {
            let was_tried = seat.slot.last_try.is_some_and(|task| view.is_telling(task));
            view.retry_at(seat).filter(|_| was_tried)
        };
        let is_in_pause = |seat: &Seat<'_>| pause_of(seat).is_some_and(|at| at > view.now);
        let is_tried = unproved().next().is_none()
            || unproved().any(|seat| !seat.is_open() || is_in_pause(seat));
        let tried_until = if is_tried {
            view.now
        } else {
            unproved().filter_map(pause_of).fold(from, u64::max)
        };
        let is_done = seats
            .iter()
            .all(|seat| seat.is_fresh_proved && seat.stale.is_none());
        let is_overdue = !is_done && tried_until >= from.saturating_add(view.spec.update.deadline);
        let is_rollout =
            !is_settled && !view.want.is_rollback && view.row.good_generation.is_some();
        Self {
            from,
            tried_until,
            is_tried,
            is_settled: is_settled || view.want.is_rollback,
            is_overdue,
            is_paused: is_overdue && is_rollout && view.spec.update.on_failure == OnFailure::Pause,
        }
    }

    /// When the deadline ends, where nothing but time is needed for that.
    pub(crate) fn deadline(&self, view: &View<'_>) -> Option<u64> {
        let is_running = self.is_tried && !self.is_overdue;
        is_running.then(|| self.from.saturating_add(view.spec.update.deadline))
    }

    /// From when the deadline would count if something were tried from now on, where that is later
    /// than it counts from as it is.
    pub(crate) fn counted_from_now(&self, view: &View<'_>) -> Option<u64> {
        let waited = view.now.saturating_sub(self.tried_until);
        (!self.is_settled && waited >= PATIENCE).then(|| self.from.saturating_add(waited))
    }
}
