//! Diff, plan, guard and what people read of it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use kelson_model::object::{DriftPolicy, PrunePolicy, Sync};
use kelson_model::reason::HoldReason;
use kelson_model::source::Release;
use kelson_reconciler_core::diff::diff;
use kelson_reconciler_core::manifest::Loaded;
use kelson_reconciler_core::observed::ObservedObject;
use kelson_reconciler_core::plan::{Context, Plan, StepKind, Why, plan};
use kelson_reconciler_core::render::{Texts, plan_lines, summary};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::plans::*;
use support::*;

fn plan_of(loaded: &Loaded, observed: &Observed) -> Plan {
    plan_with(loaded, observed, &[])
}

fn plan_with(loaded: &Loaded, observed: &Observed, released: &[Release]) -> Plan {
    plan_in(loaded, observed, released, false)
}

/// What a kernel does with a plan.
fn carry_out(plan: &Plan, loaded: &Loaded, observed: &mut Observed) {
    for object in plan.to_stage(loaded) {
        observed.insert(object.key.clone(), accepted(object));
    }
    for key in plan.to_prune() {
        observed.remove(key);
    }
}

fn kinds_of(plan: &Plan) -> Vec<(StepKind, String)> {
    plan.steps
        .iter()
        .map(|step| (step.kind, step.object.name.clone()))
        .collect()
}

fn whys(plan: &Plan) -> Vec<(String, Why)> {
    plan.report
        .iter()
        .map(|line| (line.object.name.clone(), line.why))
        .collect()
}

#[test]
fn a_plan_after_a_completed_apply_is_empty() {
    let before = accepted_all(&services(&["a", "b", "c"]));
    let mut observed = before;
    let loaded = services(&["b", "c", "d"]);
    let first = plan_of(&loaded, &observed);
    assert_eq!(
        kinds_of(&first),
        [
            (StepKind::Create, "d".to_owned()),
            (StepKind::Delete, "a".to_owned())
        ]
    );
    carry_out(&first, &loaded, &mut observed);
    let second = plan_of(&loaded, &observed);
    assert!(second.is_empty(), "{second:?}");
    assert_eq!(second.sync(&loaded), Sync::Synced);
    assert_eq!(summary(&second), "3 unchanged");
}

#[test]
fn a_changed_field_is_told_with_both_values_and_its_line() {
    let text = "apiVersion: kelson/v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec:\n  instances: 5\n  run: {command: web}\n";
    let loaded = load_commit(&[("web.yaml", text.as_bytes())]);
    let mut observed = accepted_all(&services(&["web"]));
    with_instances(observed.get_mut(&key("web")).unwrap(), 3);
    let plan = plan_of(&loaded, &observed);
    let lines = told(&plan, &Texts::new());
    assert_eq!(
        lines,
        ["~ Service shop/web  spec.instances 3 → 5  (web.yaml:5)"]
    );
}

const WITH_PORTS: &str = "\
apiVersion: kelson/v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  run: {command: web, args: [a, b]}
  ports: [{name: http}]
";

#[test]
fn a_new_object_is_told_with_the_fields_that_its_manifest_spells_out() {
    let loaded = load_commit(&[("web.yaml", WITH_PORTS.as_bytes())]);
    let plan = plan_of(&loaded, &Observed::new());
    assert_eq!(
        told(&plan, &Texts::new()),
        [
            "+ Service shop/web  (web.yaml:1)",
            "+   spec.ports[http].name http",
            "+   spec.run.args [\"a\",\"b\"]",
            "+   spec.run.command web",
        ]
    );
}

#[test]
fn a_port_is_told_by_its_name_wherever_it_stands_in_the_list() {
    let observed = accepted_all(&load_commit(&[("web.yaml", WITH_PORTS.as_bytes())]));
    let text = WITH_PORTS.replace(
        "[{name: http}]",
        "[{name: admin}, {name: http, port: 8080}]",
    );
    let plan = plan_of(&load_commit(&[("web.yaml", text.as_bytes())]), &observed);
    assert_eq!(
        told(&plan, &Texts::new()),
        [
            "~ Service shop/web  (web.yaml:1)",
            "~   spec.ports[admin] (none) → {\"name\":\"admin\"}  (web.yaml:6)",
            "~   spec.ports[http].port (none) → 8080  (web.yaml:6)",
        ]
    );
}

#[test]
fn long_values_are_cut_around_the_place_where_they_part() {
    let long = |end: &str| {
        WITH_PORTS.replace("command: web", &format!("command: {}{end}", "x".repeat(60)))
    };
    let observed = accepted_all(&load_commit(&[("web.yaml", long("-old").as_bytes())]));
    let plan = plan_of(
        &load_commit(&[("web.yaml", long("-new").as_bytes())]),
        &observed,
    );
    assert_eq!(
        told(&plan, &Texts::new()),
        ["~ Service shop/web  spec.run.command …xxxxxxxxxxx-old → …xxxxxxxxxxx-new  (web.yaml:5)"]
    );
}

#[test]
fn a_changed_file_is_told_as_the_lines_that_changed() {
    let with = |content: &str| {
        WITH_PORTS.replace(
            "args: [a, b]",
            &format!("files: [{{path: a.txt, content: {content:?}}}]"),
        )
    };
    let observed = accepted_all(&load_commit(&[(
        "web.yaml",
        with("1\n2\n3\n4\n5\n").as_bytes(),
    )]));
    let plan = plan_of(
        &load_commit(&[("web.yaml", with("1\n2\n3\n4\nfive\n").as_bytes())]),
        &observed,
    );
    assert_eq!(
        told(&plan, &Texts::new()),
        [
            "~ Service shop/web  (web.yaml:1)",
            "~   spec.run.files[a.txt].content  (web.yaml:5)",
            "      3",
            "      4",
            "    - 5",
            "    + five",
        ]
    );
    // A file of the commit is known by its digest, and its text by whoever has it.
    let mut plan = plan;
    for field in plan.steps.iter_mut().flat_map(|step| &mut step.fields) {
        field.before = Some(json!("sha256:1"));
        field.after = Some(json!("sha256:2"));
    }
    let texts = Texts::from([
        ("sha256:1".to_owned(), "a\nb\n".to_owned()),
        ("sha256:2".to_owned(), "a\nc\n".to_owned()),
    ]);
    let lines = told(&plan, &texts);
    assert!(lines.contains(&"    - b".to_owned()), "{lines:?}");
    assert_eq!(told(&plan, &Texts::new()).len(), 1);
}

#[test]
fn an_object_that_only_moved_is_recorded_anew_and_is_no_change() {
    let mut observed = accepted_all(&services(&["web"]));
    let text = format!("# a comment\n{}", service("web"));
    let loaded = load_commit(&[("web.yaml", text.as_bytes())]);
    let plan = plan_of(&loaded, &observed);
    assert_eq!(kinds_of(&plan), [(StepKind::Move, "web".to_owned())]);
    assert!(!plan.has_changes());
    assert_eq!(plan.sync(&loaded), Sync::Synced);
    carry_out(&plan, &loaded, &mut observed);
    assert!(plan_of(&loaded, &observed).is_empty());
}

#[test]
fn frameworks_come_first_and_go_last() {
    let framework = |name: &str| {
        format!(
            "apiVersion: kelson/v1\nkind: Framework\nmetadata: {{name: {name}}}\nspec: {{component: {{path: site/index.html}}}}\n"
        )
    };
    let (old, new) = (framework("old"), framework("new"));
    let before = resolved(load_commit(&[
        ("f.yaml", old.as_bytes()),
        ("a.yaml", service("a").as_bytes()),
        ("k.yaml", service("k").as_bytes()),
    ]));
    let after = resolved(load_commit(&[
        ("f.yaml", new.as_bytes()),
        ("b.yaml", service("b").as_bytes()),
        ("k.yaml", service("k").as_bytes()),
    ]));
    let plan = plan_of(&after, &accepted_all(&before));
    let order: Vec<&str> = plan
        .steps
        .iter()
        .map(|step| step.object.name.as_str())
        .collect();
    assert_eq!(order, ["new", "b", "a", "old"]);
}

#[test]
fn a_framework_that_goes_before_its_objects_is_told_to_stay_for_them() {
    let framework = "apiVersion: kelson/v1\nkind: Framework\nmetadata: {name: service}\nspec: {component: {path: site/index.html}}\n";
    let before = resolved(load_commit(&[
        ("f.yaml", framework.as_bytes()),
        ("a.yaml", service("a").as_bytes()),
    ]));
    let (observed, kinds) = (accepted_all(&before), kinds());
    let told = |names: &[&str]| {
        let context = Context {
            source: "dev",
            kinds: Some(&kinds),
            ..Context::default()
        };
        let plan = plan(&services(names), &observed, context);
        assert_eq!(kinds_of(&plan).last().unwrap().1, "service");
        whys(&plan)
    };
    assert_eq!(told(&["a"]), [("service".to_owned(), Why::InUse)]);
    assert_eq!(told(&[]), []);
}

#[test]
fn nothing_is_pruned_while_any_file_is_bad_and_its_objects_stay() {
    let observed = accepted_all(&services(&["a", "b", "c"]));
    let bad = format!("{}  instnaces: 1\n", service("b"));
    let loaded = load_commit(&[
        ("b.yaml", bad.as_bytes()),
        ("c.yaml", service("c").as_bytes()),
        ("d.yaml", service("d").as_bytes()),
    ]);
    let plan = plan_of(&loaded, &observed);
    assert_eq!(
        kinds_of(&plan),
        [(StepKind::Create, "d".to_owned())],
        "the good files go ahead"
    );
    assert_eq!(
        whys(&plan),
        [
            ("a".to_owned(), Why::FaultsElsewhere),
            ("b".to_owned(), Why::BadFile)
        ]
    );
    assert_eq!(plan.sync(&loaded), Sync::OutOfSync);
}

#[test]
fn a_file_that_was_renamed_and_broken_in_one_commit_loses_nothing() {
    let observed = accepted_all(&services(&["a", "b"]));
    let bad = format!("{}  instnaces: 1\n", service("a"));
    let loaded = load_commit(&[
        ("renamed.yaml", bad.as_bytes()),
        ("b.yaml", service("b").as_bytes()),
    ]);
    let plan = plan_of(&loaded, &observed);
    assert!(plan.is_empty(), "{:?}", plan.steps);
    assert_eq!(whys(&plan), [("a".to_owned(), Why::FaultsElsewhere)]);
}

#[test]
fn an_empty_tree_is_held_its_deletions_are_shown_and_a_confirmation_of_just_that_releases_it() {
    let observed = accepted_all(&services(&["a", "b"]));
    let loaded = load_commit(&[]);
    let plan = plan_of(&loaded, &observed);
    assert!(plan.is_empty() && plan.is_blocked && plan.has_changes());
    assert_eq!(
        deletions(&plan),
        [("a", Some("PruneGuard")), ("b", Some("PruneGuard"))]
    );
    assert_eq!(plan.to_prune().count(), 0, "held ones are not carried out");
    let held = plan.held.unwrap();
    assert_eq!(held.reason, HoldReason::PruneGuard);
    assert_eq!(
        held.confirm.clone().unwrap(),
        format!("kelson confirm {}", revision('b'))
    );
    assert_eq!(held.objects, [key("a"), key("b")]);
    let confirmed = plan_with(&loaded, &observed, &[release(&held)]);
    assert!(!confirmed.is_blocked && confirmed.held.is_none());
    assert_eq!(confirmed.to_prune().count(), 2);
    assert_eq!(confirmed.released, [held.digest.clone().unwrap()]);
    let more = accepted_all(&services(&["a", "b", "c"]));
    assert!(
        plan_with(&loaded, &more, &[release(&held)]).is_blocked,
        "the confirmation was for two objects, and three would go"
    );
}

#[test]
fn each_hold_of_a_revision_is_released_by_itself() {
    let mut observed = accepted_all(&services(&["a", "b", "c", "d", "ask"]));
    observed.get_mut(&key("ask")).unwrap().lifecycle.prune = PrunePolicy::Confirm;
    let loaded = load_commit(&[]);
    let all = plan_in(&loaded, &observed, &[], true);
    let reasons = |plan: &Plan| -> Vec<String> {
        plan.holds
            .iter()
            .map(|held| held.reason.to_string())
            .collect()
    };
    assert_eq!(reasons(&all), ["ForcePush", "PruneGuard", "PruneConfirm"]);
    assert_eq!(all.held, all.holds.first().cloned());
    for held in &all.holds {
        let command = format!("kelson confirm {} --hold {}", revision('b'), held.reason);
        assert_eq!(held.confirm.as_deref(), Some(command.as_str()));
    }
    let word = |n: usize| release(&all.holds[n]);
    let history = plan_in(&loaded, &observed, &[word(0)], true);
    assert_eq!(reasons(&history), ["PruneGuard", "PruneConfirm"]);
    assert!(
        history.is_blocked,
        "a word for the history is none for the deletions"
    );
    let guard = plan_in(&loaded, &observed, &[word(1)], true);
    assert!(guard.is_blocked, "nor the other way round");
    let both = plan_in(&loaded, &observed, &[word(0), word(1)], true);
    assert_eq!(reasons(&both), ["PruneConfirm"]);
    assert!(!both.is_blocked);
    assert_eq!(
        deletions(&both),
        [
            ("a", None),
            ("ask", Some("PruneConfirm")),
            ("b", None),
            ("c", None),
            ("d", None)
        ]
    );
    assert_eq!(both.released.len(), 2);
}

#[test]
fn what_recent_revisions_took_away_counts_with_what_this_one_does() {
    let observed = accepted_all(&services(&["a", "b", "c", "d"]));
    let loaded = services(&["a", "b", "c"]);
    let (newest, applied) = (revision('b'), revision('a'));
    let after = |recently_pruned| {
        let context = Context {
            source: "dev",
            revision: Some(&newest),
            applied: Some(&applied),
            recently_pruned,
            ..Context::default()
        };
        plan(&loaded, &observed, context)
    };
    assert!(!after(2).is_blocked);
    let held = after(3);
    assert!(held.is_blocked);
    let message = held.held.unwrap().message;
    assert!(
        message.contains("after 3 that recent revisions"),
        "{message}"
    );
}

#[test]
fn the_last_object_of_one_may_go() {
    let observed = accepted_all(&services(&["a"]));
    let plan = plan_of(&load_commit(&[]), &observed);
    assert_eq!(kinds_of(&plan), [(StepKind::Delete, "a".to_owned())]);
}

#[test]
fn a_held_revision_says_what_else_waits_with_it() {
    let observed = accepted_all(&services(&["a", "b", "c", "d", "e", "f"]));
    let loaded = services(&["a", "b", "new"]);
    let plan = plan_of(&loaded, &observed);
    assert!(plan.is_blocked);
    assert_eq!(kinds_of(&plan)[0], (StepKind::Create, "new".to_owned()));
    let guarded = Some("PruneGuard");
    assert_eq!(
        deletions(&plan),
        [
            ("c", guarded),
            ("d", guarded),
            ("e", guarded),
            ("f", guarded)
        ]
    );
    let lines: Vec<String> = plan_lines(&plan, &Texts::new())
        .into_iter()
        .map(|it| it.text)
        .collect();
    assert!(
        lines.contains(&"- Service shop/c  (c.yaml:1)  waits: PruneGuard".to_owned()),
        "{lines:?}"
    );
    assert_eq!(
        summary(&plan),
        "1 to create, 4 to delete once confirmed, 2 unchanged"
    );
}

#[test]
fn prune_never_keeps_and_prune_confirm_asks_while_the_rest_goes_ahead() {
    let mut observed = accepted_all(&services(&["keep", "ask", "go", "l", "m", "o"]));
    observed.get_mut(&key("keep")).unwrap().lifecycle.prune = PrunePolicy::Never;
    observed.get_mut(&key("ask")).unwrap().lifecycle.prune = PrunePolicy::Confirm;
    let loaded = services(&["l", "m", "o"]);
    let plan = plan_of(&loaded, &observed);
    assert_eq!(
        deletions(&plan),
        [("ask", Some("PruneConfirm")), ("go", None)]
    );
    assert_eq!(whys(&plan), [("keep".to_owned(), Why::PruneNever)]);
    assert!(!plan.is_blocked);
    let held = plan.held.as_ref().unwrap();
    assert_eq!(held.reason, HoldReason::PruneConfirm);
    let confirmed = plan_with(&loaded, &observed, &[release(held)]);
    assert_eq!(confirmed.to_prune().count(), 2);
    assert!(confirmed.held.is_none());
}

#[test]
fn objects_of_another_source_are_left_alone() {
    let mut observed = accepted_all(&services(&["theirs", "contested"]));
    for live in observed.values_mut() {
        live.source = Some("prod".to_owned());
        with_instances(live, 9);
    }
    let plan = plan_of(&services(&["contested"]), &observed);
    assert!(plan.is_empty());
    assert_eq!(whys(&plan), [("contested".to_owned(), Why::OtherSource)]);
}

#[test]
fn a_change_by_hand_is_undone_or_reported_as_the_object_says() {
    let loaded = services(&["web"]);
    let mut observed = accepted_all(&loaded);
    set_by_hand(
        observed.get_mut(&key("web")).unwrap(),
        "/instances",
        json!(7),
        "alice",
    );
    let undone = plan_of(&loaded, &observed);
    assert!(undone.steps[0].is_drift);
    assert!(
        plan_lines(&undone, &Texts::new())[0]
            .text
            .contains("undoes a change by hand")
    );

    let text = service("web").replace(
        "namespace: shop}",
        "namespace: shop, lifecycle: {drift: report}}",
    );
    let loaded = load_commit(&[("web.yaml", text.as_bytes())]);
    assert_eq!(
        loaded.objects[0].desired.lifecycle.drift,
        DriftPolicy::Report
    );
    let mut observed = accepted_all(&loaded);
    set_by_hand(
        observed.get_mut(&key("web")).unwrap(),
        "/instances",
        json!(7),
        "alice",
    );
    let left = plan_of(&loaded, &observed);
    assert!(left.is_empty());
    assert_eq!(whys(&left), [("web".to_owned(), Why::DriftReported)]);
    // A commit that changes the object is applied whatever was done by hand.
    let changed = text.replace("command: web", "command: other");
    let loaded = load_commit(&[("web.yaml", changed.as_bytes())]);
    let plan = plan_of(&loaded, &observed);
    assert_eq!(plan.steps[0].fields.len(), 2);
}

#[test]
fn another_spelling_by_hand_is_no_change_and_git_s_spelling_is_recorded_anew() {
    let loaded = services(&["web"]);
    let mut observed = accepted_all(&loaded);
    let live = observed.get_mut(&key("web")).unwrap();
    let memory = live.spec.pointer("/resources/memory").unwrap();
    set_by_hand(live, "/resources/memory", json!("131072Ki"), "alice");
    let live = observed[&key("web")].clone();
    let kinds = kinds();
    let normal = kinds.normalise("Service", &live.spec.value()).unwrap();
    assert_eq!(normal["resources"]["memory"], memory, "it means the same");
    let context = Context {
        source: "dev",
        kinds: Some(&kinds),
        ..Context::default()
    };
    let plan = plan(&loaded, &observed, context);
    assert_eq!(kinds_of(&plan), [(StepKind::Move, "web".to_owned())]);
    assert!(!plan.has_changes() && !plan.is_empty());
}

#[test]
fn git_saying_what_was_set_by_hand_settles_it() {
    let text = service("web").replace("spec:\n", "spec:\n  instances: 7\n");
    let mut observed = accepted_all(&services(&["web"]));
    let live = observed.get_mut(&key("web")).unwrap();
    set_by_hand(live, "/instances", json!(7), "alice");
    let loaded = load_commit(&[("web.yaml", text.as_bytes())]);
    let plan = plan_of(&loaded, &observed);
    assert_eq!(kinds_of(&plan), [(StepKind::Move, "web".to_owned())]);
}

#[test]
fn another_default_of_a_kind_changes_what_is_asked_and_not_what_was_written() {
    let texts = |manifest: &str| load_commit(&[("web.yaml", manifest.as_bytes())]);
    let written = |loaded: &Loaded| loaded.objects[0].desired.written.clone().unwrap();
    let plain = service("web");
    let first = texts(&plain);
    let commented = plain.replace("spec:\n", "# what runs\nspec:\n");
    assert_eq!(written(&texts(&commented)), written(&first));
    let default = plain.replace("spec:\n", "spec:\n  instances: 1\n");
    let explicit = texts(&default);
    assert_eq!(
        explicit.objects[0].desired.spec,
        first.objects[0].desired.spec
    );
    assert_ne!(written(&explicit), written(&first));
}

#[test]
fn a_rolled_back_object_is_left_until_git_changes_it() {
    let loaded = services(&["web"]);
    let mut observed = accepted_all(&loaded);
    observed.get_mut(&key("web")).unwrap().quarantined = true;
    let plan = plan_of(&loaded, &observed);
    assert!(plan.is_empty());
    assert_eq!(whys(&plan), [("web".to_owned(), Why::RolledBack)]);
    assert_eq!(plan.sync(&loaded), Sync::OutOfSync);
}

#[test]
fn a_row_of_the_kernel_is_read_whatever_else_it_has() {
    let row = json!({
        "key": {"kind": "Service", "namespace": "shop", "name": "web"},
        "spec": {"instances": 1}, "generation": 4, "workload": 7, "origin": {"file": "web.yaml", "line": 1},
        "changedBy": {"actor": "alice", "via": "cli"}, "somethingNew": true,
    });
    let live: ObservedObject = serde_json::from_value(row).unwrap();
    assert_eq!(live.generation, 4);
    assert_eq!(live.changed_by.unwrap().actor, "alice");
}

const FULL: &str = include_str!("golden/good-full.yaml");

/// All leaves of a specification, as pointers.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(name, below)| leaves(below, &format!("{path}/{name}"), found)),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(index, below)| leaves(below, &format!("{path}/{index}"), found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            found.push(path.to_owned())
        }
    }
}

/// Another value than the one that is there.
fn other(value: &Value) -> Value {
    match value {
        Value::Bool(yes) => json!(!yes),
        Value::Number(number) => json!(number.as_i64().unwrap_or(0) + 1),
        Value::String(text) => json!(format!("{text}x")),
        Value::Null | Value::Array(_) | Value::Object(_) => json!("x"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_owned_field_that_changes_is_found_and_no_other(pick in 0usize..10_000, way in 0u8..3) {
        let loaded = resolved(load_commit(&[("web.yaml", FULL.as_bytes())]));
        let desired = &loaded.objects[0].desired;
        let mut live = accepted(desired);
        prop_assert!(diff(desired, &live, None).is_empty(), "no drift where nothing differs");
        let mut paths = Vec::new();
        leaves(&desired.spec.value(), "", &mut paths);
        let path = &paths[pick % paths.len()];
        let (parent, name) = path.rsplit_once('/').unwrap();
        let mut spec = live.spec.value();
        let parent = spec.pointer_mut(parent).unwrap();
        let expected = match (way, &mut *parent) {
            (0, Value::Object(map)) => {
                map.remove(name);
                path.clone()
            }
            (1, Value::Object(map)) => {
                map.insert("zz-added".to_owned(), json!(1));
                format!("{}/zz-added", path.rsplit_once('/').unwrap().0)
            }
            _ => {
                let value = spec.pointer_mut(path).unwrap();
                *value = other(value);
                path.clone()
            }
        };
        live.spec = spec.into();
        let found: Vec<String> = diff(desired, &live, None).into_iter().map(|difference| difference.path).collect();
        prop_assert_eq!(found, vec![format!("/spec{expected}")]);
    }

    #[test]
    fn normal_form_is_a_fixed_point(instances in 0u32..100, cpus in 0u32..64_000, memory in 1u64..1_000_000, grace in 0u64..100_000) {
        let text = format!(
            "apiVersion: kelson/v1\nkind: Service\nmetadata: {{name: web}}\nspec:\n  instances: {instances}\n  run: {{command: web}}\n  resources: {{cpus: {}.{:03}, memory: {memory}Ki}}\n  stop: {{grace: {grace}ms}}\n",
            cpus / 1000, cpus % 1000
        );
        let loaded = load_commit(&[("web.yaml", text.as_bytes())]);
        prop_assert_eq!(places(&loaded.faults), Vec::<String>::new());
        let spec = &loaded.objects[0].desired.spec.value();
        prop_assert_eq!(&kinds().normalise("Service", spec).unwrap(), spec);
        prop_assert!(plan_of(&loaded, &accepted_all(&loaded)).is_empty());
    }

    #[test]
    fn no_text_makes_reading_fail_in_another_way_than_by_faults(text in "[ -~\n\t\u{85}\u{e9}]{0,200}") {
        let loaded = load_commit(&[("any.yaml", text.as_bytes())]);
        prop_assert!(loaded.objects.is_empty());
    }

    #[test]
    fn no_mutation_of_a_good_manifest_makes_reading_panic(at in 0usize..900, with in "[\\x00-\\x7f]{0,3}", length in 0usize..6) {
        let mut bytes = FULL.as_bytes().to_vec();
        let start = at.min(bytes.len());
        let end = (start + length).min(bytes.len());
        bytes.splice(start..end, with.bytes());
        let loaded = load_commit(&[("any.yaml", &bytes)]);
        prop_assert!(loaded.objects.len() <= 1);
    }
}
