//! Making a plan: object by object what git asks, then what no manifest wants any more.

use std::collections::BTreeMap;

use kelson_model::id::Revision;
use kelson_model::object::{DesiredObject, DriftPolicy, ObjectKey};
use kelson_model::reason::HoldReason;

use super::holds::Holds;
use super::prune::{leaving, prune};
use super::shape::{Context, FieldChange, Plan, Step, StepKind, Why, is_ours, line};
use crate::diff::{Difference, diff, normal, written};
use crate::manifest::{FRAMEWORK, Kinds, Loaded, LoadedObject};
use crate::observed::ObservedObject;

/// Makes the plan that turns `observed` into what `loaded` asks for.
pub fn plan(
    loaded: &Loaded,
    observed: &BTreeMap<ObjectKey, ObservedObject>,
    context: Context<'_>,
) -> Plan {
    let mut plan = Plan::default();
    for object in &loaded.objects {
        want(
            object,
            observed.get(&object.desired.key),
            context,
            &mut plan,
        );
    }
    for waiting in &loaded.waiting {
        plan.report.push(match loaded.held_for(waiting) {
            Some((framework, held)) => line(
                &waiting.key,
                Why::FrameworkHeld,
                format!("the new version of framework {framework} that it needs is held: {held}"),
            ),
            None => line(&waiting.key, Why::WaitsForFramework, waiting.message()),
        });
    }
    let mut holds = Holds::new(context);
    let is_history_held = context.is_rewritten
        && holds.is_held(
            HoldReason::ForcePush,
            &leaving(loaded, observed, context),
            rewritten(context),
        );
    plan.is_blocked |= is_history_held;
    prune(loaded, observed, context, &mut holds, &mut plan);
    if is_history_held {
        wait_for_history(&mut plan);
    }
    (plan.holds, plan.released) = holds.end();
    for key in loaded
        .in_bad_files
        .iter()
        .filter(|(key, _)| !observed.contains_key(*key))
    {
        let (key, file) = key;
        let message = format!("{file} has a fault; nothing of it is accepted");
        plan.report.push(line(key, Why::BadFile, message));
    }
    plan.held = plan.holds.first().cloned();
    plan.steps
        .sort_by(|a, b| (a.wave, a.kind, &a.object).cmp(&(b.wave, b.kind, &b.object)));
    plan.report.sort();
    plan
}

fn want(
    object: &LoadedObject,
    live: Option<&ObservedObject>,
    context: Context<'_>,
    plan: &mut Plan,
) {
    let desired = &object.desired;
    let is_framework = desired.key.kind == FRAMEWORK;
    let step = |kind, fields, is_drift| Step {
        wave: if is_framework { 0 } else { 1 },
        kind,
        object: desired.key.clone(),
        fields,
        origin: Some(desired.origin.clone()),
        is_drift,
        held: None,
    };
    let Some(live) = live else {
        let fields = changes(object, written(object));
        plan.steps.push(step(StepKind::Create, fields, false));
        return;
    };
    if !is_ours(live, context.source) {
        let owner = live.source.as_deref().unwrap_or_default();
        plan.report.push(line(
            &desired.key,
            Why::OtherSource,
            format!("the source {owner} owns it; take it out of there first"),
        ));
        return;
    }
    let differences = diff(desired, live, context.kinds);
    if differences.is_empty() {
        plan.unchanged += 1;
        if live.quarantined {
            plan.report.push(line(
                &desired.key,
                Why::RolledBack,
                "its newest version failed and was rolled back; it is tried again when git changes it",
            ));
        } else if live.origin.as_ref() != Some(&desired.origin)
            || live.by_hand.is_some()
            || live.is_word_unknown
        {
            plan.steps.push(step(StepKind::Move, Vec::new(), false));
        }
        return;
    }
    let is_drift = live.by_hand.is_some() && !has_git_changed(desired, live, context.kinds);
    if is_drift && desired.lifecycle.drift == DriftPolicy::Report {
        plan.report.push(line(
            &desired.key,
            Why::DriftReported,
            format!(
                "{} changed by hand; `lifecycle.drift: report` leaves it so",
                paths(&differences)
            ),
        ));
        return;
    }
    let fields = changes(object, differences);
    plan.steps.push(step(StepKind::Update, fields, is_drift));
}

fn changes(object: &LoadedObject, differences: Vec<Difference>) -> Vec<FieldChange> {
    let change = |difference: Difference| FieldChange {
        origin: difference
            .desired
            .is_some()
            .then(|| object.origin_of(&difference.path)),
        path: difference.path,
        at: difference.at,
        before: difference.live,
        after: difference.desired,
    };
    differences.into_iter().map(change).collect()
}

/// Whether git asks for something else than when the object was last accepted.
fn has_git_changed(desired: &DesiredObject, live: &ObservedObject, kinds: Option<&Kinds>) -> bool {
    let accepted = live.accepted_spec();
    desired.labels != live.labels
        || desired.lifecycle != live.lifecycle
        || desired.spec != *accepted && desired.spec != normal(live, accepted, kinds)
}

fn paths(differences: &[Difference]) -> String {
    let mut shown: Vec<String> = differences
        .iter()
        .take(3)
        .map(|difference| difference.at.clone())
        .collect();
    if differences.len() > shown.len() {
        shown.push(format!("{} more", differences.len() - shown.len()));
    }
    shown.join(", ")
}

/// Deletions that no other hold stops wait for the word about the history.
fn wait_for_history(plan: &mut Plan) {
    for step in &mut plan.steps {
        if step.kind == StepKind::Delete && step.held.is_none() {
            step.held = Some(HoldReason::ForcePush);
        }
    }
}

fn rewritten(context: Context<'_>) -> String {
    let short = |revision: Option<&Revision>| {
        revision.map_or("the newest commit".to_owned(), |it| it.short().to_owned())
    };
    format!(
        "history was rewritten: {} does not come after {}, which is applied",
        short(context.revision),
        short(context.applied)
    )
}
