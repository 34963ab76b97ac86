//! `kelson drift`: what differs from git without a commit.

use anyhow::Result;
use clap::Args;
use kelson_model::drift::{DriftState, FieldDrift, Plane};
use kelson_model::object::DriftPolicy;
use kelson_model::report::{DriftReport, DriftRow, DriftSummary};
use serde_json::Value;

use super::target::{Target, keys, status};
use super::watching::Watching;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Cell, Palette, Table, Tint, age, now, plain, say};

/// What may be typed behind `drift`.
#[derive(Debug, Args)]
pub(crate) struct Drift {
    /// Only these objects
    #[arg(value_name = "[KIND/]NAME")]
    objects: Vec<Target>,
    /// Exit with 1 when something differs now, in any namespace unless -n names one
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    watching: Watching,
}

pub(crate) async fn run(arguments: &Drift, context: &Context) -> Result<Exit> {
    let client = context.client().await?;
    // A script that asks for a verdict means everything, unless a namespace was named.
    let limit = if arguments.exit_code {
        context.explicit_limit()?
    } else {
        context.limit()?
    };
    let palette = context.palette();
    let fetch = async || {
        let mut report: DriftReport = client.get_as("/v1/drift", &[]).await?;
        report.items.retain(|item| {
            let object = &item.object;
            limit
                .as_ref()
                .is_none_or(|limit| object.namespace == *limit)
                && (arguments.objects.is_empty()
                    || arguments
                        .objects
                        .iter()
                        .any(|target| target.is(&object.kind, &object.name)))
        });
        report.summary = summary(&report.items);
        let is_told = |target: &&Target| {
            let mut items = report.items.iter();
            items.any(|item| target.is(&item.object.kind, &item.object.name))
        };
        // Of an object that is gone, its drift may still be told.
        if !arguments.objects.iter().all(|target| is_told(&target)) {
            let keys = keys(&status(&client, limit.as_ref()).await?)?;
            let is_there = |target: &&Target| {
                let mut keys = keys.iter();
                keys.any(|key| target.is(&key.kind, &key.name))
            };
            let mut wanted = arguments.objects.iter();
            if let Some(target) = wanted.find(|it| !is_told(it) && !is_there(it)) {
                return Err(target.missing(limit.as_ref(), &keys).into());
            }
        }
        Ok(report)
    };
    let report = arguments
        .watching
        .show(&client, context, fetch, |report, is_wide| {
            table(report, is_wide, palette)
        })
        .await?;
    if report.items.is_empty() {
        let place = limit.map_or_else(
            || "anywhere".to_owned(),
            |namespace| format!("in namespace {namespace}"),
        );
        say(&format!("no drift {place}"));
    }
    if arguments.exit_code && report.summary.open > 0 {
        Ok(Exit::No)
    } else {
        Ok(Exit::Done)
    }
}

fn summary(items: &[DriftRow]) -> DriftSummary {
    let count = |state: DriftState| {
        let found = items.iter().filter(|item| item.state == state).count();
        u64::try_from(found).unwrap_or(u64::MAX)
    };
    DriftSummary {
        open: count(DriftState::Open),
        healed: count(DriftState::Healed),
    }
}

fn table(report: &DriftReport, is_wide: bool, palette: Palette) -> String {
    let mut heads = vec!["STATE", "OBJECT", "TASK", "WHAT", "BY", "SEEN"];
    if is_wide {
        heads.extend(["PLANE", "POLICY", "TIMES"]);
    }
    heads.push("GIT");
    let now = now();
    let mut table = Table::new(heads);
    for item in &report.items {
        let state = match (item.state, item.policy) {
            (DriftState::Healed, _) => Cell::new("healed", Tint::Good),
            (DriftState::Open, DriftPolicy::Enforce) => Cell::new("open", Tint::Bad),
            (DriftState::Open, DriftPolicy::Report) => Cell::new("open", Tint::Warn),
        };
        let mut row: Vec<Cell> = vec![
            state,
            item.object.to_string().into(),
            Cell::maybe(item.task.as_deref()),
            fields(&item.fields).into(),
            names(item).into(),
            age(&item.first_seen, now).into(),
        ];
        if is_wide {
            row.push(plane_word(item.plane).into());
            row.push(policy_word(item.policy).into());
            row.push(item.count.to_string().into());
        }
        row.push(Cell::maybe(item.origin.as_ref().map(|origin| {
            let column = origin
                .column
                .map_or_else(String::new, |column| format!(":{column}"));
            format!("{}:{}{column}", origin.file, origin.line)
        })));
        table.push(row);
    }
    table.render(palette)
}

/// Who did it: everyone who set one of the fields.
fn names(item: &DriftRow) -> String {
    let mut names: Vec<String> = Vec::new();
    for field in &item.fields {
        let name = field.changed_by.as_ref().unwrap_or(&item.changed_by);
        let name = name.to_string();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

/// What differs, in a line: `spec.instances 3 → 5`.
pub(crate) fn fields(fields: &[FieldDrift]) -> String {
    let words: Vec<String> = fields
        .iter()
        .map(|field| {
            let path = field_path(&field.path);
            match field.op.as_str() {
                "added" => format!("{path} + {}", short(&field.live)),
                "removed" => format!("{path} - {}", short(&field.desired)),
                "changed" => format!("{path} {} → {}", short(&field.desired), short(&field.live)),
                other => format!("{path} {other}"),
            }
        })
        .collect();
    words.join(", ")
}

/// A JSON pointer as people write it: `/spec/instances` is `spec.instances`.
pub(crate) fn field_path(pointer: &str) -> String {
    match pointer.strip_prefix('/') {
        Some(path) => path
            .split('/')
            .map(|part| part.replace("~1", "/").replace("~0", "~"))
            .collect::<Vec<_>>()
            .join("."),
        None => pointer.to_owned(),
    }
}

/// A value, short enough for a table.
pub(crate) fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => plain(text),
        Value::Null => "nothing".to_owned(),
        other => plain(&other.to_string()),
    };
    if text.chars().count() > 60 {
        text.chars().take(57).chain("...".chars()).collect()
    } else {
        text
    }
}

fn plane_word(plane: Plane) -> &'static str {
    match plane {
        Plane::Specification => "specification",
        Plane::Placement => "placement",
        Plane::Agent => "agent",
    }
}

fn policy_word(policy: DriftPolicy) -> &'static str {
    match policy {
        DriftPolicy::Enforce => "enforce",
        DriftPolicy::Report => "report",
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    fn report() -> DriftReport {
        serde_json::from_value(json!({"apiVersion": "kelson/v1", "kind": "DriftReport", "revision": null, "summary": {"open": 9, "healed": 9},
            "items": [{"object": {"kind": "Service", "namespace": "shop", "name": "web"}, "task": null, "plane": "specification", "state": "healed",
                "policy": "enforce", "origin": {"file": "web.yaml", "line": 8, "column": 14},
                "fields": [{"path": "/spec/instances", "op": "changed", "desired": 3, "live": 5}],
                "changedBy": {"actor": "alice", "via": "cli"}, "firstSeen": "", "healedAt": "", "count": 1}]}))
        .unwrap()
    }

    #[test]
    fn an_item_is_shown_with_both_values_its_author_and_its_line() {
        assert_eq!(
            table(&report(), false, Palette::plain()),
            "\
STATE   OBJECT            TASK  WHAT                  BY           SEEN  GIT
healed  Service shop/web  -     spec.instances 3 → 5  alice (cli)  -     web.yaml:8:14
"
        );
    }

    #[test]
    fn two_people_who_set_two_fields_are_two_names() {
        let mut report = report();
        let item = report.items.first_mut().unwrap();
        let mut other = item.fields.first().unwrap().clone();
        other.changed_by = Some(kelson_model::principal::Principal::new("bob", "api"));
        item.fields.push(other);
        assert_eq!(names(item), "alice (cli), bob (api)");
    }

    #[test]
    fn the_summary_is_of_what_is_shown() {
        let summary = summary(&report().items);
        assert_eq!((summary.open, summary.healed), (0, 1));
    }

    #[test]
    fn a_pointer_is_read_as_people_write_it() {
        assert_eq!(field_path("/metadata/labels/a~1b"), "metadata.labels.a/b");
        assert_eq!(field_path("cgroup/memory.max"), "cgroup/memory.max");
    }
}
