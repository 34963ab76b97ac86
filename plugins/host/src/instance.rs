//! One instance of a component, and one call of it.

use std::sync::Arc;
use std::time::Duration;

use kelson_kernel_core::port::{Op, Problem, SeatRows, TurnFault, TurnOutcome, TurnRequest};
use kelson_model::framework::{Limits, LogLevel};
use kelson_model::id::Digest;
use kelson_model::time::ClusterTime;
use wasmtime::{Engine, Store, Trap, UpdateDeadline};

use crate::bindings::{Framework, FrameworkPre};
use crate::cpu_limit::CpuLimit;
use crate::fault::{self, Ended};
use crate::limits;
use crate::outcome::Outcome;
use crate::sandbox::{Call, Said, Sandbox};
use crate::state::State;
use crate::tables::Tables;
use crate::text;

/// What one call may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Units of fuel, before what the rows add.
    pub(crate) fuel: u64,
    /// Time of a processor.
    pub(crate) cpu: Duration,
}

impl Budget {
    fn with_rows(self, rows: usize) -> Self {
        let rows = u64::try_from(rows).unwrap_or(u64::MAX);
        Self {
            fuel: self
                .fuel
                .saturating_add(rows.saturating_mul(limits::FUEL_PER_ROW)),
            ..self
        }
    }
}

/// An instance. After a fault it must not be called again.
pub(crate) struct Instance {
    store: Store<Sandbox>,
    exports: Framework,
    limits: Limits,
    /// Whether its last turn said more than was noted: what it believes then is not so.
    pub(crate) is_full: bool,
}

impl Instance {
    /// Makes an instance that has not been called.
    pub(crate) fn start(
        engine: &Engine,
        pre: &FrameworkPre<Sandbox>,
        limits: &Limits,
        budget: Budget,
    ) -> Result<Self, TurnFault> {
        let mut store = Store::new(engine, Sandbox::new(limits));
        store.limiter(|sandbox| &mut sandbox.memory);
        // Every tick of the guard's clock it is looked what the call has used.
        store.epoch_deadline_callback(|context| match context.data().cpu.is_over() {
            true => Err(Trap::Interrupt.into()),
            false => Ok(UpdateDeadline::Continue(1)),
        });
        store.set_hostcall_fuel(crate::limits::HANDED_OVER_BYTES);
        let exports = run(&mut store, Call::Start, budget, limits, |store| {
            pre.instantiate(store)
        })?
        .0;
        Ok(Self {
            store,
            exports,
            limits: limits.clone(),
            is_full: false,
        })
    }

    /// Calls one export; returns its answer and the fuel that it took.
    fn call<R>(
        &mut self,
        call: Call,
        budget: Budget,
        body: impl FnOnce(&Framework, &mut Store<Sandbox>) -> wasmtime::Result<R>,
    ) -> Result<(R, u64), TurnFault> {
        let exports = &self.exports;
        run(&mut self.store, call, budget, &self.limits, |store| {
            body(exports, store)
        })
    }

    /// Asks what it is.
    pub(crate) fn describe(&mut self, budget: Budget) -> Result<String, TurnFault> {
        let answer = self.call(Call::Describe, budget, |exports, store| {
            exports.kelson_scheduler_scheduler().call_describe(store)
        })?;
        Ok(answer.0)
    }

    /// Asks about one specification.
    pub(crate) fn validate(
        &mut self,
        kind: &str,
        spec: &str,
        budget: Budget,
    ) -> Result<Vec<Problem>, TurnFault> {
        let (problems, _) = self.call(Call::Validate, budget, |exports, store| {
            exports
                .kelson_scheduler_scheduler()
                .call_validate(store, kind, spec)
        })?;
        let cut = |text: &str| text::message(text, limits::MESSAGE_BYTES);
        Ok(problems
            .iter()
            .take(limits::PROBLEMS)
            .map(|problem| Problem {
                pointer: cut(&problem.pointer),
                message: cut(&problem.message),
            })
            .collect())
    }

    /// Fills its cache from all rows as of the request.
    pub(crate) fn restore(
        &mut self,
        request: &TurnRequest,
        budget: Budget,
    ) -> Result<(), TurnFault> {
        self.lay_out(request, request.view.all_rows());
        let rows = self.store.data().tables.row_count();
        let (answer, fuel) =
            self.call(Call::Restore, budget.with_rows(rows), |exports, store| {
                exports.kelson_scheduler_scheduler().call_restore(store)
            })?;
        self.clear();
        tracing::debug!(seat = %request.seat, rows, fuel, "restored a scheduler's instance");
        answer.map_err(|message| failed(Call::Restore, &message))
    }

    /// Carries out one turn.
    pub(crate) fn turn(
        &mut self,
        request: &TurnRequest,
        budget: Budget,
    ) -> Result<TurnOutcome, TurnFault> {
        self.lay_out(request, request.changed.clone());
        let sandbox = self.store.data_mut();
        sandbox.tables.offers = request.offers.clone();
        sandbox.tables.refusals = request.refusals.clone();
        sandbox.outcome = Outcome::new(&request.offers, request.limits.operations);
        sandbox.said = Said::default();
        let rows = sandbox.tables.row_count();
        let (answer, fuel) = self.call(Call::Turn, budget.with_rows(rows), |exports, store| {
            exports.kelson_scheduler_scheduler().call_turn(
                store,
                request.now.0,
                request.seed,
                request.turn_no,
            )
        })?;
        answer.map_err(|message| failed(Call::Turn, &message))?;
        let sandbox = self.store.data_mut();
        let outcome = std::mem::take(&mut sandbox.outcome);
        let state = std::mem::take(&mut sandbox.state);
        let said = std::mem::take(&mut sandbox.said);
        let mut outcome = TurnOutcome {
            operations: outcome.operations,
            writes: state.into_writes(),
            demand: outcome.demand,
            demand_changes: outcome.demand_changes,
            wake_at: outcome.wake_at,
            log: Vec::new(),
            fuel,
            is_full: said.full().is_some(),
        };
        self.is_full = outcome.is_full;
        if let Some(limit) = said.full() {
            cut(&mut outcome, &said, limit, request.now)?;
        }
        let log = self.store.data_mut().log.take();
        outcome.log.splice(0..0, log);
        self.clear();
        Ok(outcome)
    }

    /// Takes the lines that it wrote in a call which was void.
    pub(crate) fn take_lines(&mut self) -> Vec<(LogLevel, String)> {
        self.store.data_mut().log.take()
    }

    /// Asks a read-only verb; it sees all rows.
    pub(crate) fn query(
        &mut self,
        request: &TurnRequest,
        verb: &str,
        arguments: &str,
        budget: Budget,
    ) -> Result<String, TurnFault> {
        self.lay_out(request, request.view.all_rows());
        let rows = self.store.data().tables.row_count();
        let (answer, _) = self.call(Call::Query, budget.with_rows(rows), |exports, store| {
            exports
                .kelson_scheduler_scheduler()
                .call_query(store, verb, arguments)
        })?;
        let answer = answer.map_err(|message| failed(Call::Query, &message))?;
        let malformed = |message: String| TurnFault::Malformed { message };
        if answer.len() > limits::ANSWER_BYTES {
            return Err(malformed(format!(
                "the answer of the query has {} bytes, more than {}",
                answer.len(),
                limits::ANSWER_BYTES
            )));
        }
        serde_json::from_str::<serde::de::IgnoredAny>(&answer)
            .map_err(|error| malformed(format!("the answer of the query is not JSON: {error}")))?;
        Ok(answer)
    }

    fn lay_out(&mut self, request: &TurnRequest, rows: SeatRows) {
        let sandbox = self.store.data_mut();
        sandbox.tables = Tables {
            rows,
            view: Some(Arc::clone(&request.view)),
            config: Some(Arc::clone(&request.config)),
            ..Tables::default()
        };
        sandbox.state = State::new(request.pairs.clone(), &request.limits);
    }

    /// Leaves nothing of the call behind, so that an idle instance holds no rows.
    fn clear(&mut self) {
        let sandbox = self.store.data_mut();
        sandbox.tables = Tables::default();
        sandbox.state = State::default();
        sandbox.outcome = Outcome::default();
    }
}

/// Makes a whole of what a full turn has said: without the groups of which a part is missing, and
/// with the wish for the next turn. State that is written alone does not count: it would say that
/// is done what was not noted. Where nothing is left, the turn is void: what it says first is
/// larger than any turn.
fn cut(
    outcome: &mut TurnOutcome,
    said: &Said,
    limit: &str,
    now: ClusterTime,
) -> Result<(), TurnFault> {
    outcome
        .operations
        .retain(|operation| !said.is_cut(operation.group));
    outcome
        .writes
        .retain(|write| write.group != 0 && !said.is_cut(write.group));
    let is_empty = outcome.operations.is_empty()
        && outcome.writes.is_empty()
        && outcome.demand.is_none()
        && outcome.demand_changes.is_empty();
    if is_empty {
        let message = text::message(limit, limits::MESSAGE_BYTES);
        return Err(TurnFault::Malformed { message });
    }
    outcome.wake_at = Some(now);
    let line = format!("the turn is full, and what came after is to be said again: {limit}");
    outcome.log.push((LogLevel::Warn, line));
    Ok(())
}

fn failed(call: Call, message: &str) -> TurnFault {
    TurnFault::Failed {
        call: call.name(),
        message: text::message(message, limits::MESSAGE_BYTES),
    }
}

/// Runs `body` within `budget`, and says why if it ends without an answer.
fn run<R>(
    store: &mut Store<Sandbox>,
    call: Call,
    budget: Budget,
    limits: &Limits,
    body: impl FnOnce(&mut Store<Sandbox>) -> wasmtime::Result<R>,
) -> Result<(R, u64), TurnFault> {
    let sandbox = store.data_mut();
    sandbox.call = call;
    sandbox.memory.forgive();
    sandbox.meter = crate::meter::Meter::new(budget.fuel);
    sandbox.cpu = CpuLimit::begin(budget.cpu);
    store.set_epoch_deadline(1);
    let answer = store
        .set_fuel(budget.fuel)
        .and_then(|()| body(store))
        .and_then(|answer| Ok((answer, store.get_fuel()?)));
    match answer {
        Ok((answer, left)) => {
            let fuel = budget.fuel.saturating_sub(left);
            Ok((answer, fuel.saturating_add(store.data().meter.used())))
        }
        Err(error) => {
            let sandbox = store.data();
            let ended = Ended {
                call: call.name(),
                memory: limits.memory,
                is_denied: sandbox.memory.is_denied(),
                last_words: sandbox.log.last_words(),
            };
            Err(fault::classify(&error, &ended))
        }
    }
}

/// An instance that has taken turns, and what it knows.
pub(crate) struct Warm {
    pub(crate) instance: Instance,
    component: Digest,
    config: Arc<str>,
    last_turn: u64,
    /// Whether the last turn wished for nothing that could have become true without a new turn
    /// number.
    was_idle: bool,
}

impl Warm {
    /// Remembers an instance that has just carried out `request`.
    pub(crate) fn new(instance: Instance, request: &TurnRequest, outcome: &TurnOutcome) -> Self {
        Self {
            instance,
            component: request.component.clone(),
            config: Arc::clone(&request.config),
            last_turn: request.turn_no,
            was_idle: outcome.writes.is_empty() && outcome.operations.iter().all(is_note),
        }
    }

    /// Whether what it knows is what a restored instance would know before `request`.
    ///
    /// The turn must be the next one. A turn that changed nothing writes no entry and takes no
    /// number, so its number may come again.
    pub(crate) fn is_fit_for(&self, request: &TurnRequest) -> bool {
        let is_next = request.turn_no == self.last_turn.saturating_add(1)
            || (self.was_idle && request.turn_no == self.last_turn);
        is_next
            && self.component == request.component
            && self.instance.limits == request.limits
            && self.config == request.config
    }
}

fn is_note(operation: &kelson_kernel_core::port::Operation) -> bool {
    matches!(operation.op, Op::Note { .. })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use kelson_kernel_core::port::{Operation, StateWrite};
    use kelson_model::id::TaskId;

    use super::*;

    fn write(group: u32) -> StateWrite {
        StateWrite {
            group,
            key: format!("k{group}"),
            value: None,
        }
    }

    #[test]
    fn state_that_was_written_alone_does_not_count_in_a_full_turn() {
        let mut said = Said::default();
        for group in [0, 1, 2] {
            assert!(said.takes(group, 10));
        }
        said.fill(2, || "too much".to_owned());
        let mut outcome = TurnOutcome {
            operations: vec![Operation {
                group: 0,
                op: Op::Forget { task: TaskId(1) },
            }],
            writes: vec![write(0), write(1), write(2)],
            ..TurnOutcome::default()
        };
        let now = ClusterTime(7);
        cut(&mut outcome, &said, "too much", now).unwrap();
        assert_eq!(outcome.writes, [write(1)]);
        assert_eq!((outcome.operations.len(), outcome.wake_at), (1, Some(now)));
        // Nothing is left of a turn that wrote nothing but state.
        let mut alone = TurnOutcome {
            writes: vec![write(0)],
            ..TurnOutcome::default()
        };
        let void = cut(&mut alone, &said, "too much", now);
        assert!(matches!(void, Err(TurnFault::Malformed { .. })));
    }
}
