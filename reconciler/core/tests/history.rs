//! A rewritten history: what would go is shown before a person's word lets it go.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use kelson_model::object::{ObjectKey, PrunePolicy};
use kelson_model::reason::HoldReason;
use kelson_model::source::Release;
use kelson_reconciler_core::manifest::Loaded;
use kelson_reconciler_core::plan::{Plan, Why};
use kelson_reconciler_core::render::{Texts, summary};
use support::plans::*;
use support::*;

fn rewritten(loaded: &Loaded, observed: &Observed, released: &[Release]) -> Plan {
    plan_in(loaded, observed, released, true)
}

#[test]
fn what_an_amended_commit_takes_away_is_shown_and_the_word_is_for_just_that() {
    let observed = accepted_all(&services(&["a", "b"]));
    let loaded = services(&["a"]);
    let plan = rewritten(&loaded, &observed, &[]);
    assert!(plan.is_blocked);
    let held = plan.held.clone().unwrap();
    assert_eq!(held.reason, HoldReason::ForcePush);
    assert_eq!(held.objects, [key("b")]);
    assert_eq!(deletions(&plan), [("b", Some("ForcePush"))]);
    assert_eq!(plan.to_prune().count(), 0);
    assert_eq!(summary(&plan), "1 to delete once confirmed, 1 unchanged");
    let lines = told(&plan, &Texts::new());
    assert!(
        lines.contains(&"- Service shop/b  (b.yaml:1)  waits: ForcePush".to_owned()),
        "{lines:?}"
    );
    let confirmed = rewritten(&loaded, &observed, &[release(&held)]);
    assert!(!confirmed.is_blocked && confirmed.holds.is_empty());
    assert_eq!(deletions(&confirmed), [("b", None)]);
    let more = accepted_all(&services(&["a", "b", "c"]));
    assert!(
        rewritten(&loaded, &more, &[release(&held)]).is_blocked,
        "the word was for one object, and two would go"
    );
}

#[test]
fn a_deletion_that_waits_for_a_word_of_its_own_still_does() {
    let mut observed = accepted_all(&services(&["ask", "go", "keep", "l", "m"]));
    observed.get_mut(&key("ask")).unwrap().lifecycle.prune = PrunePolicy::Confirm;
    observed.get_mut(&key("keep")).unwrap().lifecycle.prune = PrunePolicy::Never;
    let loaded = services(&["l", "m"]);
    let plan = rewritten(&loaded, &observed, &[]);
    let held = plan.held.clone().unwrap();
    assert_eq!(held.objects, [key("ask"), key("go")]);
    let asks = ("ask", Some("PruneConfirm"));
    assert_eq!(deletions(&plan), [asks, ("go", Some("ForcePush"))]);
    let confirmed = rewritten(&loaded, &observed, &[release(&held)]);
    assert!(!confirmed.is_blocked);
    assert_eq!(deletions(&confirmed), [asks, ("go", None)]);
}

#[test]
fn with_a_fault_nothing_goes_and_the_history_is_held_all_the_same() {
    let observed = accepted_all(&services(&["a", "b"]));
    let loaded = load_commit(&[("a.yaml", b"kind: [")]);
    let plan = rewritten(&loaded, &observed, &[]);
    assert!(plan.is_blocked && deletions(&plan).is_empty());
    assert_eq!(plan.held.unwrap().objects, Vec::<ObjectKey>::new());
}

#[test]
fn what_is_new_beside_a_fault_in_its_file_is_named() {
    let whys = |plan: &Plan| -> Vec<(String, Why)> {
        let lines = plan.report.iter();
        lines.map(|it| (it.object.name.clone(), it.why)).collect()
    };
    let both = format!("{}---\n{}", service("new"), "kind: Service\n");
    let faulty = load_commit(&[("both.yaml", both.as_bytes())]);
    let plan = plan_in(&faulty, &BTreeMap::new(), &[], false);
    assert_eq!(whys(&plan), [("new".to_owned(), Why::BadFile)]);
}
