//! `kelson plan`: what manifests would change, with the placements that the real schedulers decide
//! on a fork of the state.

use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use kelson_model::id::{Digest, Index, Revision};
use kelson_model::preview::{PlanRequest, Preview, Step};
use kelson_model::report::API_VERSION;
use kelson_model::source::{Fault, SourceRecord};
use kelson_model::time::WallTime;
use kelson_reconciler::client::{Batch, Row, RowKind};
use kelson_reconciler::source::{GitSource, ManifestSource, Tip};
use kelson_reconciler::{Desired, Foretold, Mirror, plan_source, validation};
use kelson_reconciler_core::plan::Plan as CorePlan;
use kelson_reconciler_core::render::{Mark, Texts, plan_lines, summary};
use serde::Serialize;
use serde_json::Value;

use super::manifests::{Schedulers, Where, open_repository};
use super::validate::warned;
use crate::client::{Client, WatchBatch};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Palette, Tint, fault, plain, print, say};

/// What may be typed behind `plan`.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    place: Where,
    /// Exit with 1 when something would change
    #[arg(long)]
    exit_code: bool,
}

/// What would change.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    api_version: String,
    kind: String,
    revision: Option<Revision>,
    changes: bool,
    summary: String,
    errors: Vec<Fault>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Fault>,
    plan: CorePlan,
    preview: Option<Preview>,
}

pub(crate) async fn run(arguments: &Plan, context: &Context) -> Result<Exit> {
    let place = &arguments.place;
    let source = place.open()?;
    let schedulers = Schedulers::open()?;
    let client = context.client().await?;
    let mirror = observe(&client).await?;
    let Foretold { desired, kinds } = schedulers.check(source.as_ref(), mirror.frameworks())?;
    let record = mirror.sources().next().cloned().unwrap_or(SourceRecord {
        name: "dev".to_owned(),
        ..SourceRecord::default()
    });
    let is_rewritten = is_rewritten(place, &desired, &record);
    let plan = plan_source(
        &desired,
        mirror.objects(),
        &record,
        Some(&kinds),
        is_rewritten,
        now_wall(),
    );
    let preview = if plan.has_changes() && !plan.is_blocked {
        let request = PlanRequest {
            source: record.name.clone(),
            objects: plan.to_stage(&desired.loaded).cloned().collect(),
            prune: plan.to_prune().cloned().collect(),
        };
        Some(client.post_as("/v1/plan", &request).await?)
    } else {
        None
    };
    let texts = texts(&plan, &desired, source.as_ref(), place, &record);
    let checked = validation(&desired);
    let report = Report {
        api_version: API_VERSION.to_owned(),
        kind: "Plan".to_owned(),
        revision: desired.revision.clone(),
        changes: plan.has_changes() || plan.is_blocked,
        summary: summary(&plan),
        errors: checked.errors,
        warnings: checked.warnings,
        plan,
        preview,
    };
    let palette = context.palette();
    print(context.format(), &report, |_| {
        page(&report, &texts, palette)
    })?;
    let is_no = !report.errors.is_empty() || (arguments.exit_code && report.changes);
    Ok(if is_no { Exit::No } else { Exit::Done })
}

/// What the kernel has, in the form in which the sync loop mirrors it.
async fn observe(client: &Client) -> Result<Mirror> {
    const KINDS: [RowKind; 3] = [RowKind::Object, RowKind::Source, RowKind::Framework];
    let mut mirror = Mirror::default();
    let mut rows = client
        .watch(&KINDS.map(RowKind::name).join(","), None)
        .await?;
    while let Some(batch) = rows.line::<WatchBatch>().await? {
        let is_current = batch.current;
        let rows = batch.rows.into_iter().filter_map(|row| {
            Some(Row {
                kind: RowKind::of_name(&row.kind)?,
                key: row.key,
                json: (!row.json.is_null()).then(|| row.json.to_string()),
            })
        });
        let batch = Batch {
            index: Index(batch.index),
            is_restart: batch.restart,
            is_current,
            rows: rows.collect(),
        };
        // No task is looked at, so that the time does not matter.
        mirror.take_in(batch, WallTime::default());
        if is_current {
            return Ok(mirror);
        }
    }
    Err(Failure::new(
        Exit::NothingListens,
        format!("{} has ended", client.address()),
    )
    .into())
}

/// Whether what is planned is of the branch that is followed, and does not go on from what is
/// applied.
fn is_rewritten(place: &Where, desired: &Desired, record: &SourceRecord) -> bool {
    let newest = || {
        let git = GitSource::open(&place.repo, Some(&record.branch), None).ok()?;
        let Tip::Commit(tip) = git.tip().ok()? else {
            return None;
        };
        let is_followed = match &desired.revision {
            Some(revision) => *revision == tip,
            None => GitSource::open(&place.repo, None, None)
                .is_ok_and(|checked_out| checked_out.branch() == git.branch()),
        };
        is_followed.then_some((git, tip))
    };
    let Some(((git, tip), applied)) = newest().zip(record.applied.as_ref()) else {
        return false;
    };
    match git.is_ancestor(applied, &tip) {
        Ok(goes_on) => !goes_on,
        Err(error) => {
            let error = plain(&error.to_string());
            say(&format!(
                "whether history was rewritten cannot be told: {error}"
            ));
            false
        }
    }
}

fn now_wall() -> WallTime {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The texts of files that change, before and after, as far as they can be read here.
fn texts(
    plan: &CorePlan,
    desired: &Desired,
    source: &dyn ManifestSource,
    place: &Where,
    record: &SourceRecord,
) -> Texts {
    let digest = |value: &Option<Value>| value.as_ref()?.as_str()?.parse::<Digest>().ok();
    let changes = plan
        .steps
        .iter()
        .flat_map(|step| &step.fields)
        .filter_map(|field| Some((digest(&field.before)?, digest(&field.after)?)));
    let mut texts = Texts::new();
    let mut applied = None;
    for (before, after) in changes {
        let Some(path) = desired.files.get(&after) else {
            continue;
        };
        let applied = applied.get_or_insert_with(|| {
            let git = open_repository(&place.repo, None).ok()?;
            Some(Arc::new(git).at(record.applied.clone()?))
        });
        let old = applied
            .as_ref()
            .and_then(|files| files.read_at(path).ok())
            .filter(|artifact| Digest::of(&artifact.bytes) == before);
        let (Some(old), Ok(new)) = (old, source.read_at(path)) else {
            continue;
        };
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned);
        if let (Ok(old), Ok(new)) = (text(&old.bytes), text(&new.bytes)) {
            texts.insert(before.to_string(), old);
            texts.insert(after.to_string(), new);
        }
    }
    texts
}

fn page(report: &Report, texts: &Texts, palette: Palette) -> String {
    let mut text = String::new();
    for error in &report.errors {
        text.push_str(&fault(error, palette));
    }
    for warning in &report.warnings {
        text.push_str(&warned(warning, palette));
    }
    for line in plan_lines(&report.plan, texts) {
        let tint = match line.mark {
            Mark::Added => Tint::Good,
            Mark::Changed => Tint::Warn,
            Mark::Removed | Mark::Held => Tint::Bad,
            Mark::Kept => Tint::Dim,
        };
        text.push_str(&palette.paint(tint, &plain(&line.text)));
        text.push('\n');
    }
    if let Some(preview) = &report.preview {
        text.push_str(&preview_lines(preview, palette));
    }
    let head = if report.changes {
        palette.paint(Tint::Strong, "would change: ")
    } else {
        palette.paint(Tint::Good, "nothing would change: ")
    };
    text.push_str(&format!("{head}{}\n", report.summary));
    text
}

fn preview_lines(preview: &Preview, palette: Palette) -> String {
    let mut text = String::new();
    let is_shown = |step: &&Step| !(step.launches.is_empty() && step.stops.is_empty());
    for (at, step) in preview.steps.iter().filter(is_shown).enumerate() {
        // Steps in which nothing starts or ends are not shown, so the kernel's numbers would
        // mislead.
        let assumes = match &step.assumes {
            None => "at once:",
            Some(_) => "assuming that what has started is healthy, and what was stopped has ended:",
        };
        let head = format!("step {}, {assumes}", at + 1);
        text.push_str(&format!("{}\n", palette.paint(Tint::Strong, &head)));
        for stop in &step.stops {
            let line = format!(
                "  - stop {}/{} ({})",
                stop.workload.namespace,
                stop.task,
                stop.reason.word()
            );
            text.push_str(&format!("{}\n", plain(&line)));
        }
        for launch in &step.launches {
            let line = format!(
                "  + start {}/{} on {}",
                launch.workload.namespace, launch.task, launch.agent
            );
            text.push_str(&format!("{}\n", plain(&line)));
        }
    }
    if preview.truncated {
        text.push_str("  and more steps\n");
    }
    for waiting in &preview.waiting {
        let line = format!(
            "{}: {}: {}",
            waiting.workload, waiting.reason, waiting.message
        );
        text.push_str(&format!(
            "{} {}\n",
            palette.paint(Tint::Warn, "waits"),
            plain(&line)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use kelson_model::code::Code;
    use serde_json::json;

    #[test]
    fn warnings_stand_before_what_would_change() {
        let plan = plan_source(
            &Desired::default(),
            &std::collections::BTreeMap::new(),
            &SourceRecord::default(),
            None,
            false,
            WallTime::default(),
        );
        let report = Report {
            api_version: API_VERSION.to_owned(),
            kind: "Plan".to_owned(),
            revision: None,
            changes: false,
            summary: "as it is".to_owned(),
            errors: Vec::new(),
            warnings: vec![Fault::of_file(
                Code::Unlikely,
                "web.yaml",
                "a line",
                "words",
            )],
            plan,
            preview: None,
        };
        let page = page(&report, &Texts::new(), Palette::plain());
        let first = page.lines().next().unwrap();
        assert_eq!(
            first,
            format!("warning: web.yaml: {} a line", Code::Unlikely)
        );
    }

    #[test]
    fn placements_are_shown_step_by_step_with_what_is_assumed() {
        let web = json!({"kind": "Service", "namespace": "shop", "name": "web"});
        let preview = json!({"index": 1, "truncated": false, "stateHash": "x",
            "steps": [
                {"step": 1, "assumes": null, "launches": [{"workload": web, "task": "web.0", "agent": "agt_1", "generation": 2}], "stops": [], "statuses": []},
                {"step": 2, "assumes": "the tasks of step 1 turn healthy", "launches": [],
                 "stops": [{"workload": web, "task": "web.0", "id": "tsk_3", "reason": "replaced"}], "statuses": []}],
            "waiting": [{"workload": web, "reason": "NoRoom", "message": "no agent has 4 cpus"}]});
        let preview: Preview = serde_json::from_value(preview).unwrap();
        assert_eq!(
            preview_lines(&preview, Palette::plain()),
            "\
step 1, at once:
  + start shop/web.0 on agt_1
step 2, assuming that what has started is healthy, and what was stopped has ended:
  - stop shop/web.0 (replaced)
waits Service shop/web: NoRoom: no agent has 4 cpus
"
        );
    }
}
