//! `boundary`: what crossing into the sandbox costs: turns with 1 to 5,000 offers that are looked
//! at, or all taken; a fresh instance; a restore.
//!
//! The reference is the same work on the same rows without a sandbox, in the same run: its ratio
//! says more than any time on a shared machine.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use imbl::OrdMap;
use kelson_bench::{Bar, Measure, Options, Plot, Report, Series, peak_memory, timed};
use kelson_kernel_core::port::{
    Demand, Offer, Op, Operation, SchedulerHost, SeatId, SeatRows, SeatView, TurnFault,
    TurnRequest, WorkloadRow,
};
use kelson_model::framework::Limits;
use kelson_model::id::{AgentId, Digest, TaskId, WorkloadId};
use kelson_model::object::{Namespace, ObjectKey};
use kelson_model::time::ClusterTime;
use kelson_plugin_host::{HostConfig, WasmHost};
use kelson_testkit::programs;
use serde_json::json;

const OFFERS: [u32; 4] = [1, 100, 1_000, 5_000];
const RESTORED: [u32; 3] = [1_000, 10_000, 100_000];
/// What an offer may add to a turn, in nanoseconds.
const GOAL: f64 = 100.0;

/// All rows of the seat; nothing else is read.
struct View(SeatRows);

impl SeatView for View {
    fn all_rows(&self) -> SeatRows {
        self.0.clone()
    }

    fn spec(&self, _workload: WorkloadId, _generation: u64) -> Option<String> {
        None
    }

    fn name(&self, _workload: WorkloadId) -> Option<String> {
        None
    }

    fn attributes(&self, _agent: AgentId) -> Option<Arc<Vec<(String, String)>>> {
        None
    }

    fn end(&self, _task: TaskId) -> Option<String> {
        None
    }

    fn is_said(&self, _status: &Op) -> bool {
        false
    }

    fn demand(&self) -> Arc<Vec<Demand>> {
        Arc::default()
    }
}

/// A host with one component, and the request that the measurements vary.
struct Bench {
    host: WasmHost,
    base: TurnRequest,
    samples: usize,
}

fn main() -> Result<()> {
    let options = Options::from_arguments()?;
    let folder = tempfile::tempdir_in(options.scratch()?)?;
    let mut config = HostConfig::new(folder.path());
    // The machine may be busy: only fuel ends a turn here.
    config.turn_guard = Duration::from_secs(600);
    config.restore_guard = Duration::from_secs(600);
    let turn_fuel = config.turn_fuel;
    let host = WasmHost::new(config)?;
    let content = std::fs::read(build()?)?;
    let component = Digest::of(&content);
    let (loaded, compiling, _) = timed(|| host.load(&component, &content, &Limits::default()));
    loaded?;
    let bench = Bench {
        host,
        base: base(component),
        samples: options.pick(1_000, 100),
    };

    let empty = bench.turn("turn look", Vec::new())?;
    let mut measures = Vec::new();
    let mut breakdown = vec![Measure::of_unit("turn without offers", "us", &empty)];
    let mut reference = Vec::new();
    for count in OFFERS {
        let look = bench.turn("turn look", offers(count))?;
        let take = bench.turn("turn take-all", offers(count))?;
        let native = bench.native(&offers(count));
        let word = if count == 1 { "offer" } else { "offers" };
        let outside = each(
            format!("natively taking {count} {word}, each"),
            &native,
            &Series::default(),
            count,
        );
        // The cost of one offer drowns in the spread of an empty turn.
        if count > 1 {
            measures.push(
                each(
                    format!("looking at {count} {word}, each"),
                    &look,
                    &empty,
                    count,
                )
                .p50_at_most(GOAL),
            );
            let taken = each(format!("taking {count} {word}, each"), &take, &empty, count);
            measures.push(taken.p50_at_most(GOAL).against(&outside));
            reference.push(outside);
        }
        breakdown.push(Measure::of_unit(
            format!("turn looking at {count} {word}"),
            "us",
            &look,
        ));
        breakdown.push(Measure::of_unit(
            format!("turn taking {count} {word}"),
            "us",
            &take,
        ));
    }
    breakdown.push(Measure::of_unit(
        "fresh instance, for one validation",
        "us",
        &bench.fresh_instance()?,
    ));
    for rows in RESTORED {
        let name = format!("fresh instance and restore of {rows} rows");
        breakdown.push(Measure::of_unit(name, "us", &bench.restore(rows)?));
    }
    let out_of_fuel = bench.out_of_fuel()?;

    let what = "turns of a scheduler component in the sandbox, one warm instance, no kernel; peak memory is of the bench with the host in it";
    let mut report = Report::new("boundary", what, options);
    report.details = json!({
        "component": {"bytes": content.len(), "compileMs": compiling.as_secs_f64() * 1e3},
        "turnFuel": turn_fuel, "endlessLoopEndsAfterMs": out_of_fuel.as_secs_f64() * 1e3,
    });
    report.note("each: what an offer adds to a turn without any; taking one means reading it and answering with a launch");
    report.peak_memory = peak_memory(std::process::id());
    let bars = |measures: &[Measure]| measures.iter().map(Bar::from).collect::<Vec<_>>();
    let mut offers = bars(&measures);
    offers.extend(bars(&reference).into_iter().map(|bar| Bar {
        is_reference: true,
        ..bar
    }));
    let plot = Plot::new(
        "boundary: into the sandbox and back",
        "bar: median; line: 99th percentile; red: goal; grey: the same natively",
    )
    .bars("time for each offer", "ns", &offers)
    .bars("time for each call", "us", &bars(&breakdown));
    report.measures = measures;
    report.breakdown = breakdown;
    report.reference = reference;
    report.publish(&plot)
}

/// The scheduler that does as its configuration says.
fn build() -> Result<PathBuf> {
    let workspace = programs::workspace()?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.join("target"), |given| workspace.join(given));
    Ok(kelson_plugins_builder::build_component(
        &workspace,
        &target.join("guests"),
        "kelson-component-probe",
    )?)
}

/// What each of `count` offers adds to a call that takes `empty` without any, in nanoseconds.
fn each(name: String, calls: &Series, empty: &Series, count: u32) -> Measure {
    let nanos = calls
        .values()
        .iter()
        .map(|micros| (micros - empty.p50()).max(0.0) * 1e3 / f64::from(count));
    Measure::of_unit(name, "ns", &nanos.collect())
}

/// Microseconds of this many calls.
fn micros<E>(samples: usize, mut call: impl FnMut() -> Result<Duration, E>) -> Result<Series, E> {
    (0..samples)
        .map(|_| Ok(call()?.as_secs_f64() * 1e6))
        .collect::<Result<Vec<f64>, E>>()
        .map(Series::from_iter)
}

fn base(component: Digest) -> TurnRequest {
    let namespace = Namespace::default_namespace();
    TurnRequest {
        seat: SeatId {
            framework: ObjectKey::new("Framework", namespace.clone(), "probe"),
            namespace,
        },
        component,
        limits: Limits::default(),
        config: "".into(),
        turn_no: 0,
        now: ClusterTime(1),
        seed: 1,
        changed: SeatRows {
            workloads: vec![workload(1)],
            ..SeatRows::default()
        },
        offers: Vec::new(),
        refusals: Vec::new(),
        pairs: OrdMap::new(),
        view: Arc::new(View(SeatRows::default())),
        is_throw_away: false,
    }
}

fn workload(id: u64) -> WorkloadRow {
    WorkloadRow {
        id: WorkloadId(id),
        generation: 1,
        good_generation: 0,
        quarantined_generation: 0,
        template_id: 1,
        good_template_id: 0,
        generation_since: ClusterTime(0),
        kind: 0,
        is_gone: false,
    }
}

fn offers(count: u32) -> Vec<Offer> {
    let offer = |agent| Offer {
        key: 1,
        workload: WorkloadId(1),
        generation: 1,
        template: 0,
        agent: AgentId(agent),
        count: 1,
    };
    (1..=u64::from(count)).map(offer).collect()
}

impl Bench {
    /// Turns of one warm instance, one after the other.
    fn turn(&self, script: &str, offers: Vec<Offer>) -> Result<Series, TurnFault> {
        let mut turn = self.base.clone();
        turn.config = script.into();
        turn.offers = offers;
        turn.turn_no = 1;
        self.host.drop_instance(&turn.seat);
        self.host.turn(&turn)?;
        micros(self.samples, || {
            turn.turn_no += 1;
            let (outcome, took, _) = timed(|| self.host.turn(&turn));
            black_box(outcome?);
            Ok(took)
        })
    }

    /// The same as `take-all` without a sandbox.
    fn native(&self, offers: &[Offer]) -> Series {
        let times = (0..self.samples).map(|_| {
            let ((), took, _) = timed(|| {
                let shown: Vec<Offer> = black_box(offers.to_vec());
                drop(black_box(take_all(&shown)));
            });
            took.as_secs_f64() * 1e6
        });
        times.collect()
    }

    /// An instance that is made for one call: a validation, which sees no rows.
    fn fresh_instance(&self) -> Result<Series, TurnFault> {
        micros(self.samples, || {
            let (problems, took, _) =
                timed(|| self.host.validate(&self.base.component, "Probe", "{}"));
            black_box(problems?);
            Ok(took)
        })
    }

    /// A fresh instance, a restore of this many rows, and a turn without any.
    fn restore(&self, rows: u32) -> Result<Series, TurnFault> {
        let mut turn = self.base.clone();
        turn.is_throw_away = true;
        turn.changed = SeatRows::default();
        turn.view = Arc::new(View(SeatRows {
            workloads: (1..=u64::from(rows)).map(workload).collect(),
            ..SeatRows::default()
        }));
        micros(self.samples.div_ceil(20), || {
            let (outcome, took, _) = timed(|| self.host.turn(&turn));
            black_box(outcome?);
            Ok(took)
        })
    }

    /// How long a loop runs until its fuel is gone: what the limit of a turn means in time.
    fn out_of_fuel(&self) -> Result<Duration> {
        let mut turn = self.base.clone();
        turn.config = "turn loop".into();
        self.host.drop_instance(&turn.seat);
        match timed(|| self.host.turn(&turn)) {
            (Err(TurnFault::OutOfFuel { .. }), took, _) => Ok(took),
            (other, _, _) => bail!("an endless loop ended otherwise: {other:?}"),
        }
    }
}

fn take_all(offers: &[Offer]) -> Vec<Operation> {
    let launches = offers
        .iter()
        .flat_map(|offer| (0..offer.count).map(move |_| offer));
    (0..)
        .zip(launches)
        .map(|(slot, offer)| Operation {
            group: 0,
            op: Op::Launch {
                workload: offer.workload,
                generation: offer.generation,
                template: offer.template,
                slot,
                agent: offer.agent,
            },
        })
        .collect()
}
