//! Rounds: plans turns, runs them in the sandbox, proposes what they want.
//!
//! *Flow:* plan whenever something has changed, a turn has ended, a wake-up is due or somebody
//! pokes; run the planned turns on a pool of the machine's size; propose what each wants when it
//! ends. *Guarantees:* no seat waits for another one's turn; a turn that is void, lost or not
//! accepted has changed nothing, its instance is dropped, and its changes are shown again; an
//! outcome that says nothing new writes no entry; nothing but the end of the log ends the loop.
//! *Assumes:* this member leads; what it proposes is fenced by its term. *Caveats:* a turn that
//! waits for a place in the pool sees the state as of when it was planned.

use std::future::Future;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use kelson_kernel_core::command::Command;
use kelson_kernel_core::port::{SchedulerHost, TurnFault, TurnOutcome};
use kelson_kernel_core::round::{PlannedTurn, RoundMemory, plan_round, says_nothing};
use kelson_kernel_core::{Reply, State};
use kelson_model::framework::LogLevel;
use kelson_model::time::ClusterTime;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep};
use tracing::{Instrument, info_span, warn};

use crate::heart::Heart;
use crate::kernel::Kernel;
use crate::leader::Tenure;
use crate::metrics::{Metrics, Since};
use crate::proposing::SubmitError;
use crate::raft::ProposeError;

/// Longest sleep without a wake-up; a round that finds nothing costs microseconds.
const IDLE: Duration = Duration::from_secs(30);
/// How long the loop may be busy, or late for its own wake-up, before somebody should look.
const LATE: Duration = Duration::from_secs(10);
/// First and longest pause after a proposal that the log did not take; it doubles in between.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the loop needs of a kernel.
pub(crate) trait Ground: Clone + Send + Sync + 'static {
    /// Sees every published state, the newest only where it is slow.
    fn watch(&self) -> watch::Receiver<State>;
    /// Hears of every poke.
    fn watch_pokes(&self) -> watch::Receiver<u64>;
    /// Cluster time.
    fn now(&self) -> ClusterTime;
    /// What is remembered from round to round; held for a moment only.
    fn memory(&self) -> MutexGuard<'_, RoundMemory>;
    /// The sandbox of the schedulers.
    fn host(&self) -> &Arc<dyn SchedulerHost>;
    /// Where it is measured.
    fn metrics(&self) -> &Metrics;
    /// Proposes a command and waits until it is applied and published.
    fn propose(&self, command: Command) -> impl Future<Output = Result<Reply, SubmitError>> + Send;
}

impl Ground for Tenure {
    fn watch(&self) -> watch::Receiver<State> {
        Kernel::watch(self)
    }
    fn watch_pokes(&self) -> watch::Receiver<u64> {
        Kernel::watch_pokes(self)
    }
    fn now(&self) -> ClusterTime {
        Kernel::now(self)
    }
    fn memory(&self) -> MutexGuard<'_, RoundMemory> {
        Kernel::memory(self)
    }
    fn host(&self) -> &Arc<dyn SchedulerHost> {
        Kernel::host(self)
    }
    fn metrics(&self) -> &Metrics {
        Kernel::metrics(self)
    }
    async fn propose(&self, command: Command) -> Result<Reply, SubmitError> {
        Tenure::propose(self, command).await
    }
}

/// Runs rounds while this member leads; returns when the log has stopped.
pub async fn run_rounds(kernel: Tenure) {
    let heart = kernel.hearts().start("rounds");
    let places = std::thread::available_parallelism().map_or(2, usize::from);
    run_rounds_on(kernel, heart, places).await;
}

/// Runs rounds with at most this many turns at a time.
pub(crate) async fn run_rounds_on(ground: impl Ground, heart: Heart, places: usize) {
    let mut view = ground.watch();
    let mut pokes = ground.watch_pokes();
    let pool = Arc::new(Semaphore::new(places));
    let mut turns: JoinSet<Result<(), SubmitError>> = JoinSet::new();
    let mut trouble = Trouble::default();
    loop {
        heart.works("plans a round", LATE);
        let sleep_for = match trouble.until() {
            Some(until) => until.saturating_duration_since(Instant::now()),
            None => begin_round(&ground, &mut view, &pool, &mut turns),
        };
        let waits = match turns.len() {
            0 => "for a change or a wake-up".to_owned(),
            count => format!("for {count} turns under way, a change or a wake-up"),
        };
        heart.waits(waits, Some(sleep_for + LATE));
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            _ = pokes.changed() => {}
            Some(ended) = turns.join_next(), if !turns.is_empty() => {
                let mut ended = Some(ended);
                while let Some(result) = ended {
                    if trouble.note(result.unwrap_or(Ok(()))).is_err() {
                        return;
                    }
                    ended = turns.try_join_next();
                }
            }
            () = sleep(sleep_for) => {}
        }
    }
}

/// Plans a round and begins its turns; returns for how long nothing is due.
fn begin_round(
    ground: &impl Ground,
    view: &mut watch::Receiver<State>,
    pool: &Arc<Semaphore>,
    turns: &mut JoinSet<Result<(), SubmitError>>,
) -> Duration {
    let since = Since::now();
    let (round, now) = {
        // The state is read under the lock: what the memory knows of ended turns is never newer.
        let mut memory = ground.memory();
        let state = view.borrow_and_update().clone();
        let now = ground.now();
        (plan_round(&state, &mut memory, now), now)
    };
    ground.metrics().planned(since);
    for seat in &round.unsure {
        ground.host().drop_instance(seat);
    }
    for turn in round.turns {
        let span = info_span!("turn", seat = %turn.request.seat, turn = turn.request.turn_no);
        turns.spawn(take(ground.clone(), Arc::clone(pool), turn).instrument(span));
    }
    let until = |at: ClusterTime| Duration::from_millis(at.since(now).0);
    round.wake_at.map_or(IDLE, until).min(IDLE)
}

/// What the log did not take lately.
#[derive(Default)]
struct Trouble {
    pause: Duration,
    until: Option<Instant>,
}

impl Trouble {
    /// Until when nothing is proposed, where that is not over.
    fn until(&mut self) -> Option<Instant> {
        self.until = self.until.filter(|until| *until > Instant::now());
        self.until
    }

    /// Notes how a turn ended.
    ///
    /// # Errors
    /// The log has stopped.
    fn note(&mut self, ended: Result<(), SubmitError>) -> Result<(), ()> {
        match ended {
            Ok(()) => {
                *self = Self::default();
                Ok(())
            }
            Err(SubmitError::Propose(ProposeError::Stopped { reason })) => {
                warn!(%reason, "the log has stopped, and rounds with it");
                Err(())
            }
            Err(error) => {
                self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                self.until = Some(Instant::now() + self.pause);
                warn!(%error, pause = ?self.pause, "the log did not take a turn; it is tried again");
                Ok(())
            }
        }
    }
}

/// Runs one turn in the sandbox and sees to what became of it.
async fn take<G: Ground>(
    ground: G,
    pool: Arc<Semaphore>,
    turn: PlannedTurn,
) -> Result<(), SubmitError> {
    let turn = Arc::new(turn);
    let place = pool.acquire_owned().await;
    let (running, host) = (Arc::clone(&turn), Arc::clone(ground.host()));
    let span = tracing::Span::current();
    let metrics = ground.metrics().clone();
    let result = spawn_blocking(move || {
        let _entered = span.enter();
        let since = Since::now();
        let result = host.turn(&running.request);
        metrics.turned(since);
        drop(place);
        result
    });
    let result = result.await.unwrap_or_else(|error| {
        Err(TurnFault::Trapped {
            call: "turn",
            message: format!("the sandbox itself failed: {error}"),
        })
    });
    settle(&ground, &turn, result).await
}

/// Makes one turn true, or sees to it that it has changed nothing.
async fn settle(
    ground: &impl Ground,
    turn: &PlannedTurn,
    result: Result<TurnOutcome, TurnFault>,
) -> Result<(), SubmitError> {
    let seat = &turn.request.seat;
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(fault) => {
            void(ground, turn, &fault);
            return Ok(());
        }
    };
    for (level, line) in &outcome.log {
        match level {
            LogLevel::Debug => tracing::debug!(target: "scheduler", %seat, "{line}"),
            LogLevel::Info => tracing::info!(target: "scheduler", %seat, "{line}"),
            LogLevel::Warn => tracing::warn!(target: "scheduler", %seat, "{line}"),
            LogLevel::Error => tracing::error!(target: "scheduler", %seat, "{line}"),
        }
    }
    {
        let mut memory = ground.memory();
        memory.turn_wishes(turn, &outcome);
        let state = ground.watch().borrow().clone();
        if says_nothing(&state, seat, &outcome, turn.request.now) {
            memory.turn_counted(turn, &state);
            ground.metrics().turn_ended("quiet");
            return Ok(());
        }
    }
    let is_full = outcome.is_full;
    match ground.propose(turn.commit(outcome)).await {
        Ok(reply @ Reply::Counted { .. }) => {
            ground.metrics().turn_ended("counted");
            let mut memory = ground.memory();
            let state = ground.watch().borrow().clone();
            memory.turn_committed(turn, &state, is_full, &reply, ground.now());
            Ok(())
        }
        Ok(reply) => {
            warn!(?reply, "the turn did not count");
            lost(ground, turn);
            Ok(())
        }
        Err(SubmitError::Propose(error @ ProposeError::TooLarge { .. })) => {
            let message = error.to_string();
            void(ground, turn, &TurnFault::Malformed { message });
            Ok(())
        }
        Err(error) => {
            lost(ground, turn);
            Err(error)
        }
    }
}

fn void(ground: &impl Ground, turn: &PlannedTurn, fault: &TurnFault) {
    warn!(%fault, "the turn is void");
    ground.metrics().turn_ended("void");
    ground.host().drop_instance(&turn.request.seat);
    let now = ground.now();
    ground.memory().turn_was_void(turn, fault, now);
}

fn lost(ground: &impl Ground, turn: &PlannedTurn) {
    ground.metrics().turn_ended("lost");
    ground.host().drop_instance(&turn.request.seat);
    ground.memory().turn_was_lost(turn);
}

#[cfg(test)]
#[path = "rounds_tests.rs"]
mod tests;
