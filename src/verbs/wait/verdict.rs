//! What a status report says about what is waited for: it is so, not yet, or never without somebody
//! doing something.

use anyhow::Result;
use clap::ValueEnum;
use kelson_model::code::Code;
use kelson_model::object::{Health, Namespace, ObjectKey, RolloutState, Sync};
use kelson_model::reason::KeptReason;
use kelson_model::report::{ObjectStatus, SourceStatus, Standing, StatusReport};
use kelson_model::source::{Fault, Kept};
use kelson_reconciler_core::manifest::FRAMEWORK;

use crate::exit::Failure;
use crate::verbs::status::short;
use crate::verbs::target::Target;
use kelson_model::text::number;

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Wanted {
    /// It does what it is for.
    Healthy,
    /// It is what git asks for.
    Synced,
    /// It is not there any more.
    Gone,
}

impl Wanted {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Synced => "synced",
            Self::Gone => "gone",
        }
    }
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is so.
    Yes,
    /// It is not so yet, because of this.
    NotYet(String),
    /// It will not be so without somebody doing something.
    No(String),
    /// A person must release the revision first.
    Held(String, Option<String>),
    /// The framework that it waits for is held. Where that lasts, somebody has to do what the
    /// second part says; it goes by itself where all that it needs is tasks that are ending.
    FrameworkHeld(String, String),
}

/// What is waited for, and where to look.
pub(super) struct Question<'a> {
    pub(super) target: Option<&'a Target>,
    pub(super) what: Wanted,
    pub(super) revision: Option<&'a str>,
    pub(super) limit: Option<Namespace>,
    /// Whether the wanted revision is part of another one.
    pub(super) is_in: &'a dyn Fn(&str) -> bool,
}

pub(super) fn judge(report: &StatusReport, question: &Question<'_>) -> Result<Verdict> {
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
    if let Some(held) = held_deletion(report.source.as_ref(), &objects, question) {
        return Ok(held);
    }
    // A framework whose component is still being loaded may bring the kinds that nobody handles
    // yet.
    let is_awaited = report.objects.iter().any(|object| {
        let is_loading = object.health == Health::Progressing && object.standing.is_none();
        object.kind == FRAMEWORK && is_loading
    });
    let verdicts = objects
        .iter()
        .map(|object| of_object(object, question.what, is_awaited));
    // What is final is told first.
    let mut not_yet = None;
    let mut no = Vec::new();
    for verdict in verdicts {
        match verdict {
            Verdict::Yes => {}
            Verdict::NotYet(why) => not_yet = not_yet.or(Some(why)),
            Verdict::No(why) => no.push(why),
            held @ (Verdict::Held(..) | Verdict::FrameworkHeld(..)) => return Ok(held),
        }
    }
    if !no.is_empty() {
        no.truncate(10);
        return Ok(Verdict::No(no.join("; ")));
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
        if let Some(waiting) =
            source.and_then(|source| waits_for_framework(source, &objects, question))
        {
            return Ok(waiting);
        }
    }
    if question.what == Wanted::Synced && question.target.is_none() && !is_source_synced {
        return Ok(Verdict::NotYet("the source is not synced".to_owned()));
    }
    Ok(Verdict::Yes)
}

/// Whether all objects are waited for and there is none: nothing became healthy or synced.
pub(super) fn is_nothing_asked(report: &StatusReport, question: &Question<'_>) -> bool {
    let is_here = |object: &ObjectStatus| {
        let limit = question.limit.as_ref();
        limit.is_none_or(|limit| object.namespace == limit.as_str())
    };
    question.target.is_none()
        && question.what != Wanted::Gone
        && !report.objects.iter().any(is_here)
}

/// The hold that keeps what is waited for from going.
fn held_deletion(
    source: Option<&SourceStatus>,
    objects: &[&ObjectStatus],
    question: &Question<'_>,
) -> Option<Verdict> {
    let source = source.filter(|_| question.what == Wanted::Gone)?;
    let is_meant = |key: &ObjectKey| {
        objects.iter().any(|it| {
            it.kind == key.kind && it.name == key.name && it.namespace == key.namespace.as_str()
        })
    };
    let mut holds = source.holds.iter().chain(&source.held);
    let held = holds.find(|held| held.objects.iter().any(is_meant))?;
    Some(Verdict::Held(
        format!("it is held: {}", held.message),
        held.confirm.clone(),
    ))
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
    // A history that goes back has been applied once, and is held all the same.
    let is_current = source.applied.as_deref() == Some(wanted);
    if let (Some(seen), Some(held)) = (seen, &source.held)
        && (!is_applied || seen == wanted && !is_current)
    {
        return Some(Verdict::Held(
            format!("revision {} is held: {}", short(seen), held.message),
            held.confirm.clone(),
        ));
    }
    let errors = source.errors.iter().filter(|error| error.keeps_back());
    let count = u64::try_from(errors.count()).unwrap_or(u64::MAX);
    if let (Some(seen), 1..) = (seen, count) {
        // Errors are told once the good files have gone ahead, so that nothing is left to wait for
        // but the objects themselves.
        let errors = number(count, "error");
        return match question.what {
            Wanted::Gone
                if objects
                    .iter()
                    .any(|object| object.standing != Some(Standing::Removed)) =>
            {
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
            Wanted::Gone | Wanted::Healthy | Wanted::Synced => {
                waits_for_framework(source, objects, question)
            }
        };
    }
    if is_applied {
        return waits_for_framework(source, objects, question);
    }
    Some(Verdict::NotYet(format!(
        "revision {} is not applied; {} is",
        short(wanted),
        source.applied.as_deref().map_or("none", short)
    )))
}

/// How a framework that is held is released.
const UNHOLD: &str = "do what the message says and commit it: `kelson why Framework/NAME` tells when the framework goes ahead";

/// What is accepted without an object that waits for the framework of its kind.
fn waits_for_framework(
    source: &SourceStatus,
    objects: &[&ObjectStatus],
    question: &Question<'_>,
) -> Option<Verdict> {
    if question.what == Wanted::Gone {
        return None;
    }
    let is_meant = |kept: &&Kept| {
        let object = &kept.object;
        let is_here = question
            .limit
            .as_ref()
            .is_none_or(|limit| object.namespace == *limit);
        let target = question.target;
        is_here && target.is_none_or(|target| target.is(&object.kind, &object.name))
    };
    let mut waiting = source.kept.iter().filter(|kept| kept.reason.waits());
    if let Some(kept) = waiting.find(is_meant) {
        let why = format!("{}: {}", kept.object, kept.message);
        return Some(match kept.reason {
            KeptReason::FrameworkHeld => Verdict::FrameworkHeld(why, UNHOLD.to_owned()),
            _ => Verdict::NotYet(why),
        });
    }
    // What waits and is not listed may be any object that is not of the wanted revision.
    let is_in = |object: &&ObjectStatus| object.revision.as_deref().is_some_and(question.is_in);
    let may_be = objects.is_empty() || !objects.iter().all(is_in);
    (source.waiting_more > 0 && may_be).then(|| {
        let more = source.waiting_more;
        Verdict::NotYet(format!("{more} more objects wait for a framework"))
    })
}

/// Whether the errors of a source are in the way of what is waited for: those of its own file are,
/// and those of no file stop everything.
fn concerns(source: &SourceStatus, objects: &[&ObjectStatus], question: &Question<'_>) -> bool {
    let is_whole = |error: &Fault| {
        error.file.is_empty() && error.code != Code::TooManyFaults && error.keeps_back()
    };
    let is_in = |file: &str| source.errors.iter().any(|error| error.file == file);
    question.target.is_none()
        || objects.is_empty()
        || source.errors.iter().any(is_whole)
        || objects
            .iter()
            .filter_map(|object| object.origin.as_ref())
            .any(|origin| is_in(&origin.file))
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
    match object.standing {
        Some(Standing::Refused) => return Verdict::No(is("not in force")),
        Some(Standing::Unhandled) if !is_awaited => return Verdict::No(is("nobody's")),
        // It stays in force for as long as somebody leaves objects to it.
        Some(Standing::Removed) if object.kind == FRAMEWORK => return Verdict::Yes,
        Some(Standing::Unhandled | Standing::Removed) | None => {}
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
    use serde_json::json;

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
    fn a_held_revision_that_is_not_applied_is_held_whatever_else_is_wrong_with_it() {
        let report = report(
            json!({"applied": OLD, "sync": "OutOfSync", "errors": fault(),
                "held": {"reason": "ForcePush", "confirm": "kelson confirm 2222222", "message": "rewritten", "objects": []}}),
            json!({"revision": OLD, "origin": {"file": "other.yaml", "line": 1}}),
        );
        for target in [None, Some("web")] {
            let verdict = asked(&report, target, Wanted::Healthy);
            assert!(matches!(verdict, Verdict::Held(..)), "{verdict:?}");
        }
    }

    #[test]
    fn an_error_that_keeps_nothing_back_is_in_nobodys_way() {
        let drift = json!([{"code": Code::TooMuchDrift, "file": "", "line": 0, "column": 0, "message": "", "hint": ""}]);
        let report = report(json!({"errors": drift}), json!({}));
        for target in [None, Some("web")] {
            assert_eq!(asked(&report, target, Wanted::Healthy), Verdict::Yes);
        }
    }

    #[test]
    fn what_waits_for_a_framework_is_not_yet_and_a_framework_that_is_held_is_told() {
        let of = |reason: &str, errors: serde_json::Value| {
            let web = json!({"kind": "Service", "namespace": "shop", "name": "web"});
            let kept = json!([{"object": web, "reason": reason, "message": "so it is"}]);
            report(
                json!({"kept": kept, "errors": errors}),
                json!({"revision": OLD, "origin": {"file": "other.yaml", "line": 1}}),
            )
        };
        for errors in [json!([]), fault()] {
            let waits = of("WaitsForFramework", errors.clone());
            let verdict = asked(&waits, Some("web"), Wanted::Healthy);
            assert!(matches!(verdict, Verdict::NotYet(_)), "{verdict:?}");
            let held = of("FrameworkHeld", errors);
            let verdict = asked(&held, Some("web"), Wanted::Healthy);
            assert!(matches!(verdict, Verdict::FrameworkHeld(..)), "{verdict:?}");
        }
    }

    #[test]
    fn what_may_wait_behind_the_end_of_the_list_is_not_yet_unless_it_is_of_the_revision() {
        let of = |revision: &str| report(json!({"waitingMore": 3}), json!({"revision": revision}));
        for target in [None, Some("web")] {
            let verdict = asked(&of(OLD), target, Wanted::Healthy);
            assert!(matches!(verdict, Verdict::NotYet(_)), "{verdict:?}");
            assert_eq!(asked(&of(NEW), target, Wanted::Healthy), Verdict::Yes);
        }
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
    fn a_refused_component_and_a_kind_that_nobody_handles_are_answers() {
        let of = |kind: &str, standing: Option<Standing>| {
            report(
                json!({}),
                json!({"kind": kind, "health": "Degraded", "reason": "NoFramework", "rollout": null,
                    "standing": standing}),
            )
        };
        for (kind, standing) in [
            (FRAMEWORK, Standing::Refused),
            ("Bird", Standing::Unhandled),
        ] {
            let verdict = asked(&of(kind, Some(standing)), Some("web"), Wanted::Healthy);
            assert!(
                matches!(verdict, Verdict::No(_)),
                "{standing:?}: {verdict:?}"
            );
        }
        let mut two = of(FRAMEWORK, Some(Standing::Refused));
        let mut crows = two.objects.clone();
        crows.iter_mut().for_each(|it| it.name = "crows".to_owned());
        two.objects.append(&mut crows);
        let told = asked(&two, None, Wanted::Healthy);
        assert!(matches!(told, Verdict::No(why) if why.contains("web") && why.contains("crows")));
        // A scheduler's own words are no refusal, whichever it uses.
        let said = asked(&of("Bird", None), Some("web"), Wanted::Healthy);
        assert!(matches!(said, Verdict::NotYet(_)), "{said:?}");
        let mut awaited = of("Bird", Some(Standing::Unhandled));
        let mut framework = of(FRAMEWORK, None).objects;
        for object in &mut framework {
            object.name = "birds".to_owned();
            object.health = Health::Progressing;
        }
        awaited.objects.append(&mut framework);
        let verdict = asked(&awaited, Some("web"), Wanted::Healthy);
        assert!(matches!(verdict, Verdict::NotYet(_)), "{verdict:?}");
    }

    #[test]
    fn what_only_has_tasks_to_end_is_not_kept_by_a_fault() {
        let removed = |standing: Option<Standing>| {
            report(
                json!({"errors": fault()}),
                json!({"reason": "Removed", "standing": standing}),
            )
        };
        let verdict = |standing| asked(&removed(standing), Some("web"), Wanted::Gone);
        assert!(matches!(
            verdict(Some(Standing::Removed)),
            Verdict::NotYet(_)
        ));
        assert!(matches!(verdict(None), Verdict::No(_)));
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
    fn a_branch_that_was_set_back_is_held_though_its_commit_was_applied_once() {
        let held = json!({"reason": "ForcePush", "confirm": null, "message": "history was rewritten", "objects": []});
        let report = report(
            json!({"applied": OLD, "sync": "OutOfSync", "held": held}),
            json!({}),
        );
        let question = Question {
            target: None,
            what: Wanted::Healthy,
            revision: Some(NEW),
            limit: None,
            // What is applied comes after the commit that is wanted.
            is_in: &|_| true,
        };
        let verdict = judge(&report, &question).unwrap();
        assert!(matches!(verdict, Verdict::Held(..)), "{verdict:?}");
    }

    #[test]
    fn an_object_that_goes_only_with_a_persons_word_is_held() {
        let key = json!({"kind": "Service", "namespace": "shop", "name": "web"});
        let hold = |key: serde_json::Value| json!([{"reason": "PruneConfirm", "confirm": "kelson confirm 2222222", "message": "web would go", "objects": [key]}]);
        let held = report(json!({"holds": hold(key)}), json!({}));
        let verdict = asked(&held, Some("web"), Wanted::Gone);
        assert!(matches!(verdict, Verdict::Held(_, Some(_))), "{verdict:?}");
        assert_eq!(asked(&held, Some("web"), Wanted::Healthy), Verdict::Yes);
        let other = json!({"kind": "Service", "namespace": "shop", "name": "api"});
        let verdict = asked(
            &report(json!({"holds": hold(other)}), json!({})),
            Some("web"),
            Wanted::Gone,
        );
        assert!(matches!(verdict, Verdict::NotYet(_)), "{verdict:?}");
    }

    #[test]
    fn a_framework_that_stays_for_its_objects_keeps_nobody_waiting() {
        let mut leaving = report(
            json!({}),
            json!({"kind": FRAMEWORK, "health": "Progressing", "reason": "Held", "standing": "removed", "rollout": null}),
        );
        assert_eq!(asked(&leaving, None, Wanted::Healthy), Verdict::Yes);
        let nobodys = report(
            json!({}),
            json!({"kind": "Bird", "standing": "unhandled", "rollout": null}),
        );
        leaving.objects.extend(nobodys.objects);
        let verdict = asked(&leaving, None, Wanted::Healthy);
        assert!(matches!(verdict, Verdict::No(_)), "{verdict:?}");
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
