//! `kelson plan`: what manifests would change, with the placements that the real schedulers decide
//! on a fork of the state.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use kelson_model::id::Revision;
use kelson_model::object::ObjectKey;
use kelson_model::report::API_VERSION;
use kelson_model::source::{Fault, SourceRecord};
use kelson_model::time::WallTime;
use kelson_reconciler::plan_source;
use kelson_reconciler_core::observed::ObservedObject;
use kelson_reconciler_core::plan::Plan as CorePlan;
use kelson_reconciler_core::render::{Mark, plan_lines, summary};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::manifests::{Schedulers, Where};
use crate::client::{Client, WatchBatch};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Palette, Tint, fault, plain, print};

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
    plan: CorePlan,
    preview: Option<Value>,
}

/// The fields of a preview that are shown; `-o json` shows all that the kernel says.
#[derive(Debug, Deserialize)]
struct Preview {
    #[serde(default)]
    steps: Vec<Step>,
    #[serde(default)]
    waiting: Vec<Waiting>,
    #[serde(default)]
    truncated: bool,
}

#[derive(Debug, Deserialize)]
struct Step {
    #[serde(default)]
    assumes: Option<String>,
    #[serde(default)]
    launches: Vec<Move>,
    #[serde(default)]
    stops: Vec<Move>,
}

#[derive(Debug, Deserialize)]
struct Move {
    workload: ObjectKey,
    task: String,
    #[serde(default)]
    agent: String,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Waiting {
    workload: ObjectKey,
    reason: String,
    message: String,
}

pub(crate) async fn run(arguments: &Plan, context: &Context) -> Result<Exit> {
    let source = arguments.place.open()?;
    let mut schedulers = Schedulers::open()?;
    let desired = schedulers.check(source.as_ref())?;
    let kinds = schedulers.kinds();
    let client = context.client()?;
    let (objects, record) = observe(&client).await?;
    let plan = plan_source(&desired, &objects, &record, Some(&kinds), false, now_wall());
    let (loaded, revision) = (desired.loaded, desired.revision);
    let preview = if plan.has_changes() && !plan.is_blocked {
        let body = json!({
            "source": record.name,
            "objects": plan.to_stage(&loaded).collect::<Vec<_>>(),
            "prune": plan.to_prune().collect::<Vec<_>>(),
        });
        Some(client.post("/v1/plan", &body).await?)
    } else {
        None
    };
    let report = Report {
        api_version: API_VERSION.to_owned(),
        kind: "Plan".to_owned(),
        revision,
        changes: plan.has_changes(),
        summary: summary(&plan),
        errors: loaded.faults,
        plan,
        preview,
    };
    let palette = context.palette();
    print(context.format(), &report, |_| page(&report, palette))?;
    let is_no = !report.errors.is_empty() || (arguments.exit_code && report.changes);
    Ok(if is_no { Exit::No } else { Exit::Done })
}

/// All objects and the source, as of one state.
async fn observe(client: &Client) -> Result<(BTreeMap<ObjectKey, ObservedObject>, SourceRecord)> {
    let mut objects = BTreeMap::new();
    let mut record = SourceRecord {
        name: "dev".to_owned(),
        ..SourceRecord::default()
    };
    let mut rows = client.watch("object,source", None).await?;
    while let Some(batch) = rows.line::<WatchBatch>().await? {
        for row in batch.rows {
            match row.kind.as_str() {
                "object" => {
                    let is_removed = row.json.get("isRemoved") == Some(&Value::Bool(true));
                    if row.json.is_null() || is_removed {
                        continue;
                    }
                    let object: ObservedObject = client.parsed("/v1/watch", row.json)?;
                    objects.insert(object.key.clone(), object);
                }
                "source" if !row.json.is_null() => {
                    record = client.parsed("/v1/watch", row.json)?;
                }
                _ => {}
            }
        }
        if batch.current {
            return Ok((objects, record));
        }
    }
    Err(Failure::new(
        Exit::NothingListens,
        format!("{} has ended", client.address()),
    )
    .into())
}

fn now_wall() -> WallTime {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn page(report: &Report, palette: Palette) -> String {
    let mut text = String::new();
    for error in &report.errors {
        text.push_str(&fault(error, palette));
    }
    for line in plan_lines(&report.plan) {
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

fn preview_lines(preview: &Value, palette: Palette) -> String {
    let preview: Preview = match serde_json::from_value(preview.clone()) {
        Ok(preview) => preview,
        Err(error) => return format!("this version cannot show the placements: {error}\n"),
    };
    let mut text = String::new();
    let is_shown = |step: &&Step| !(step.launches.is_empty() && step.stops.is_empty());
    for (at, step) in preview.steps.iter().filter(is_shown).enumerate() {
        // Steps in which nothing starts or ends are not shown, so the kernel's numbers would
        // mislead.
        let assumes = match &step.assumes {
            None => "at once:",
            Some(_) => "assuming that what has started is healthy, and what was stopped has ended:",
        };
        text.push_str(&format!(
            "{}\n",
            palette.paint(Tint::Strong, &format!("step {}, {assumes}", at + 1))
        ));
        for stop in &step.stops {
            text.push_str(&format!(
                "  - stop {}/{} ({})\n",
                stop.workload.namespace, stop.task, stop.reason
            ));
        }
        for launch in &step.launches {
            text.push_str(&format!(
                "  + start {}/{} on {}\n",
                launch.workload.namespace, launch.task, launch.agent
            ));
        }
    }
    if preview.truncated {
        text.push_str("  and more steps\n");
    }
    for waiting in &preview.waiting {
        text.push_str(&format!(
            "{} {}: {}: {}\n",
            palette.paint(Tint::Warn, "waits"),
            waiting.workload,
            plain(&waiting.reason),
            plain(&waiting.message)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placements_are_shown_step_by_step_with_what_is_assumed() {
        let web = json!({"kind": "Service", "namespace": "shop", "name": "web"});
        let preview = json!({"index": 1, "truncated": false, "stateHash": "x",
            "steps": [
                {"step": 1, "assumes": null, "launches": [{"workload": web, "task": "web.0", "agent": "agt_1", "generation": 2}], "stops": [], "statuses": []},
                {"step": 2, "assumes": "the tasks of step 1 turn healthy", "launches": [],
                 "stops": [{"workload": web, "task": "web.0", "id": "tsk_3", "reason": "replaced"}], "statuses": []}],
            "waiting": [{"workload": web, "reason": "NoRoom", "message": "no agent has 4 cpus"}]});
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
