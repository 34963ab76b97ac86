//! What crossing the boundary costs: turns with 1 to 5,000 offers that are looked at, or all taken; a fresh instance; a restore.
//!
//! Prints one JSON document. Times are in microseconds; `perOfferNs` is what an offer adds to a turn without any. The reference is the same work on the
//! same rows without a sandbox, in the same run: its ratio says more than any time on a shared machine. `--quick` takes a tenth of the samples.

use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use imbl::OrdMap;
use kelson_kernel_core::port::{
    Offer, Op, Operation, SchedulerHost, SeatId, SeatRows, SeatView, TurnFault, TurnRequest,
    WorkloadRow,
};
use kelson_model::framework::Limits;
use kelson_model::id::{AgentId, Digest, WorkloadId};
use kelson_model::object::{Namespace, ObjectKey};
use kelson_model::time::ClusterTime;
use kelson_plugin_host::{HostConfig, WasmHost};
use serde_json::{Value, json};

const OFFERS: [u64; 4] = [1, 100, 1_000, 5_000];
const RESTORED: [u64; 3] = [1_000, 10_000, 100_000];

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
}

/// A host with one component, and the request that the measurements vary.
struct Bench {
    host: WasmHost,
    base: TurnRequest,
    samples: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let folder = tempfile::tempdir()?;
    let mut config = HostConfig::new(folder.path());
    // The machine may be busy: only fuel ends a turn here.
    config.turn_guard = Duration::from_secs(600);
    config.restore_guard = Duration::from_secs(600);
    let host = WasmHost::new(config)?;
    let content = std::fs::read(build()?)?;
    let component = Digest::of(&content);
    let compiled = Instant::now();
    host.load(&component, &content, &Limits::default())?;
    let compiled = micros(compiled.elapsed());
    let bench = Bench {
        host,
        base: base(component),
        samples: if is_quick { 100 } else { 1_000 },
    };
    let report = json!({
        "name": "boundary",
        "unit": "us",
        "machine": {"cores": std::thread::available_parallelism().map_or(1, usize::from), "os": std::env::consts::OS, "arch": std::env::consts::ARCH},
        "optimised": !cfg!(debug_assertions),
        "samples": bench.samples,
        "component": {"bytes": content.len(), "compile": compiled},
        "turns": bench.turns()?,
        "freshInstance": bench.fresh_instance()?,
        "restore": bench.restores()?,
        "fuelPerMs": bench.fuel_per_ms()?,
        "peakMemoryKiB": peak_memory(),
    });
    println!("{report:#}");
    Ok(())
}

fn build() -> Result<PathBuf, Box<dyn Error>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .ok_or("the host stands two folders below the workspace")?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.join("target"), PathBuf::from);
    Ok(kelson_plugins_builder::build_component(
        workspace,
        &target.join("guests"),
        "kelson-component-probe",
    )?)
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
        is_suspended: false,
    }
}

fn offers(count: u64) -> Vec<Offer> {
    let offer = |agent| Offer {
        key: 1,
        workload: WorkloadId(1),
        generation: 1,
        template: 0,
        agent: AgentId(agent),
        count: 1,
    };
    (1..=count).map(offer).collect()
}

impl Bench {
    /// Turns of one warm instance, one after the other.
    fn turn_times(&self, script: &str, offers: Vec<Offer>) -> Result<Vec<f64>, TurnFault> {
        let mut turn = self.base.clone();
        turn.config = script.into();
        turn.offers = offers;
        turn.turn_no = 1;
        self.host.drop_instance(&turn.seat);
        self.host.turn(&turn)?;
        (0..self.samples)
            .map(|_| {
                turn.turn_no += 1;
                let begun = Instant::now();
                black_box(self.host.turn(&turn)?);
                Ok(micros(begun.elapsed()))
            })
            .collect()
    }

    fn turns(&self) -> Result<Value, TurnFault> {
        let empty = median(self.turn_times("turn look", Vec::new())?);
        let mut rows = vec![json!({"offers": 0, "look": {"p50": empty}})];
        for count in OFFERS {
            let look = self.turn_times("turn look", offers(count))?;
            let take = self.turn_times("turn take-all", offers(count))?;
            let native = self.native_times(&offers(count));
            let ratio = median(take.clone()) / median(native.clone());
            rows.push(json!({
                "offers": count,
                "look": summary(look, empty, count),
                "takeAll": summary(take, empty, count),
                "reference": summary(native, 0.0, count),
                "ratioToReference": round(ratio),
            }));
        }
        Ok(Value::Array(rows))
    }

    /// The same as `take-all` without a sandbox.
    fn native_times(&self, offers: &[Offer]) -> Vec<f64> {
        (0..self.samples)
            .map(|_| {
                let begun = Instant::now();
                let shown: Vec<Offer> = black_box(offers.to_vec());
                black_box(take_all(&shown));
                micros(begun.elapsed())
            })
            .collect()
    }

    /// An instance that is made for one call: a validation, which sees no rows.
    fn fresh_instance(&self) -> Result<Value, TurnFault> {
        let times: Result<Vec<f64>, TurnFault> = (0..self.samples)
            .map(|_| {
                let begun = Instant::now();
                black_box(self.host.validate(&self.base.component, "Probe", "{}")?);
                Ok(micros(begun.elapsed()))
            })
            .collect();
        Ok(summary(times?, 0.0, 1))
    }

    /// A fresh instance, a restore of so many rows, and a turn without any.
    fn restores(&self) -> Result<Value, TurnFault> {
        let mut out = Vec::new();
        for rows in RESTORED {
            let mut turn = self.base.clone();
            turn.is_throw_away = true;
            turn.changed = SeatRows::default();
            turn.view = Arc::new(View(SeatRows {
                workloads: (1..=rows).map(workload).collect(),
                ..SeatRows::default()
            }));
            let times: Result<Vec<f64>, TurnFault> = (0..self.samples.div_ceil(20))
                .map(|_| {
                    let begun = Instant::now();
                    black_box(self.host.turn(&turn)?);
                    Ok(micros(begun.elapsed()))
                })
                .collect();
            let mut row = summary(times?, 0.0, rows);
            if let Some(row) = row.as_object_mut() {
                row.insert("rows".to_owned(), rows.into());
            }
            out.push(row);
        }
        Ok(Value::Array(out))
    }

    /// How much fuel a loop burns in a millisecond: what the limit of a turn means in time.
    fn fuel_per_ms(&self) -> Result<Value, Box<dyn Error>> {
        let mut turn = self.base.clone();
        turn.config = "turn loop".into();
        self.host.drop_instance(&turn.seat);
        let begun = Instant::now();
        match self.host.turn(&turn) {
            Err(TurnFault::OutOfFuel { .. }) => {}
            other => return Err(format!("an endless loop ended otherwise: {other:?}").into()),
        }
        let spent = micros(begun.elapsed()) / 1_000.0;
        let config = HostConfig::new("");
        Ok(
            json!({"loop": round(config.turn_fuel as f64 / spent), "turnLimit": config.turn_fuel, "turnLimitMs": round(spent)}),
        )
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

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn at(sorted: &[f64], percent: usize) -> f64 {
    let place = (sorted.len().saturating_sub(1)) * percent / 100;
    round(sorted.get(place).copied().unwrap_or_default())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    at(&times, 50)
}

fn summary(mut times: Vec<f64>, empty: f64, count: u64) -> Value {
    times.sort_by(f64::total_cmp);
    let each = (at(&times, 50) - empty).max(0.0) * 1_000.0 / count as f64;
    json!({"p50": at(&times, 50), "p99": at(&times, 99), "max": at(&times, 100), "perOfferNs": round(each)})
}

/// The most memory that this process has held, in KiB; absent where the system does not say.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
