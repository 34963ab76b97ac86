//! `objects`: a kernel with 10,000 Services: what a person waits for who asks, and how much memory
//! it takes.
//!
//! A real `kelson dev`, asked by the command line as people do. All Services but one have
//! `instances: 0`. While the first revision is still being worked through, a plan is made, as
//! somebody who has just committed does; then one Service is set to 1, and must come to run. The
//! reference, in the same run: the same program started to do nothing (`kelson version`).

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kelson_bench::{Bar, Measure, Options, Plot, Report, Series, peak_memory, timed};
use kelson_testkit::{Dev, TestRepo};
use serde_json::{Value, json};

/// How long anything may take until this gives up.
const PATIENCE: Duration = Duration::from_secs(180);
const MIB: f64 = 1_048_576.0;

fn main() -> Result<()> {
    let options = Options::from_arguments()?;
    let (services, samples) = (options.pick(10_000, 500), options.pick(20, 5));
    let scratch = options.scratch()?;
    let folder = tempfile::tempdir_in(&scratch)?;
    let repo = TestRepo::init_at(folder.path().join("repo"))?;
    let before = repo.commit_file("README.md", "services\n", "nothing yet")?;
    let dev = Dev::builder()
        .repo(repo.path())
        .data_dir(folder.path().join("data"))
        .start()?;
    dev.wait_until("the empty revision is accepted", PATIENCE, |status| {
        applied(status) == Some(&before)
    })?;

    for place in 0..services {
        repo.write(&file(place), manifest(place, 0))?;
    }
    let all = repo.commit("all services")?;
    let (seen, accepted, _) = timed(|| {
        dev.wait_until("all are accepted", PATIENCE, |status| {
            applied(status) == Some(&all)
        })
    });
    seen?;
    let first_plan = took(|| dev.cli().ok(&["plan"]))?;

    let changed = services / 2;
    let commit = repo.commit_file(&file(changed), manifest(changed, 1), "one more")?;
    let begun = Instant::now();
    dev.settle(&commit).with_context(|| dev.tail())?;
    let running = begun.elapsed();

    let status = Series::take(samples, |_| took(|| dev.cli().ok(&["status", "-A"])))?;
    let plan = Series::take(samples / 4, |_| took(|| dev.cli().ok(&["plan"])))?;
    let nothing = Series::take(samples, |_| took(|| dev.cli().ok(&["version"])))?;
    let kernel = dev
        .processes()
        .into_iter()
        .find(|process| process.is_kelson("kernel"))
        .and_then(|process| peak_memory(process.pid))
        .context("the kernel does not say how much memory it has held")?;
    drop(dev);

    let reference = Measure::of("kelson version", &nothing);
    let once = |name: &str, took: Duration| {
        let mut series = Series::default();
        series.push(took);
        Measure::of(name, &series)
    };
    let what = format!(
        "{services} Services in one namespace, followed by a real `kelson dev`; {samples} samples of each question, one after another"
    );
    let mut report = Report::new("objects", what, options);
    let mut memory = Series::default();
    memory.push_value(kernel as f64 / MIB);
    report.measures = vec![
        Measure::of("status -A", &status)
            .p50_at_most(300.0)
            .against(&reference),
        Measure::of_unit("most memory of the kernel", "MiB", &memory).p50_at_most(250.0),
    ];
    report.breakdown = vec![
        Measure::of("plan, nothing to change", &plan).against(&reference),
        once("plan, at once after all were accepted", first_plan),
        once("commit of all -> accepted", accepted),
        once(
            "commit of one more -> its task is healthy and its rollout complete",
            running,
        ),
    ];
    report.reference = vec![reference];
    report.peak_memory = Some(kernel);
    report.details = json!({"kernelBytesPerService": kernel / services as u64});
    report.note("the kernel's process holds the reconciler and the scheduler's instances, too");
    report.note("the last leg holds the 5 s for which a task must be healthy (`minHealthyTime`)");
    let bars: Vec<Bar> = report
        .measures
        .iter()
        .chain(&report.breakdown)
        .filter(|measure| measure.unit == "ms")
        .map(Bar::from)
        .collect();
    let plot = Plot::new(
        &format!("objects: {services} Services"),
        "bar: median; line: 99th percentile; red: goal",
    )
    .bars("what a person waits for", "ms", &bars);
    report.publish(&plot)
}

fn took<T>(work: impl FnOnce() -> Result<T>) -> Result<Duration> {
    let (done, took, _) = timed(work);
    done.map(|_| took)
}

fn applied(status: &Value) -> Option<&str> {
    status.pointer("/source/applied")?.as_str()
}

fn file(place: usize) -> String {
    format!("kelson/team-{:02}/s{place:05}.yaml", place % 100)
}

fn manifest(place: usize, instances: u8) -> String {
    format!(
        "apiVersion: kelson/v1
kind: Service
metadata: {{name: s{place:05}, namespace: shop}}
spec:
  run: {{command: sleep, args: [\"86400\"]}}
  instances: {instances}
  resources: {{cpus: 0.01, memory: 8Mi}}
  stop: {{grace: 2s}}
"
    )
}
