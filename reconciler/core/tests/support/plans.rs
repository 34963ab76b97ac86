//! Plans of small commits, and what tests read of them.

use std::collections::BTreeMap;

use kelson_model::id::Revision;
use kelson_model::object::ObjectKey;
use kelson_model::reason::HoldReason;
use kelson_model::source::{Held, Release};
use kelson_reconciler_core::manifest::Loaded;
use kelson_reconciler_core::observed::ObservedObject;
use kelson_reconciler_core::plan::{Context, Plan, StepKind, plan};
use kelson_reconciler_core::render::{Texts, plan_lines};

use super::{load_commit, service};

pub(crate) type Observed = BTreeMap<ObjectKey, ObservedObject>;

/// One Service of each name, in a file of its own.
pub(crate) fn services(names: &[&str]) -> Loaded {
    let texts: Vec<(String, String)> = names
        .iter()
        .map(|name| (format!("{name}.yaml"), service(name)))
        .collect();
    let commit: Vec<(&str, &[u8])> = texts
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_bytes()))
        .collect();
    load_commit(&commit)
}

pub(crate) fn revision(digit: char) -> Revision {
    digit.to_string().repeat(40).parse().unwrap()
}

/// The plan from revision a to revision b.
pub(crate) fn plan_in(
    loaded: &Loaded,
    observed: &Observed,
    released: &[Release],
    is_rewritten: bool,
) -> Plan {
    let (newest, applied) = (revision('b'), revision('a'));
    plan(
        loaded,
        observed,
        Context {
            source: "dev",
            revision: Some(&newest),
            applied: Some(&applied),
            is_rewritten,
            released,
            ..Context::default()
        },
    )
}

/// A person's word for a hold, as the kernel keeps it.
pub(crate) fn release(held: &Held) -> Release {
    Release {
        reason: held.reason.clone(),
        digest: held.digest.clone().unwrap(),
    }
}

/// The deletions of a plan, with what holds them.
pub(crate) fn deletions(plan: &Plan) -> Vec<(&str, Option<&str>)> {
    let deletions = plan.steps.iter().filter(|it| it.kind == StepKind::Delete);
    deletions
        .map(|step| {
            (
                step.object.name.as_str(),
                step.held.as_ref().map(HoldReason::word),
            )
        })
        .collect()
}

/// The lines that people read.
pub(crate) fn told(plan: &Plan, texts: &Texts) -> Vec<String> {
    plan_lines(plan, texts)
        .into_iter()
        .map(|line| line.text)
        .collect()
}
