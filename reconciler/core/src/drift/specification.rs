//! The specification plane: a kernel object differs from git, and no commit is the cause.

use kelson_model::drift::{FieldDrift, Plane};
use kelson_model::object::PrunePolicy;
use kelson_model::principal::Principal;
use serde_json::json;

use super::finding::{Finding, finding, unknown};
use super::scan::Sight;
use crate::diff::{Difference, diff};
use crate::observed::ObservedObject;
use crate::plan::{has_git_changed, is_ours};

pub(super) fn find(sight: Sight<'_>) -> Vec<Finding> {
    let mut found = changed(sight);
    let is_applied =
        sight.context.revision.is_some() && sight.context.applied == sight.context.revision;
    if is_applied {
        found.extend(missing(sight));
        found.extend(orphaned(sight));
    }
    found
}

fn changed(sight: Sight<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for object in &sight.loaded.objects {
        let Some(live) = sight.observed.get(&object.desired.key) else {
            continue;
        };
        if !is_ours(live, sight.context) {
            continue;
        }
        let differences = diff(&object.desired, live);
        if differences.is_empty() || has_git_changed(&object.desired, live, sight.context) {
            continue;
        }
        let fields = differences.iter().map(Difference::as_drift).collect();
        found.push(Finding {
            item: finding(
                &live.key,
                None,
                Plane::Specification,
                Some(object),
                fields,
                who(live),
                sight.now,
            ),
            is_over: false,
        });
    }
    found
}

fn missing(sight: Sight<'_>) -> impl Iterator<Item = Finding> {
    sight
        .loaded
        .objects
        .iter()
        .filter(move |object| !sight.observed.contains_key(&object.desired.key))
        .map(move |object| Finding {
            item: finding(
                &object.desired.key,
                None,
                Plane::Specification,
                Some(object),
                vec![field("missing", "there", "not there")],
                unknown("api"),
                sight.now,
            ),
            is_over: false,
        })
}

fn orphaned(sight: Sight<'_>) -> Vec<Finding> {
    if !sight.loaded.faults.is_empty() {
        return Vec::new();
    }
    let wanted = sight.loaded.wanted();
    sight
        .observed
        .values()
        .filter(|live| is_ours(live, sight.context) && !wanted.contains(&live.key))
        .filter(|live| live.lifecycle.prune == PrunePolicy::Auto)
        .map(|live| Finding {
            item: finding(
                &live.key,
                None,
                Plane::Specification,
                None,
                vec![field("added", "not there", "there")],
                who(live),
                sight.now,
            ),
            is_over: false,
        })
        .collect()
}

/// A whole object that is there or is not.
fn field(op: &str, desired: &str, live: &str) -> FieldDrift {
    FieldDrift {
        path: String::new(),
        op: op.to_owned(),
        desired: json!(desired),
        live: json!(live),
    }
}

/// Who changed an object by hand; whoever acts for git did not.
fn who(live: &ObservedObject) -> Principal {
    match &live.changed_by {
        Some(principal) if principal.via != "git" => principal.clone(),
        Some(_) | None => unknown("api"),
    }
}
