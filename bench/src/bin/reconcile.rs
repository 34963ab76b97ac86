//! `reconcile`: a repository of 10,000 manifests, through the reconciler's own loader, plan and
//! drift scan, without a kernel.
//!
//! Cold: nothing is remembered, every manifest is read from git, parsed, checked and judged by its
//! framework. Nothing changed: what one beat of the watcher costs. One file changed: from a new
//! commit to a plan. Drift scan: all objects against what is. The reference is serde reading the
//! same YAML from memory into typed structs.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use kelson_bench::{Bar, Measure, Options, Plot, Report, Series, peak_memory, timed};
use kelson_kernel_core::port::SchedulerHost;
use kelson_model::drift::ByHand;
use kelson_model::framework::Limits;
use kelson_model::id::{Digest, Revision};
use kelson_model::object::{Health, ObjectKey};
use kelson_model::principal::Principal;
use kelson_model::time::WallTime;
use kelson_plugin_host::{HostConfig, WasmHost};
use kelson_reconciler::source::{GitSource, ManifestSource, Tip};
use kelson_reconciler::{Desired, Loader, Problem, SchemaOnly, Validator};
use kelson_reconciler_core::drift::{Sight, scan};
use kelson_reconciler_core::manifest::Kinds;
use kelson_reconciler_core::observed::ObservedObject;
use kelson_reconciler_core::plan::{Context, Plan as SyncPlan, plan};
use kelson_testkit::TestRepo;
use kelson_testkit::manifest::service;
use serde::Deserialize;
use serde_json::json;

const SOURCE: &str = "dev";
const FOLDERS: usize = 100;

fn main() -> Result<()> {
    let options = Options::from_arguments()?;
    let size = options.pick(10_000, 1_000);
    let bench = Bench::prepare(options, size)?;
    let reference = bench.reference(options.pick(5, 3))?;

    let cold = bench.cold(options.pick(5, 2), &bench.asked)?;
    let schema_only: Arc<dyn Validator> = Arc::new(SchemaOnly);
    let unasked = bench.cold(options.pick(5, 2), &schema_only)?;
    let (beat, beat_cpu) = bench.nothing_changed(options.pick(200, 50))?;
    let warm = bench.warm(options.pick(50, 20))?;

    let what = format!(
        "{size} Services in {FOLDERS} folders of a git repository, all in the process of the bench; peak memory is its own, samples and reference included"
    );
    let mut report = Report::new("reconcile", what, options);
    let reference = Measure::of("serde_yaml into typed structs, from memory", &reference);
    report.measures = vec![
        Measure::of("cold load", &cold.wall)
            .p50_at_most(2_000.0)
            .against(&reference),
        Measure::of("nothing changed, processor time", &beat_cpu)
            .p50_at_most(2.0)
            .against(&reference),
        Measure::of("one file changed, to a plan", &warm.total)
            .p50_at_most(20.0)
            .against(&reference),
        Measure::of("drift scan, processor time", &warm.scan_cpu)
            .p50_at_most(100.0)
            .against(&reference),
    ];
    report.breakdown = vec![
        Measure::of("cold load, processor time", &cold.cpu),
        Measure::of("cold load: listing the tree", &cold.listing),
        Measure::of("cold load without asking the framework", &unasked.wall),
        Measure::of("nothing changed, wall", &beat),
        Measure::of("one file changed, processor time", &warm.total_cpu),
        Measure::of("one file changed: tip and history", &warm.tip),
        Measure::of("one file changed: listing the tree", &warm.listing),
        Measure::of("one file changed: loading", &warm.loading),
        Measure::of("one file changed: planning", &warm.planning),
        Measure::of("drift scan, wall", &warm.scan),
    ];
    report.peak_memory = peak_memory(std::process::id());
    report.details =
        json!({"objects": size, "yamlBytes": bench.texts.iter().map(String::len).sum::<usize>()});
    report.note("cold: a new source and loader each time; the files of the repository are in the system's cache");
    report.note("nothing changed: what the loop does at a beat that brings no commit, which is to look at the tip of the branch; no request is made, so no log entry is written");
    report.note("drift scan: one object of all differs, and the scan must find it");
    report.reference = vec![reference];

    let mut bars: Vec<Bar> = report
        .measures
        .iter()
        .chain(&report.breakdown)
        .map(Bar::from)
        .collect();
    bars.extend(report.reference.iter().map(|measure| Bar {
        is_reference: true,
        ..Bar::from(measure)
    }));
    let title = format!("reconcile: {size} manifests");
    let plot = Plot::new(
        &title,
        "bar: median; line: 99th percentile; red: goal; grey: reference",
    )
    .bars("time", "ms", &bars);
    report.publish(&plot)
}

/// A repository with two commits that differ in one file, and what is needed to load it.
struct Bench {
    repo: TestRepo,
    texts: Vec<String>,
    /// The older and the newer commit.
    revisions: [Revision; 2],
    kinds: Kinds,
    asked: Arc<dyn Validator>,
    _cache: tempfile::TempDir,
}

struct Cold {
    wall: Series,
    cpu: Series,
    listing: Series,
}

#[derive(Default)]
struct Warm {
    total: Series,
    total_cpu: Series,
    tip: Series,
    listing: Series,
    loading: Series,
    planning: Series,
    scan: Series,
    scan_cpu: Series,
}

impl Bench {
    fn prepare(options: Options, size: usize) -> Result<Bench> {
        let cache = tempfile::tempdir_in(options.scratch()?)?;
        let host = WasmHost::new(HostConfig::new(cache.path()))?;
        let component = kelson_plugins_bundle::component("service")
            .context("there is no service in the box")?;
        let digest = Digest::of(component);
        let description = host.load(&digest, component, &Limits::default())?;
        let (kinds, _) = Kinds::new([(description.name.as_str(), &description)]);
        let repo = TestRepo::init()?;
        let mut texts = Vec::with_capacity(size);
        for place in 0..size {
            let text = service(&format!("s{place:05}")).yaml();
            repo.write(&file(place), &text)?;
            texts.push(text);
        }
        let first = repo.commit("all of them")?;
        let second =
            repo.commit_edit(&file(size / 2), "instances: 1", "instances: 2", "one more")?;
        let parse = |text: &str| {
            text.parse::<Revision>()
                .context("git names a commit otherwise")
        };
        Ok(Bench {
            revisions: [parse(&first)?, parse(&second)?],
            repo,
            texts,
            kinds,
            asked: Arc::new(Asked { host, digest }),
            _cache: cache,
        })
    }

    fn open(&self) -> Result<Arc<GitSource>> {
        Ok(Arc::new(GitSource::open(self.repo.path(), None, None)?))
    }

    /// Reads all texts into structs.
    fn reference(&self, samples: usize) -> Result<Series> {
        Series::take(samples, |_| {
            let (parsed, wall, _) = timed(|| {
                let texts = self.texts.iter();
                texts
                    .map(|text| serde_yaml::from_str(text))
                    .collect::<Result<Vec<Manifest>, _>>()
            });
            let parsed = parsed?;
            ensure!(
                parsed.iter().all(Manifest::is_whole),
                "the reference has read something else"
            );
            Ok(wall)
        })
    }

    /// From opening the repository to all objects.
    fn cold(&self, samples: usize, validator: &Arc<dyn Validator>) -> Result<Cold> {
        let mut cold = Cold {
            wall: Series::default(),
            cpu: Series::default(),
            listing: Series::default(),
        };
        for _ in 0..samples {
            let (desired, wall, cpu) = timed(|| -> Result<Desired> {
                let source = self.open()?;
                let revision = tip(&source)?;
                let files = source.at(revision);
                let (listing, took, _) = timed(|| files.files());
                cold.listing.push(took);
                drop(listing?);
                Ok(Loader::new(Arc::clone(validator)).load(&files, &self.kinds)?)
            });
            self.check(&desired?)?;
            cold.wall.push(wall);
            cold.cpu.push(cpu);
        }
        Ok(cold)
    }

    /// What the sync loop does at a beat without a change.
    fn nothing_changed(&self, samples: usize) -> Result<(Series, Series)> {
        let source = self.open()?;
        let (mut wall, mut cpu) = (Series::default(), Series::default());
        for _ in 0..samples {
            let (found, took, used) = timed(|| tip(&source));
            let [_, newest] = &self.revisions;
            ensure!(found? == *newest, "the tip is another commit");
            wall.push(took);
            cpu.push(used);
        }
        Ok((wall, cpu))
    }

    /// Goes from one commit to the other and back: loads, plans, and scans for drift.
    fn warm(&self, samples: usize) -> Result<Warm> {
        let source = self.open()?;
        let mut loader = Loader::new(Arc::clone(&self.asked));
        let [first, second] = &self.revisions;
        let mut applied = (
            first,
            self.check(&loader.load(&source.at(first.clone()), &self.kinds)?)?,
        );
        let mut warm = Warm::default();
        for sample in 0..samples {
            let next = if sample % 2 == 0 { second } else { first };
            let before = loader.parsed();
            let (made, total, total_cpu) = timed(|| -> Result<(Desired, SyncPlan)> {
                let (looked, took, _) = timed(|| -> Result<bool> {
                    tip(&source)?;
                    Ok(source.is_ancestor(applied.0, next)?)
                });
                looked?;
                warm.tip.push(took);
                let files = source.at(next.clone());
                let (listing, took, _) = timed(|| files.files());
                drop(listing?);
                warm.listing.push(took);
                let (desired, took, _) = timed(|| loader.load(&files, &self.kinds));
                let desired = desired?;
                warm.loading.push(took);
                let context = context(next, applied.0);
                let (made, took, _) = timed(|| plan(&desired.loaded, &applied.1, context));
                warm.planning.push(took);
                Ok((desired, made))
            });
            let (desired, made) = made?;
            ensure!(
                loader.parsed() == before + 1,
                "one file has changed, and {} were parsed",
                loader.parsed() - before
            );
            ensure!(
                made.steps.len() == 1,
                "one file has changed, and there are {} steps",
                made.steps.len()
            );
            warm.total.push(total);
            warm.total_cpu.push(total_cpu);
            applied = (next, self.check(&desired)?);
            self.scan(&desired, &applied, &mut warm)?;
        }
        Ok(warm)
    }

    /// Looks for drift where one object was changed by hand.
    fn scan(
        &self,
        desired: &Desired,
        applied: &(&Revision, BTreeMap<ObjectKey, ObservedObject>),
        warm: &mut Warm,
    ) -> Result<()> {
        let mut observed = applied.1.clone();
        let live = observed
            .values_mut()
            .next()
            .context("nothing is observed")?;
        live.by_hand = Some(Arc::new(ByHand {
            accepted: live.spec.clone(),
            fields: Vec::new(),
        }));
        let mut spec = live.spec.value();
        if let Some(instances) = spec.get_mut("instances") {
            *instances = json!(9);
        }
        live.spec = spec.into();
        let (found, wall, cpu) = timed(|| {
            scan(Sight {
                source: SOURCE,
                places: Some(&desired.loaded),
                kinds: None,
                observed: &observed,
                tasks: &[],
                agents: &[],
                ledger: &[],
                now: WallTime(1),
            })
        });
        ensure!(
            found.items.len() == 1,
            "one object differs, and {} were found",
            found.items.len()
        );
        warm.scan.push(wall);
        warm.scan_cpu.push(cpu);
        Ok(())
    }

    /// What a kernel would have once all of it is accepted; fails where not all of it is good.
    fn check(&self, desired: &Desired) -> Result<BTreeMap<ObjectKey, ObservedObject>> {
        let loaded = &desired.loaded;
        if let Some(fault) = loaded.faults.first() {
            bail!("{}:{}: {}", fault.file, fault.line, fault.message);
        }
        ensure!(
            loaded.objects.len() == self.texts.len(),
            "{} objects were loaded",
            loaded.objects.len()
        );
        let observed = loaded.objects.iter().map(|object| {
            let wish = &object.desired;
            let live = ObservedObject {
                key: wish.key.clone(),
                labels: wish.labels.clone(),
                lifecycle: wish.lifecycle,
                spec: wish.spec.clone(),
                generation: 1,
                origin: Some(wish.origin.clone()),
                revision: desired.revision.clone(),
                source: Some(SOURCE.to_owned()),
                by_hand: None,
                written: wish.written.clone(),
                changed_by: Some(Principal::new("reconciler", "git")),
                quarantined: false,
                is_word_unknown: false,
                health: Health::Healthy,
            };
            (wish.key.clone(), live)
        });
        Ok(observed.collect())
    }
}

fn file(place: usize) -> String {
    format!("kelson/team-{:02}/s{place:05}.yaml", place % FOLDERS)
}

fn tip(source: &GitSource) -> Result<Revision> {
    match source.tip()? {
        Tip::Commit(revision) => Ok(revision),
        other => bail!("the branch has no commit: {other:?}"),
    }
}

fn context<'a>(revision: &'a Revision, applied: &'a Revision) -> Context<'a> {
    Context {
        source: SOURCE,
        revision: Some(revision),
        applied: Some(applied),
        ..Context::default()
    }
}

/// Asks the framework in its sandbox, as the reconciler of a cluster does.
struct Asked {
    host: WasmHost,
    digest: Digest,
}

impl Validator for Asked {
    fn validate(&self, key: &ObjectKey, spec: &kelson_model::spec::Spec) -> Vec<Problem> {
        let problem = |pointer: String, message: String| Problem { pointer, message };
        match self.host.validate(&self.digest, &key.kind, spec.text()) {
            Ok(found) => found
                .into_iter()
                .map(|found| problem(found.pointer, found.message))
                .collect(),
            Err(fault) => vec![problem(String::new(), fault.to_string())],
        }
    }
}

/// The same manifest as plain structs, for the reference.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Manifest {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
    namespace: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    run: Run,
    instances: u32,
    resources: Resources,
    ports: Vec<Port>,
    health: Check,
    stop: Stop,
    restart: Restart,
    update: Update,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    command: String,
    args: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resources {
    cpus: f64,
    memory: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Port {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    http: Http,
    interval: String,
    timeout: String,
    grace: String,
    failures: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    port: String,
    path: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stop {
    grace: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Restart {
    backoff: Backoff,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Backoff {
    initial: String,
    max: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Update {
    min_healthy_time: String,
    progress_deadline: String,
}

impl Manifest {
    /// Whether every field has come, so that none is read in vain.
    fn is_whole(&self) -> bool {
        let Spec {
            run,
            instances,
            resources,
            ports,
            health,
            stop,
            restart,
            update,
        } = &self.spec;
        let texts = [
            &self.api_version,
            &self.kind,
            &self.metadata.name,
            &self.metadata.namespace,
            &run.command,
            &resources.memory,
            &health.http.port,
            &health.http.path,
            &health.interval,
            &health.timeout,
            &health.grace,
            &stop.grace,
            &restart.backoff.initial,
            &restart.backoff.max,
            &update.min_healthy_time,
            &update.progress_deadline,
        ];
        texts.iter().all(|text| !text.is_empty())
            && ports.iter().all(|port| !port.name.is_empty())
            && !run.args.is_empty()
            && *instances > 0
            && resources.cpus > 0.0
            && health.failures > 0
    }
}
