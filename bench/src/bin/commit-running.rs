//! `commit-running`: one file changes in a local repository of 1,000 services; how long until the
//! new task runs, and where the time goes.
//!
//! The commits are made beforehand, so that the clock starts when the branch moves to the next one,
//! as `git commit` does it last of all, and stops when the kernel's watch shows the new task
//! running. Kernel, agent, shim and task are real processes, raised by `kelson dev`. The reference,
//! in the same run: what cannot be saved, which is one durable write and one start of the same
//! program.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kelson_bench::{
    Bar, Batch, Histogram, Measure, Options, Plot, Report, Series, Watch, peak_memory, timed,
};
use kelson_testkit::{Dev, TestRepo};
use serde_json::{Value, json};

/// How long anything may take until this gives up.
const PATIENCE: Duration = Duration::from_secs(120);
/// After this long without a row, nothing is under way any more.
const QUIET: Duration = Duration::from_millis(400);
const NAMESPACE: &str = "shop";
/// What tells a task's generation in its specification.
const ROUND: &str = "/spec/run/env/ROUND";

fn main() -> Result<()> {
    let options = Options::from_arguments()?;
    let (services, samples) = (options.pick(1_000, 100), options.pick(50, 10));
    let scratch = options.scratch()?;
    let folder = tempfile::tempdir_in(&scratch)?;

    let (repo, commits) = repository(&folder.path().join("repo"), services, samples)?;
    let dev = Dev::builder()
        .repo(repo.path())
        .data_dir(folder.path().join("data"))
        .start()?;
    let bench = Bench {
        watch: Watch::open(dev.address(), "object,task,source")?,
        branch: repo.path().join(".git/refs/heads/main"),
        changed: name(services / 2),
    };
    let legs = bench.run(&commits).with_context(|| dev.tail())?;
    let processes = dev.processes();
    let peaks = processes
        .iter()
        .filter_map(|process| peak_memory(process.pid));
    let peak_memory: u64 = peaks.sum();
    drop(dev);

    let (spawn, sync) = (spawns(samples)?, syncs(folder.path(), samples * 4)?);
    let reference = Measure::of(
        "one durable write and one start of the program",
        &spawn
            .values()
            .iter()
            .zip(sync.values())
            .map(|(spawn, sync)| spawn + sync)
            .collect(),
    );

    let what = format!(
        "{services} Services in one namespace, one file changed by a commit: its one task is replaced by one of the new version (sleep); {samples} samples, one after another, each begun when all was quiet; peak memory is of all processes of `kelson dev` together"
    );
    let mut report = Report::new("commit-running", what, options);
    let total: Series = legs.iter().map(|leg| leg.running).collect();
    report.measures = vec![
        Measure::of("commit to running", &total)
            .p50_at_most(60.0)
            .p99_at_most(250.0)
            .against(&reference),
    ];
    let leg = |name: &str, of: fn(&Leg) -> f64| Measure::of(name, &legs.iter().map(of).collect());
    report.breakdown = vec![
        leg("branch moved -> accepted", |leg| leg.accepted),
        leg("accepted -> launch committed", |leg| {
            leg.launched - leg.accepted
        }),
        leg("launch committed -> taken up by the agent", |leg| {
            leg.started - leg.launched
        }),
        leg("taken up -> running", |leg| leg.running - leg.started),
        leg("running -> rollout complete (not in the total)", |leg| {
            leg.complete - leg.running
        }),
    ];
    report.reference = vec![
        reference,
        Measure::of("fork and exec of the program", &spawn),
        Measure::of("write of 4 KiB and fdatasync", &sync),
    ];
    report.peak_memory = Some(peak_memory);
    let entries = |of: fn(&Leg) -> u64| {
        let series: Series = legs.iter().map(|leg| of(leg) as f64).collect();
        series.p50()
    };
    report.details = json!({
        "logEntries": {"untilAccepted": entries(|leg| leg.entries_accepted), "untilRunning": entries(|leg| leg.entries_running), "untilComplete": entries(|leg| leg.entries_complete)},
        "processes": processes.len(),
    });
    report.note("all services but the changed one have `instances: 0`, which the schema allows: a machine of two cores does not run 1,000 tasks beside what is measured");
    report.note("times are those at which the watch over HTTP shows a row; two entries of the log that come close together are shown as one, and the earlier leg then holds both");
    report.note("log entries: how far the log had moved on, at the median; each is one fdatasync unless several share one");

    let total_bars: Vec<Bar> = report
        .measures
        .iter()
        .chain(&report.breakdown)
        .map(Bar::from)
        .collect();
    let reference = report.reference.iter().map(|measure| Bar {
        is_reference: true,
        ..Bar::from(measure)
    });
    let bars: Vec<Bar> = total_bars.into_iter().chain(reference).collect();
    let marks = [
        ("p50", total.p50()),
        ("p99", total.percentile(99)),
        ("goal of p50", 60.0),
    ];
    let plot = Plot::new(
        &format!("commit-running: one file of {services} changed"),
        "bar: median; line: 99th percentile; red: goal; grey: reference",
    )
    .histogram(&Histogram {
        title: "commit to running".to_owned(),
        unit: "ms".to_owned(),
        values: total.values().to_vec(),
        marks: marks.map(|(word, at)| (word.to_owned(), at)).to_vec(),
    })
    .bars("where the time goes", "ms", &bars);
    report.publish(&plot)
}

/// When each thing was seen, in milliseconds after the branch had moved.
#[derive(Debug, Clone, Copy, Default)]
struct Leg {
    accepted: f64,
    launched: f64,
    started: f64,
    running: f64,
    complete: f64,
    entries_accepted: u64,
    entries_running: u64,
    entries_complete: u64,
}

struct Bench {
    watch: Watch,
    branch: std::path::PathBuf,
    /// The service whose file changes.
    changed: String,
}

impl Bench {
    fn run(&self, commits: &[String]) -> Result<Vec<Leg>> {
        self.wait("the first revision runs", |batch| {
            self.task(batch, 0, "running")
        })?;
        let mut index = self.quiet(0)?;
        let mut legs = Vec::new();
        for (round, commit) in (1..).zip(commits) {
            let leg = self
                .sample(round, commit, index)
                .with_context(|| format!("sample {round}"))?;
            index = self.quiet(leg.1)?;
            legs.push(leg.0);
        }
        Ok(legs)
    }

    fn quiet(&self, known: u64) -> Result<u64> {
        Ok(self.watch.quiet(QUIET, PATIENCE)?.unwrap_or(known))
    }

    /// Moves the branch, and looks until the rollout is complete.
    fn sample(&self, round: u64, commit: &str, before: u64) -> Result<(Leg, u64)> {
        let begun = Instant::now();
        move_branch(&self.branch, commit)?;
        let since = |batch: &Batch| batch.at.saturating_duration_since(begun).as_secs_f64() * 1e3;
        let mut leg = Leg::default();
        loop {
            if begun.elapsed() > PATIENCE {
                bail!("not complete after {PATIENCE:?}: {leg:?}");
            }
            let batch = self.watch.next(PATIENCE)?;
            let (now, entries) = (since(&batch), batch.index.saturating_sub(before));
            if leg.accepted == 0.0 && self.is_accepted(&batch, round) {
                (leg.accepted, leg.entries_accepted) = (now, entries);
            }
            let seen = |states: &[&str]| states.iter().any(|state| self.task(&batch, round, state));
            if leg.launched == 0.0 && seen(&["staging", "starting", "running"]) {
                leg.launched = now;
            }
            if leg.started == 0.0 && seen(&["starting", "running"]) {
                leg.started = now;
            }
            if leg.running == 0.0 && seen(&["running"]) {
                (leg.running, leg.entries_running) = (now, entries);
            }
            if leg.running > 0.0 && self.is_complete(&batch, round) {
                (leg.complete, leg.entries_complete) = (now, entries);
                return Ok((leg, batch.index));
            }
        }
    }

    /// Looks at batches until one is as wanted.
    fn wait(&self, what: &str, is_so: impl Fn(&Batch) -> bool) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if is_so(&self.watch.next(PATIENCE)?) {
                return Ok(());
            }
        }
        bail!("waited {PATIENCE:?} until {what}")
    }

    /// The row of the changed service as of this round, if the batch has it.
    fn object<'b>(&self, batch: &'b Batch, round: u64) -> Option<&'b Value> {
        let round = round.to_string();
        batch.rows_of("object").find(|row| {
            row.pointer("/key/name")
                .is_some_and(|name| *name == self.changed)
                && row.pointer(ROUND).is_some_and(|found| *found == round)
        })
    }

    fn is_accepted(&self, batch: &Batch, round: u64) -> bool {
        self.object(batch, round).is_some()
    }

    fn is_complete(&self, batch: &Batch, round: u64) -> bool {
        let object = self.object(batch, round);
        object.is_some_and(|row| {
            row.pointer("/rollout/state")
                .is_some_and(|state| state == "complete")
        })
    }

    /// Whether the batch shows a task of this round in this state; the first generation is 1, and
    /// each round makes one more.
    fn task(&self, batch: &Batch, round: u64, state: &str) -> bool {
        batch.rows_of("task").any(|row| {
            row.get("state").is_some_and(|found| found == state)
                && row
                    .get("generation")
                    .is_some_and(|found| *found == round + 1)
        })
    }
}

/// Points the branch at a commit as git does: a lock beside it, renamed over it.
fn move_branch(branch: &Path, commit: &str) -> Result<()> {
    let lock = branch.with_extension("lock");
    std::fs::write(&lock, format!("{commit}\n"))?;
    std::fs::rename(&lock, branch).context("the branch cannot be moved")
}

/// A repository whose branch is at the first commit, and the commits that follow, each of which
/// changes one file.
fn repository(path: &Path, services: usize, rounds: usize) -> Result<(TestRepo, Vec<String>)> {
    let repo = TestRepo::init_at(path)?;
    let changed = services / 2;
    for place in 0..services {
        let instances = u8::from(place == changed);
        repo.write(&file(place), manifest(place, instances, 0))?;
    }
    let first = repo.commit("all services")?;
    let mut commits = vec![first.clone()];
    for round in 1..=rounds {
        let edited = manifest(changed, 1, round);
        commits.push(repo.commit_file(&file(changed), edited, "one change")?);
    }
    repo.rewind(&first)?;
    Ok((repo, commits.split_off(1)))
}

fn name(place: usize) -> String {
    format!("s{place:04}")
}

fn file(place: usize) -> String {
    format!("kelson/team-{:02}/{}.yaml", place % 20, name(place))
}

fn manifest(place: usize, instances: u8, round: usize) -> String {
    format!(
        "apiVersion: kelson/v1
kind: Service
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  run: {{command: sleep, args: [\"86400\"], env: {{ROUND: \"{round}\"}}}}
  instances: {instances}
  resources: {{cpus: 0.01, memory: 8Mi}}
  stop: {{grace: 2s}}
  update: {{minHealthyTime: 0s}}
",
        name = name(place)
    )
}

/// Starts the program, as often as there are samples: from fork until it has been executed.
fn spawns(samples: usize) -> Result<Series> {
    Series::take(samples, |_| {
        let (child, took, _) = timed(|| {
            let mut command = Command::new("sleep");
            command.arg("86400").stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        });
        let mut child = child.context("cannot start sleep")?;
        child.kill()?;
        child.wait()?;
        Ok(took)
    })
}

/// Appends to a file on the disk of the log, durably.
fn syncs(folder: &Path, samples: usize) -> Result<Series> {
    let mut file = File::create(folder.join("reference.log"))?;
    let block = [7_u8; 4096];
    Series::take(samples, |_| {
        let (written, took, _) = timed(|| {
            file.write_all(&block)?;
            file.sync_data()
        });
        written.context("cannot write durably")?;
        Ok(took)
    })
}
