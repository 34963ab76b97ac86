//! `kelson wait`: waits for an object, or for all of them; it looks again whenever the kernel says
//! that something has changed.

use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, ValueEnum};
use kelson_model::code::Code;
use kelson_model::framework::FaultCause;
use kelson_model::id::Revision;
use kelson_model::object::{Health, Namespace, RolloutState, Sync};
use kelson_model::quantity::Millis;
use kelson_model::report::{ObjectStatus, SourceStatus, StatusReport};
use kelson_model::source::{Fault, Kept};
use kelson_reconciler::source::{GitSource, Tip};
use kelson_reconciler_core::manifest::FRAMEWORK;
use serde_json::json;
use tokio::time::timeout;

use super::manifests::resolve_revision;
use super::status::short;
use super::target::{Target, status};
use crate::client::{Client, dev_here};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Palette, fault, print, say};

/// What may be typed behind `wait`.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// The object; all of them where it is absent
    #[arg(value_name = "[KIND/]NAME")]
    object: Option<Target>,
    /// What to wait for
    #[arg(long = "for", value_enum, default_value = "healthy")]
    what: Wanted,
    /// Only once this revision is in: a commit, or anything that the repository here knows (HEAD)
    /// [default: the newest commit of the branch that `dev` follows here]
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
    /// How long (100ms, 30s, 10m, 2h)
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_duration)]
    timeout: Duration,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wanted {
    /// It does what it is for.
    Healthy,
    /// It is what git asks for.
    Synced,
    /// It is not there any more.
    Gone,
}

impl Wanted {
    fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Synced => "synced",
            Self::Gone => "gone",
        }
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    Millis::from_str(text)
        .map(|millis| Duration::from_millis(millis.0))
        .map_err(|error| error.to_string())
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// It is so.
    Yes,
    /// It is not so yet, because of this.
    NotYet(String),
    /// It will not be so without somebody doing something.
    No(String),
    /// A person must release the revision first.
    Held(String, Option<String>),
}

/// What is waited for, and where to look.
struct Question<'a> {
    target: Option<&'a Target>,
    what: Wanted,
    revision: Option<&'a str>,
    limit: Option<Namespace>,
    /// Whether the wanted revision is part of another one.
    is_in: &'a dyn Fn(&str) -> bool,
}

pub(crate) async fn run(arguments: &Wait, context: &Context) -> Result<Exit> {
    let client = context.client()?;
    let (revision, repository) = match arguments.revision.as_deref() {
        Some(text) => {
            let (revision, repository) = resolve_revision(text)?;
            (Some(revision), Some(repository))
        }
        None => newest_here(&client).unzip(),
    };
    let repository = repository.flatten();
    let is_in = |other: &str| contains(repository.as_ref(), revision.as_deref(), other);
    let question = Question {
        target: arguments.object.as_ref(),
        what: arguments.what,
        revision: revision.as_deref(),
        // All of them are really all, unless a namespace was named.
        limit: match arguments.object {
            Some(_) => context.limit()?,
            None => context.explicit_limit()?,
        },
        is_in: &is_in,
    };
    let mut last = "nothing was heard of it".to_owned();
    let asking = ask(&client, &question, &mut last);
    match timeout(arguments.timeout, asking).await {
        Ok(answer) => {
            let report = answer?;
            let name = arguments
                .object
                .as_ref()
                .map_or_else(|| "everything".to_owned(), ToString::to_string);
            let word = arguments.what.word();
            let line = if is_nothing_asked(&report, &question) {
                "nothing is asked for\n".to_owned()
            } else {
                format!("{name} is {word}\n")
            };
            let answer = json!({"for": word, "revision": revision, "index": report.index});
            print(context.format(), &answer, |_| line)?;
            Ok(Exit::Done)
        }
        Err(_) => Err(Failure::new(
            Exit::TimedOut,
            format!(
                "not {} within {}: {last}",
                arguments.what.word(),
                Millis(u64::try_from(arguments.timeout.as_millis()).unwrap_or(u64::MAX)),
            ),
        )
        .into()),
    }
}

/// The newest commit of the branch that is followed, where the kernel follows the repository that
/// this is run in: what was just committed is meant.
fn newest_here(client: &Client) -> Option<(String, Option<GitSource>)> {
    let dev = dev_here(client.address())?;
    let repository = GitSource::open(&dev.repository, Some(&dev.branch), None).ok()?;
    match repository.tip().ok()? {
        Tip::Commit(revision) => Some((revision.to_string(), Some(repository))),
        Tip::Unborn | Tip::Missing => None,
    }
}

/// Whether `revision` is `other` or comes before it, as far as the repository here knows.
fn contains(repository: Option<&GitSource>, revision: Option<&str>, other: &str) -> bool {
    let Some(revision) = revision else {
        return true;
    };
    if revision == other {
        return true;
    }
    let ids = (revision.parse::<Revision>(), other.parse::<Revision>());
    match (repository, ids) {
        (Some(repository), (Ok(older), Ok(newer))) => {
            repository.is_ancestor(&older, &newer).unwrap_or(false)
        }
        _ => false,
    }
}

/// Looks again at every change until the verdict is final. A kernel that restarts is waited for.
async fn ask(client: &Client, question: &Question<'_>, last: &mut String) -> Result<StatusReport> {
    const AWAY: Duration = Duration::from_secs(30);
    let mut heard: Option<Instant> = None;
    loop {
        match listen(client, question, last, &mut heard).await {
            Ok(report) => return Ok(report),
            Err(error) => {
                let is_away = crate::exit::exit_of(&error) == Exit::NothingListens;
                let is_short = heard.is_some_and(|heard| heard.elapsed() < AWAY);
                if !(is_away && is_short) {
                    return Err(error);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn listen(
    client: &Client,
    question: &Question<'_>,
    last: &mut String,
    heard: &mut Option<Instant>,
) -> Result<StatusReport> {
    let mut changes = client.watch("object,task,source", None).await?;
    while changes.changed().await? {
        *heard = Some(Instant::now());
        let report = status(client, None).await?;
        match judge(&report, question)? {
            Verdict::Yes => return Ok(report),
            Verdict::NotYet(why) => *last = why,
            Verdict::No(why) => {
                for error in report
                    .source
                    .iter()
                    .flat_map(|source| &source.errors)
                    .take(20)
                {
                    say(fault(error, Palette::of_stderr()).trim_end());
                }
                return Err(Failure::new(Exit::No, why).into());
            }
            Verdict::Held(why, confirm) => {
                let hint = confirm.map(|confirm| format!("`{confirm}` releases it"));
                return Err(Failure::new(Exit::Refused, why)
                    .with_hint(hint.unwrap_or_default())
                    .into());
            }
        }
    }
    Err(Failure::new(
        Exit::NothingListens,
        format!("{} has ended", client.address()),
    )
    .into())
}

fn judge(report: &StatusReport, question: &Question<'_>) -> Result<Verdict> {
    let is_meant = |object: &&ObjectStatus| {
        let is_here = question
            .limit
            .as_ref()
            .is_none_or(|limit| object.namespace == limit.as_str());
        is_here
            && question
                .target
                .is_none_or(|target| target.is(&object.kind, &object.name))
    };
    let objects: Vec<&ObjectStatus> = report.objects.iter().filter(is_meant).collect();
    if let (Some(target), [_, _, ..]) = (question.target, objects.as_slice()) {
        return Err(Failure::usage(format!("{target} may be several objects"))
            .with_hint("write KIND/NAME, and the namespace with -n")
            .into());
    }
    if let Some(verdict) = of_revision(report.source.as_ref(), &objects, question) {
        return Ok(verdict);
    }
    // A framework whose component is still being loaded may bring the kinds that nobody handles
    // yet.
    let is_awaited = report
        .objects
        .iter()
        .any(|object| object.kind == FRAMEWORK && object.health == Health::Progressing);
    let verdicts = objects
        .iter()
        .map(|object| of_object(object, question.what, is_awaited));
    // What is final is told first.
    let mut not_yet = None;
    for verdict in verdicts {
        match verdict {
            Verdict::Yes => {}
            Verdict::NotYet(why) => not_yet = not_yet.or(Some(why)),
            no @ (Verdict::No(_) | Verdict::Held(..)) => return Ok(no),
        }
    }
    if let Some(why) = not_yet {
        return Ok(Verdict::NotYet(why));
    }
    let is_source_synced = report
        .source
        .as_ref()
        .is_some_and(|source| source.sync == Sync::Synced);
    if objects.is_empty() && question.what != Wanted::Gone {
        if let Some(target) = question.target {
            return Ok(Verdict::NotYet(format!("there is no {target}")));
        }
        // A revision that asks for nothing is in as soon as it is applied.
        let source = report.source.as_ref();
        let is_applied = source.is_some_and(|source| source.applied.is_some());
        if !(is_applied && is_source_synced) {
            return Ok(Verdict::NotYet("there are no objects".to_owned()));
        }
        if let Some(waiting) = source.and_then(|source| waits_for_framework(source, question)) {
            return Ok(waiting);
        }
    }
    if question.what == Wanted::Synced && question.target.is_none() && !is_source_synced {
        return Ok(Verdict::NotYet("the source is not synced".to_owned()));
    }
    Ok(Verdict::Yes)
}

/// Whether all objects are waited for and there is none: nothing became healthy or synced.
fn is_nothing_asked(report: &StatusReport, question: &Question<'_>) -> bool {
    let is_here = |object: &ObjectStatus| {
        let limit = question.limit.as_ref();
        limit.is_none_or(|limit| object.namespace == limit.as_str())
    };
    question.target.is_none()
        && question.what != Wanted::Gone
        && !report.objects.iter().any(is_here)
}

/// What stands in the way of the wanted revision; nothing when it is in, or none was named.
fn of_revision(
    source: Option<&SourceStatus>,
    objects: &[&ObjectStatus],
    question: &Question<'_>,
) -> Option<Verdict> {
    let wanted = question.revision?;
    let Some(source) = source else {
        return Some(Verdict::NotYet("no source has been read yet".to_owned()));
    };
    let is_applied = source.applied.as_deref().is_some_and(question.is_in);
    // What was looked at is the wanted revision, or one that comes after it.
    let seen = source
        .observed
        .as_deref()
        .filter(|observed| *observed == wanted || (!is_applied && (question.is_in)(observed)));
    if let Some(seen) = seen
        && !source.errors.is_empty()
    {
        // Errors are told once the good files have gone ahead, so that nothing is left to wait for
        // but the objects themselves.
        let count = u64::try_from(source.errors.len()).unwrap_or(u64::MAX);
        let errors = super::validate::number(count, "error");
        return match question.what {
            Wanted::Gone if objects.iter().any(|object| !is_going(object)) => {
                Some(Verdict::No(format!(
                    "revision {} has {errors}, and nothing goes before they are mended",
                    short(seen)
                )))
            }
            Wanted::Healthy | Wanted::Synced if concerns(source, objects, question) => {
                Some(Verdict::No(format!(
                    "revision {} is refused: it has {errors}",
                    short(seen)
                )))
            }
            Wanted::Gone | Wanted::Healthy | Wanted::Synced => None,
        };
    }
    if is_applied {
        return waits_for_framework(source, question);
    }
    if let (Some(seen), Some(held)) = (seen, &source.held) {
        return Some(Verdict::Held(
            format!("revision {} is held: {}", short(seen), held.message),
            held.confirm.clone(),
        ));
    }
    Some(Verdict::NotYet(format!(
        "revision {} is not applied; {} is",
        short(wanted),
        source.applied.as_deref().map_or("none", short)
    )))
}

/// What is accepted without an object that waits for the framework of its kind.
fn waits_for_framework(source: &SourceStatus, question: &Question<'_>) -> Option<Verdict> {
    let is_meant = |kept: &&Kept| {
        let object = &kept.object;
        let is_here = question
            .limit
            .as_ref()
            .is_none_or(|limit| object.namespace == *limit);
        let target = question.target;
        is_here && target.is_none_or(|target| target.is(&object.kind, &object.name))
    };
    let mut waiting = source
        .kept
        .iter()
        .filter(|kept| kept.reason == Kept::WAITS_FOR_FRAMEWORK);
    let kept = waiting
        .find(is_meant)
        .filter(|_| question.what != Wanted::Gone)?;
    Some(Verdict::NotYet(format!(
        "{}: {}",
        kept.object, kept.message
    )))
}

/// Whether the errors of a source are in the way of what is waited for: those of its own file are,
/// and those of no file stop everything.
fn concerns(source: &SourceStatus, objects: &[&ObjectStatus], question: &Question<'_>) -> bool {
    let is_whole = |error: &Fault| error.file.is_empty() && error.code != Code::TooManyFaults;
    let is_in = |file: &str| source.errors.iter().any(|error| error.file == file);
    question.target.is_none()
        || objects.is_empty()
        || source.errors.iter().any(is_whole)
        || objects
            .iter()
            .filter_map(|object| object.origin.as_ref())
            .any(|origin| is_in(&origin.file))
}

/// Whether no manifest wants an object any more, and it is only its tasks that have to end.
fn is_going(object: &ObjectStatus) -> bool {
    object.reason.as_deref() == Some("Removed")
}

/// Whether this word about a framework says that somebody must do something before its newest
/// specification comes into force; one that is held only waits.
fn is_refusal(reason: &str) -> bool {
    [
        FaultCause::BadComponent,
        FaultCause::TooLarge,
        FaultCause::NotAllowed,
    ]
    .into_iter()
    .any(|cause| cause.reason() == reason)
}

fn of_object(object: &ObjectStatus, what: Wanted, is_awaited: bool) -> Verdict {
    let name = format!("{} {}/{}", object.kind, object.namespace, object.name);
    let because = [object.reason.as_deref(), object.message.as_deref()]
        .into_iter()
        .flatten()
        .map(|words| format!(": {words}"))
        .collect::<String>();
    let is = |what: &str| format!("{name} is {what}{because}");
    if what == Wanted::Gone {
        return Verdict::NotYet(is("there"));
    }
    match object.reason.as_deref() {
        Some(reason) if object.kind == FRAMEWORK && is_refusal(reason) => {
            return Verdict::No(is("not in force"));
        }
        Some("NoFramework") if !is_awaited => return Verdict::No(is("nobody's")),
        Some(_) | None => {}
    }
    match object.rollout.map(|rollout| rollout.state) {
        Some(RolloutState::RolledBack) => return Verdict::No(is("rolled back")),
        Some(RolloutState::Paused) => return Verdict::No(is("paused, and waits for a person")),
        Some(RolloutState::Progressing | RolloutState::Complete) | None => {}
    }
    let is_so = match what {
        Wanted::Healthy => object.health == Health::Healthy,
        Wanted::Synced => object.sync == Sync::Synced,
        Wanted::Gone => false,
    };
    if is_so {
        Verdict::Yes
    } else {
        let health = object.health.to_string();
        Verdict::NotYet(is(&format!("{health} and {}", object.sync)))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const OLD: &str = "1111111111111111111111111111111111111111";
    const NEW: &str = "2222222222222222222222222222222222222222";

    fn report(source: serde_json::Value, object: serde_json::Value) -> StatusReport {
        let mut own = json!({"name": "dev", "branch": "main", "observed": NEW, "applied": NEW, "sync": "Synced", "held": null, "errors": []});
        let mut web = json!({"kind": "Service", "namespace": "shop", "name": "web", "generation": 2, "revision": NEW, "sync": "Synced",
            "health": "Healthy", "reason": null, "message": null, "origin": {"file": "web.yaml", "line": 1},
            "tasks": {"desired": 1, "running": 1, "healthy": 1}, "rollout": {"state": "complete"}});
        for (into, from) in [(&mut own, source), (&mut web, object)] {
            for (name, value) in from.as_object().unwrap() {
                into[name] = value.clone();
            }
        }
        serde_json::from_value(json!({"apiVersion": "kelson/v1", "kind": "Status", "index": 1, "source": own, "objects": [web]}))
            .unwrap()
    }

    fn asked(report: &StatusReport, target: Option<&str>, what: Wanted) -> Verdict {
        let target: Option<Target> = target.map(|text| text.parse().unwrap());
        let question = Question {
            target: target.as_ref(),
            what,
            revision: Some(NEW),
            limit: None,
            is_in: &|other| other == NEW,
        };
        judge(report, &question).unwrap()
    }

    fn fault() -> serde_json::Value {
        json!([{"code": Code::UnknownField, "file": "web.yaml", "line": 1, "column": 1, "message": "", "hint": ""}])
    }

    #[test]
    fn what_is_healthy_at_the_wanted_revision_is_there() {
        let report = report(json!({}), json!({}));
        assert_eq!(asked(&report, Some("web"), Wanted::Healthy), Verdict::Yes);
        assert_eq!(asked(&report, None, Wanted::Synced), Verdict::Yes);
        assert!(matches!(
            asked(&report, Some("web"), Wanted::Gone),
            Verdict::NotYet(_)
        ));
        assert_eq!(asked(&report, Some("api"), Wanted::Gone), Verdict::Yes);
        assert!(matches!(
            asked(&report, Some("api"), Wanted::Healthy),
            Verdict::NotYet(_)
        ));
    }

    #[test]
    fn a_revision_that_asks_for_nothing_is_in_once_it_is_applied() {
        let empty = |source: serde_json::Value| {
            let mut report = report(source, json!({}));
            report.objects.clear();
            report
        };
        let applied = empty(json!({}));
        for what in [Wanted::Healthy, Wanted::Synced, Wanted::Gone] {
            assert_eq!(asked(&applied, None, what), Verdict::Yes, "{what:?}");
        }
        for source in [
            json!({"sync": "OutOfSync"}),
            json!({"applied": null, "sync": "OutOfSync"}),
            json!({"applied": OLD, "sync": "OutOfSync"}),
        ] {
            let verdict = asked(&empty(source), None, Wanted::Healthy);
            assert!(matches!(verdict, Verdict::NotYet(_)), "{verdict:?}");
        }
        let named = asked(&applied, Some("web"), Wanted::Healthy);
        assert!(matches!(named, Verdict::NotYet(_)), "{named:?}");
    }

    #[test]
    fn without_a_revision_nothing_is_in_before_something_was_applied() {
        let of = |source: serde_json::Value| {
            let mut report = report(source, json!({}));
            report.objects.clear();
            let question = Question {
                target: None,
                what: Wanted::Healthy,
                revision: None,
                limit: None,
                is_in: &|_| true,
            };
            assert!(is_nothing_asked(&report, &question));
            judge(&report, &question).unwrap()
        };
        assert_eq!(of(json!({})), Verdict::Yes);
        for source in [json!({"applied": null}), json!({"sync": "OutOfSync"})] {
            let verdict = of(source);
            assert!(matches!(verdict, Verdict::NotYet(_)), "{verdict:?}");
        }
    }

    #[test]
    fn an_older_revision_is_not_yet() {
        let report = report(json!({"applied": OLD, "observed": OLD}), json!({}));
        assert!(matches!(
            asked(&report, Some("web"), Wanted::Healthy),
            Verdict::NotYet(_)
        ));
    }

    #[test]
    fn a_refused_revision_is_no_at_once() {
        let report = report(json!({"errors": fault()}), json!({}));
        assert!(matches!(
            asked(&report, None, Wanted::Synced),
            Verdict::No(_)
        ));
        assert!(matches!(
            asked(&report, Some("web"), Wanted::Healthy),
            Verdict::No(_)
        ));
    }

    #[test]
    fn a_fault_in_another_file_does_not_concern_an_object() {
        let report = report(
            json!({"errors": fault()}),
            json!({"origin": {"file": "other.yaml", "line": 1}}),
        );
        assert_eq!(asked(&report, Some("web"), Wanted::Healthy), Verdict::Yes);
    }

    #[test]
    fn a_revision_that_breaks_another_file_and_changes_nothing_else_is_not_waited_for() {
        let report = report(
            json!({"applied": OLD, "errors": fault(), "sync": "OutOfSync"}),
            json!({"origin": {"file": "other.yaml", "line": 1}, "revision": OLD}),
        );
        assert_eq!(asked(&report, Some("web"), Wanted::Healthy), Verdict::Yes);
        assert!(matches!(
            asked(&report, None, Wanted::Healthy),
            Verdict::No(_)
        ));
        assert!(matches!(
            asked(&report, Some("web"), Wanted::Gone),
            Verdict::No(_)
        ));
    }

    #[test]
    fn what_is_refused_as_a_whole_is_refused_for_every_object() {
        let whole = json!([{"code": Code::NotStaged, "file": "", "line": 0, "column": 0, "message": "too large", "hint": ""}]);
        let report = report(
            json!({"applied": OLD, "errors": whole, "sync": "OutOfSync"}),
            json!({"origin": {"file": "other.yaml", "line": 1}}),
        );
        assert!(matches!(
            asked(&report, Some("web"), Wanted::Healthy),
            Verdict::No(_)
        ));
    }

    #[test]
    fn a_bad_component_and_a_kind_that_nobody_handles_are_answers() {
        let of = |kind: &str, reason: &str| {
            report(
                json!({}),
                json!({"kind": kind, "health": "Degraded", "reason": reason, "rollout": null}),
            )
        };
        for (kind, reason) in [
            (FRAMEWORK, FaultCause::BadComponent.reason()),
            (FRAMEWORK, FaultCause::TooLarge.reason()),
            (FRAMEWORK, FaultCause::NotAllowed.reason()),
            ("Bird", "NoFramework"),
        ] {
            let verdict = asked(&of(kind, reason), Some("web"), Wanted::Healthy);
            assert!(matches!(verdict, Verdict::No(_)), "{reason}: {verdict:?}");
        }
        // What is held comes into force by itself, and a scheduler's own words are no refusal.
        for (kind, reason) in [
            (FRAMEWORK, FaultCause::Held.reason()),
            ("Bird", FaultCause::NotAllowed.reason()),
        ] {
            let verdict = asked(&of(kind, reason), Some("web"), Wanted::Healthy);
            assert!(
                matches!(verdict, Verdict::NotYet(_)),
                "{reason}: {verdict:?}"
            );
        }
        let mut awaited = of("Bird", "NoFramework");
        let mut framework = of("Framework", "").objects;
        for object in &mut framework {
            object.name = "birds".to_owned();
            object.health = Health::Progressing;
        }
        awaited.objects.append(&mut framework);
        let verdict = asked(&awaited, Some("web"), Wanted::Healthy);
        assert!(matches!(verdict, Verdict::NotYet(_)), "{verdict:?}");
    }

    #[test]
    fn a_rolled_back_object_is_no_at_once() {
        let report = report(
            json!({"sync": "OutOfSync"}),
            json!({"sync": "OutOfSync", "health": "Degraded", "reason": "RolledBack", "rollout": {"state": "rolledBack"}}),
        );
        assert!(matches!(
            asked(&report, Some("Service/web"), Wanted::Synced),
            Verdict::No(_)
        ));
    }

    #[test]
    fn a_held_revision_names_the_command_that_releases_it() {
        let report = report(
            json!({"applied": OLD, "sync": "OutOfSync", "held": {"reason": "PruneGuard", "confirm": "kelson confirm 2222222", "message": "all would go", "objects": []}}),
            json!({}),
        );
        assert_eq!(
            asked(&report, None, Wanted::Synced),
            Verdict::Held(
                "revision 2222222 is held: all would go".into(),
                Some("kelson confirm 2222222".into())
            )
        );
    }
}
