//! `kelson status`: the source and all objects.

use anyhow::Result;
use clap::Args;
use kelson_model::object::{Health, RolloutState, Sync};
use kelson_model::report::{ObjectStatus, SourceStatus, StatusReport};

use super::members;
use super::target::{Target, keys, status};
use super::watching::Watching;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Cell, Palette, Table, Tint, fault, plain, say};
use kelson_model::text::number;

/// What may be typed behind `status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Only these objects
    #[arg(value_name = "[KIND/]NAME")]
    objects: Vec<Target>,
    #[command(flatten)]
    watching: Watching,
}

/// Faults shown in a table; `-o json` has all of them.
const FAULTS_SHOWN: usize = 20;

pub(crate) async fn run(arguments: &Status, context: &Context) -> Result<Exit> {
    let client = context.client().await?;
    let limit = context.limit()?;
    let palette = context.palette();
    let fetch = async || {
        let mut report = status(&client, limit.as_ref()).await?;
        if !arguments.objects.is_empty() {
            let keys = keys(&report)?;
            report.objects.retain(|object| {
                arguments
                    .objects
                    .iter()
                    .any(|target| target.is(&object.kind, &object.name))
            });
            for target in &arguments.objects {
                let is_there = |object: &ObjectStatus| target.is(&object.kind, &object.name);
                if !report.objects.iter().any(is_there) {
                    return Err(target.missing(limit.as_ref(), &keys).into());
                }
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
    if report.objects.is_empty() {
        match &limit {
            Some(namespace) => say(&format!(
                "no objects in namespace {namespace}; -A shows all namespaces"
            )),
            None => say("no objects yet: commit a manifest to the branch that is followed"),
        }
    }
    Ok(Exit::Done)
}

/// The report for people.
pub(crate) fn table(report: &StatusReport, is_wide: bool, palette: Palette) -> String {
    let mut text = report
        .source
        .as_ref()
        .map_or_else(String::new, |own| source(own, palette));
    for late in &report.late {
        text.push_str(&palette.paint(Tint::Bad, &format!("{late}; see the kernel's log")));
        text.push('\n');
    }
    if !report.members.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&members::table(&report.members, is_wide, palette));
    }
    let mut heads = vec![
        "KIND",
        "NAMESPACE",
        "NAME",
        "SYNC",
        "HEALTH",
        "TASKS",
        "ROLLOUT",
    ];
    if is_wide {
        heads.extend(["GENERATION", "REVISION", "ORIGIN"]);
    }
    heads.push("MESSAGE");
    let mut objects = Table::new(heads);
    for object in &report.objects {
        let mut row: Vec<Cell> = vec![
            object.kind.as_str().into(),
            object.namespace.as_str().into(),
            object.name.as_str().into(),
            Cell::new(object.sync.to_string(), tint_of_sync(object.sync)),
            Cell::new(object.health.to_string(), tint_of_health(object.health)),
            tasks_cell(object),
            Cell::maybe(object.rollout.map(|rollout| rollout_word(rollout.state))),
        ];
        if is_wide {
            row.push(object.generation.to_string().into());
            row.push(Cell::maybe(object.revision.as_deref().map(short)));
            row.push(Cell::maybe(
                object
                    .origin
                    .as_ref()
                    .map(|origin| format!("{}:{}", origin.file, origin.line)),
            ));
        }
        row.push(message_cell(object));
        objects.push(row);
    }
    if !text.is_empty() && !objects.is_empty() {
        text.push('\n');
    }
    text.push_str(&objects.render(palette));
    text
}

fn tasks_cell(object: &ObjectStatus) -> Cell {
    if object.kind == "Framework" {
        return Cell::plain("");
    }
    let tasks = object.tasks;
    let tint = if tasks.healthy >= tasks.desired {
        Tint::Plain
    } else {
        Tint::Warn
    };
    Cell::new(format!("{}/{}", tasks.healthy, tasks.desired), tint)
}

fn message_cell(object: &ObjectStatus) -> Cell {
    let words: Vec<&str> = [object.reason.as_deref(), object.message.as_deref()]
        .into_iter()
        .flatten()
        .collect();
    Cell::plain(words.join(": "))
}

/// The source's lines: what is followed, what is applied, and why it is not the newest.
pub(crate) fn source(source: &SourceStatus, palette: Palette) -> String {
    let applied = source.applied.as_deref();
    let by = |author: &Option<String>| {
        let author = author.as_deref().filter(|author| !author.is_empty());
        author.map_or_else(String::new, |author| format!(" by {}", plain(author)))
    };
    let mut text = format!(
        "branch {} at {}{}  {}\n",
        palette.paint(Tint::Strong, &plain(&source.branch)),
        applied.map_or("no revision yet", short),
        by(&source.applied_by),
        palette.paint(tint_of_sync(source.sync), &source.sync.to_string()),
    );
    if let Some(observed) = source.observed.as_deref() {
        let newest = format!(
            "newest revision {}{}",
            short(observed),
            by(&source.observed_by)
        );
        // Its good files go ahead, so that such a revision may be the applied one.
        let keeping = source.errors.iter().filter(|error| error.keeps_back());
        match u64::try_from(keeping.count()).unwrap_or(u64::MAX) {
            0 if applied == Some(observed) => {}
            0 => text.push_str(&format!("{newest} is not applied\n")),
            errors => text.push_str(&format!(
                "{newest} has {}; nothing of a file with an error is accepted\n",
                number(errors, "error")
            )),
        }
    }
    let only = source.held.iter().filter(|_| source.holds.is_empty());
    for held in source.holds.iter().chain(only) {
        text.push_str(&format!(
            "{} {}: {}\n",
            palette.paint(Tint::Warn, "held"),
            plain(held.reason.word()),
            plain(&held.message)
        ));
        if let Some(confirm) = &held.confirm {
            text.push_str(&format!("  release it with: {}\n", plain(confirm)));
        }
    }
    for error in source.errors.iter().take(FAULTS_SHOWN) {
        text.push_str(&fault(error, palette));
    }
    let more = source.errors.len().saturating_sub(FAULTS_SHOWN);
    if more > 0 {
        text.push_str(&format!("and {more} more; -o json lists all\n"));
    }
    text
}

/// The first seven digits of a revision.
pub(crate) fn short(revision: &str) -> &str {
    revision.get(..7).unwrap_or(revision)
}

/// What a sync means.
pub(crate) fn tint_of_sync(sync: Sync) -> Tint {
    match sync {
        Sync::Synced => Tint::Good,
        Sync::OutOfSync => Tint::Warn,
        Sync::Unknown => Tint::Dim,
    }
}

/// What a health means.
pub(crate) fn tint_of_health(health: Health) -> Tint {
    match health {
        Health::Healthy => Tint::Good,
        Health::Progressing | Health::Suspended => Tint::Warn,
        Health::Degraded | Health::Missing => Tint::Bad,
        Health::Unknown => Tint::Dim,
    }
}

/// A rollout's state as scripts see it.
pub(crate) fn rollout_word(state: RolloutState) -> &'static str {
    match state {
        RolloutState::Progressing => "progressing",
        RolloutState::Complete => "complete",
        RolloutState::RolledBack => "rolledBack",
        RolloutState::Paused => "paused",
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use kelson_model::code::Code;
    use serde_json::json;

    #[test]
    fn a_loop_of_the_kernel_that_stands_still_is_named_before_everything_else() {
        let report: StatusReport = serde_json::from_value(json!({
            "apiVersion": "kelson/v1", "kind": "Status", "index": 88, "source": null, "objects": [],
            "late": [
                {"name": "log", "state": "late", "doing": "writes to the disk", "silentMs": 31_500, "limitMs": 30_000},
                {"name": "rounds", "state": "ended", "doing": "has ended", "silentMs": 9, "limitMs": null},
            ]
        }))
        .unwrap();
        let shown = table(&report, false, Palette::plain());
        let said = "\
the loop log has been silent for 31 s; it writes to the disk; see the kernel's log
the loop rounds has ended; see the kernel's log
";
        assert!(shown.starts_with(said), "{shown}");
    }

    #[test]
    fn a_revision_with_errors_is_said_to_have_them_whatever_of_it_went_ahead() {
        let (old, new) = ("1".repeat(40), "2".repeat(40));
        let of = |code: Code, applied: &str, errors: usize| {
            let fault = json!({"code": code, "file": "", "line": 0, "column": 0, "message": "", "hint": ""});
            let report = serde_json::from_value(
                json!({"name": "dev", "branch": "main", "observed": new, "applied": applied,
                "sync": "OutOfSync", "held": null, "errors": vec![fault; errors]}),
            );
            let text = source(&report.unwrap(), Palette::plain());
            text.lines().nth(1).unwrap_or_default().to_owned()
        };
        let shown = |applied: &str, errors| of(Code::UnknownField, applied, errors);
        assert!(!of(Code::TooMuchDrift, &new, 1).starts_with("newest"));
        let bad =
            "newest revision 2222222 has 1 error; nothing of a file with an error is accepted";
        assert_eq!((&*shown(&old, 1), &*shown(&new, 1)), (bad, bad));
        assert_eq!(shown(&old, 0), "newest revision 2222222 is not applied");
        assert_eq!(shown(&new, 0), "");
    }

    #[test]
    fn a_report_is_shown_with_its_source_its_hold_and_its_objects() {
        let revision = "0123456789abcdef0123456789abcdef01234567";
        let report: StatusReport = serde_json::from_value(json!({
            "apiVersion": "kelson/v1", "kind": "Status", "index": 88,
            "source": {"name": "dev", "branch": "main", "observed": revision.replace('0', "f"), "observedBy": "Bob",
                "applied": revision, "appliedBy": "Al\u{202e}ice", "sync": "OutOfSync",
                "held": {"reason": "PruneGuard", "confirm": "kelson confirm f12", "message": "nothing would be left"}, "errors": []},
            "objects": [{"kind": "Service", "namespace": "shop", "name": "web", "generation": 4, "revision": revision, "sync": "Synced",
                "health": "Progressing", "reason": "NoOffers", "message": "waits for room", "origin": {"file": "web.yaml", "line": 1},
                "tasks": {"desired": 3, "running": 3, "healthy": 2}, "rollout": {"state": "progressing"}}]
        }))
        .unwrap();
        assert_eq!(
            table(&report, true, Palette::plain()),
            "\
branch main at 0123456 by Al\\u{202e}ice  OutOfSync
newest revision f123456 by Bob is not applied
held PruneGuard: nothing would be left
  release it with: kelson confirm f12

KIND     NAMESPACE  NAME  SYNC    HEALTH       TASKS  ROLLOUT      GENERATION  REVISION  ORIGIN      MESSAGE
Service  shop       web   Synced  Progressing  2/3    progressing  4           0123456   web.yaml:1  NoOffers: waits for room
"
        );
    }
}
