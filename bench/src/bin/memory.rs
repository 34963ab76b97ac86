//! `memory`: what a task takes in a kernel's state, and how long the state is held up to be shown.
//!
//! The state is made as a member makes it, by applying commands: agents, workloads, turns that
//! launch, statuses until every task runs. After each entry it is published as a member publishes
//! it: others hold a clone, and the one before is let go. Then the scheduler in the box takes the
//! first turn of a new leader, on an instance that is made anew. Then a clone is kept, as a
//! snapshot that is being written keeps it, while a tenth of the tasks change. Memory is what the
//! process holds, minus what it held without tasks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kelson_bench::{Bar, Crowd, Measure, Options, Plot, Report, Series, memory, peak_memory};
use kelson_kernel_core::State;
use kelson_kernel_core::port::{Op, SchedulerHost};
use kelson_kernel_core::round::{RoundMemory, plan_round};
use kelson_model::id::{Digest, TaskId};
use kelson_model::task::TaskState;
use kelson_plugin_host::{HostConfig, WasmHost};

/// Tasks whose statuses are made at a time.
const AT_A_TIME: u64 = 50_000;
/// How long a call of the scheduler may take.
const GUARD: Duration = Duration::from_secs(600);

fn main() -> Result<()> {
    let options = Options::from_arguments()?;
    let tasks: u64 = options.pick(1_000_000, 100_000);
    let scratch = options.scratch()?;
    let cache = tempfile::tempdir_in(&scratch)?;
    let mut config = HostConfig::new(cache.path());
    config.turn_guard = GUARD;
    config.restore_guard = GUARD;
    let host = WasmHost::new(config)?;
    let component = kelson_plugins_bundle::component("service").context("no service")?;
    let digest = Digest::of(component);
    let description = host.load(&digest, component, &Crowd::limits())?;
    let workloads = 1000;
    let mut crowd = Crowd::new(5000, workloads, tasks / workloads, digest, description)?;
    let empty = held()?;
    let per_task = |what: &str| -> Result<Measure> {
        let mut series = Series::default();
        series.push_value(held()?.saturating_sub(empty) as f64 / tasks as f64);
        Ok(Measure::of_unit(what, "B", &series))
    };
    let mut shown = Shown::default();
    let begun = Instant::now();
    crowd.launch(tasks, |state| shown.publish(state))?;
    let launched = begun.elapsed();
    let begun = Instant::now();
    for (sequence, state) in [(1, TaskState::Starting), (2, TaskState::Running)] {
        say(&mut crowd, tasks, 1, sequence, state, &mut shown)?;
    }
    let said = begun.elapsed();
    let running = per_task("a task that runs")?;

    // As a new leader: everything is news to a seat that has no instance yet.
    let now = crowd.state.time;
    let mut rounds = RoundMemory::default();
    let begun = Instant::now();
    let round = plan_round(&crowd.state, &mut rounds, now);
    let planned = begun.elapsed();
    let begun = Instant::now();
    for turn in round.turns {
        let outcome = host.turn(&turn.request)?;
        let moves = |op: &Op| matches!(op, Op::Launch { .. } | Op::Kill { .. });
        let mut operations = outcome.operations.iter();
        let moved = operations.find(|operation| moves(&operation.op));
        anyhow::ensure!(moved.is_none(), "all runs, and {moved:?} is asked for");
        rounds.turn_counted(&turn, &crowd.state);
    }
    let restored = begun.elapsed();
    let with_guest = per_task("the same with the scheduler's instance")?;

    let snapshot = crowd.state.clone();
    say(&mut crowd, tasks, 10, 3, TaskState::Running, &mut shown)?;
    let beside = per_task("the same while a snapshot is written and a tenth changes")?;
    let begun = Instant::now();
    drop(snapshot);
    let dropped = begun.elapsed();
    let index = crowd.state.index;
    let begun = Instant::now();
    let changed = crowd.state.changed_since(index).map(|rows| rows.len());
    let asked = begun.elapsed();
    anyhow::ensure!(changed == Some(0), "nothing has changed since");

    let what = format!(
        "{tasks} tasks of 1,000 workloads on 5,000 agents, in the state of a member, and the instance of the scheduler in the box; no log, no agents"
    );
    let once = |name: &str, took: Duration| {
        let mut series = Series::default();
        series.push(took);
        Measure::of(name, &series)
    };
    let mut each = Series::default();
    each.push(launched / u32::try_from(tasks)?);
    let mut status = Series::default();
    status.push(said / u32::try_from(2 * tasks)?);
    let mut report = Report::new("memory", what, options);
    let mut most = Series::default();
    let peak = peak_memory(std::process::id()).context("no peak")?;
    most.push_value(peak.saturating_sub(empty) as f64 / tasks as f64);
    report.measures = vec![
        running.p50_at_most(1024.0),
        with_guest.p50_at_most(1024.0),
        beside.p50_at_most(1024.0),
        Measure::of_unit("the most at any time", "B", &most).p50_at_most(1024.0),
    ];
    report.breakdown = vec![
        Measure::of("a launch, applied", &each),
        Measure::of("a status, applied", &status),
        Measure::of("the state is shown after an entry", &shown.took),
        once("the first round of a new leader, planned", planned),
        once("its turn, on an instance that is made anew", restored),
        once("a snapshot's clone is let go", dropped),
        once("nothing has changed: what is new", asked),
    ];
    report.peak_memory = Some(peak);
    let bars: Vec<Bar> = report.measures.iter().map(Bar::from).collect();
    let plot = Plot::new(
        &format!("memory: {tasks} tasks"),
        "bar: bytes a task; red: goal of the whole kernel",
    )
    .bars("what a task takes", "B", &bars);
    report.publish(&plot)
}

fn held() -> Result<u64> {
    memory().context("the system does not say how much memory is held")
}

/// Every `step`th task is told of.
fn say(
    crowd: &mut Crowd,
    tasks: u64,
    step: u64,
    sequence: u64,
    state: TaskState,
    shown: &mut Shown,
) -> Result<()> {
    for first in (1..=tasks).step_by(usize::try_from(AT_A_TIME)?) {
        let ids = first..=tasks.min(first + AT_A_TIME - 1);
        let ids = ids.filter(|id| id % step == 0).map(TaskId);
        crowd.say(ids, sequence, state, |state| shown.publish(state))?;
    }
    Ok(())
}

/// The state that everybody else reads.
#[derive(Default)]
struct Shown {
    state: State,
    took: Series,
}

impl Shown {
    fn publish(&mut self, state: &State) {
        let begun = Instant::now();
        self.state = state.clone();
        self.took.push(begun.elapsed());
    }
}
