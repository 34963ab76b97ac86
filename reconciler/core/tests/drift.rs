//! Drift on the three planes, and its ledger.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use kelson_model::drift::{ByHand, DriftItem, DriftState, FieldDrift, Plane};
use kelson_model::id::TaskId;
use kelson_model::object::{DriftPolicy, ObjectKey};
use kelson_model::principal::Principal;
use kelson_model::task::{CheckState, Exit, StopReason, TaskState};
use kelson_model::time::WallTime;
use kelson_reconciler_core::drift::{Scan, Sight, scan};
use kelson_reconciler_core::manifest::Loaded;
use kelson_reconciler_core::observed::{ObservedObject, ObservedTask};
use kelson_reconciler_core::plan::{Context, StepKind, plan};
use serde_json::{Value, json};
use support::*;

struct World {
    loaded: Option<Loaded>,
    observed: BTreeMap<ObjectKey, ObservedObject>,
    tasks: Vec<ObservedTask>,
    agents: Vec<DriftItem>,
    ledger: Vec<DriftItem>,
    now: u64,
}

impl World {
    fn new() -> Self {
        let text = "apiVersion: kelson/v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec:\n  instances: 3\n  run: {command: web}\n";
        let loaded = load_commit(&[("web.yaml", text.as_bytes())]);
        Self {
            observed: accepted_all(&loaded),
            loaded: Some(loaded),
            tasks: Vec::new(),
            agents: Vec::new(),
            ledger: Vec::new(),
            now: 1000,
        }
    }

    fn live(&mut self) -> &mut ObservedObject {
        self.observed.get_mut(&key("web")).unwrap()
    }

    fn set(&mut self, path: &str, value: Value, by: &str) {
        set_by_hand(self.live(), path, value, by);
    }

    fn scale_by_hand(&mut self, instances: u32) {
        self.set("/instances", json!(instances), "alice");
    }

    /// Scans, and records what was found as the kernel does.
    fn scan(&mut self) -> Scan {
        self.now += 1000;
        let kinds = kinds();
        let scan = scan(Sight {
            source: "dev",
            places: self.loaded.as_ref(),
            kinds: Some(&kinds),
            observed: &self.observed,
            tasks: &self.tasks,
            agents: &self.agents,
            ledger: &self.ledger,
            now: WallTime(self.now),
        });
        self.ledger.retain(|known| {
            let is_told = scan.news.iter().any(|item| item.is_same_as(known));
            known.state == DriftState::Healed || !is_told
        });
        self.ledger.extend(scan.news.iter().cloned());
        while self
            .ledger
            .iter()
            .filter(|item| item.state == DriftState::Healed)
            .count()
            > DriftItem::KEPT_HEALED
        {
            let oldest = self
                .ledger
                .iter()
                .position(|item| item.state == DriftState::Healed)
                .unwrap();
            self.ledger.remove(oldest);
        }
        scan
    }
}

fn task(id: u64, slot: u32, state: TaskState) -> ObservedTask {
    ObservedTask {
        id: TaskId(id),
        workload: key("web"),
        slot,
        state,
        health: CheckState::Healthy,
        agent: None,
        exit: None,
        stop_reason: None,
        stopped_by: None,
        ended_at: None,
    }
}

fn died_of(id: u64, signal: i32) -> ObservedTask {
    ObservedTask {
        exit: Some(Exit {
            signal: Some(signal),
            ..Exit::default()
        }),
        ended_at: Some(WallTime(1500)),
        ..task(id, 0, TaskState::Failed)
    }
}

#[test]
fn a_field_changed_by_hand_is_told_with_both_values_place_and_author() {
    let mut world = World::new();
    assert_eq!(world.scan(), Scan::default(), "no false drift");
    world.scale_by_hand(5);
    let scan = world.scan();
    assert!(scan.is_news());
    let item = &scan.items[0];
    assert_eq!(
        (item.plane, item.state, item.policy),
        (Plane::Specification, DriftState::Open, DriftPolicy::Enforce)
    );
    assert_eq!(
        item.fields,
        [FieldDrift {
            path: "/spec/instances".to_owned(),
            op: "changed".to_owned(),
            desired: json!(3),
            live: json!(5),
            changed_by: None,
        }]
    );
    let origin = item.origin.as_ref().unwrap();
    assert_eq!(
        (origin.file.as_str(), origin.line, origin.column),
        ("web.yaml", 5, Some(14))
    );
    assert_eq!(item.changed_by, Principal::new("alice", "cli"));
}

#[test]
fn an_item_is_opened_once_healed_once_and_counted_when_it_comes_back() {
    let mut world = World::new();
    world.scale_by_hand(5);
    let first = world.scan().items[0].first_seen;
    let again = world.scan();
    assert!(!again.is_news(), "what is known is no news");
    assert_eq!(again.items[0].first_seen, first);
    world.scale_by_hand(3);
    let healed = world.scan();
    assert!(healed.is_news());
    assert_eq!(healed.items[0].state, DriftState::Healed);
    assert_eq!(healed.items[0].healed_at, Some(WallTime(world.now)));
    assert_eq!(world.scan(), Scan::default(), "a healed item is told once");
    world.scale_by_hand(5);
    let back = world.scan();
    assert_eq!(
        (back.items[0].state, back.items[0].count),
        (DriftState::Open, 2)
    );
    assert_eq!(back.items[0].healed_at, None);
}

#[test]
fn an_object_that_somebody_goes_on_changing_is_one_item_until_all_of_it_is_put_back() {
    let mut world = World::new();
    world.scale_by_hand(5);
    let first = world.scan().items[0].first_seen;
    world.set("/run/command", json!("other"), "bob");
    let more = world.scan();
    assert_eq!((more.items.len(), more.news.len()), (1, 1));
    world.scale_by_hand(3);
    let less = world.scan();
    assert_eq!((less.items.len(), less.news.len()), (1, 1));
    for (scan, fields) in [(&more, 2), (&less, 1)] {
        let item = &scan.items[0];
        assert_eq!(
            (item.state, item.first_seen, item.count, item.fields.len()),
            (DriftState::Open, first, 1, fields)
        );
    }
    assert!(!world.scan().is_news());
    world.set("/run/command", json!("web"), "bob");
    let healed = world.scan();
    assert_eq!(healed.items[0].state, DriftState::Healed);
    assert_eq!(world.ledger, healed.items, "nothing else was healed before");
}

#[test]
fn a_field_that_is_put_back_as_another_is_set_is_healed_and_the_other_is_opened() {
    let mut world = World::new();
    world.scale_by_hand(5);
    world.scan();
    world.set("/run/command", json!("other"), "bob");
    world.scale_by_hand(3);
    let scan = world.scan();
    let told: Vec<(&str, DriftState)> = scan
        .items
        .iter()
        .map(|item| (item.fields[0].path.as_str(), item.state))
        .collect();
    assert_eq!(
        told,
        [
            ("/spec/instances", DriftState::Healed),
            ("/spec/run/command", DriftState::Open)
        ]
    );
}

#[test]
fn what_a_commit_changed_is_no_drift() {
    let mut world = World::new();
    let text = "apiVersion: kelson/v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec:\n  instances: 9\n  run: {command: web}\n";
    world.loaded = Some(load_commit(&[("web.yaml", text.as_bytes())]));
    assert_eq!(world.scan(), Scan::default());
}

#[test]
fn a_removed_and_an_added_field_are_told_as_such() {
    let mut world = World::new();
    world.set("/update", Value::Null, "alice");
    world.set("/extra", json!(1), "alice");
    let ops: Vec<(String, String)> = world.scan().items[0]
        .fields
        .iter()
        .map(|field| (field.path.clone(), field.op.clone()))
        .collect();
    assert_eq!(
        ops,
        [
            ("/spec/update".to_owned(), "removed".to_owned()),
            ("/spec/extra".to_owned(), "added".to_owned())
        ]
    );
}

#[test]
fn two_people_who_set_two_fields_are_two_names() {
    let mut world = World::new();
    world.set("/run/command", json!("other"), "bob");
    world.set("/instances", json!(5), "alice");
    let scan = world.scan();
    let by: Vec<(&str, &str)> = scan.items[0]
        .fields
        .iter()
        .map(|field| {
            let by = field
                .changed_by
                .as_ref()
                .unwrap_or(&scan.items[0].changed_by);
            (field.path.as_str(), by.actor.as_str())
        })
        .collect();
    assert_eq!(
        by,
        [("/spec/instances", "alice"), ("/spec/run/command", "bob")]
    );
    assert_eq!(scan.items[0].changed_by.actor, "alice", "the last one");
}

#[test]
fn another_spelling_of_the_same_is_no_drift() {
    let mut world = World::new();
    world.set("/resources/memory", json!("131072Ki"), "alice");
    assert!(world.live().by_hand.is_some());
    assert_eq!(world.scan(), Scan::default());
}

#[test]
fn drift_is_found_without_git_and_told_with_the_object_s_place() {
    let mut world = World::new();
    world.loaded = None;
    world.scale_by_hand(5);
    let scan = world.scan();
    let origin = scan.items[0].origin.as_ref().unwrap();
    assert_eq!((origin.file.as_str(), origin.line), ("web.yaml", 1));
    assert_eq!(scan.items[0].fields[0].desired, json!(3));
    world.loaded = Some(load_commit(&[("web.yaml", b"kind: [")]));
    assert!(
        !world.scan().is_news(),
        "a bad file changes nothing about it"
    );
}

#[test]
fn of_drift_beyond_what_a_ledger_keeps_the_rest_is_counted_and_comes_in_when_there_is_room() {
    let mut world = World::new();
    let mut one = world.live().clone();
    // A kind without a schema, so that nothing is brought into normal form.
    one.key.kind = "Bird".to_owned();
    world.observed = (0..2 * DriftItem::KEPT_OPEN)
        .map(|n| {
            let mut live = one.clone();
            live.key.name = format!("s{n:05}");
            (live.key.clone(), live)
        })
        .collect();
    for live in world.observed.values_mut() {
        live.by_hand = Some(Arc::new(ByHand {
            accepted: json!({"instances": 1}).into(),
            fields: Vec::new(),
        }));
        live.spec = json!({"instances": 2}).into();
        live.origin = None;
    }
    let first = world.scan();
    assert_eq!(
        first.items.len() + first.unlisted.count(),
        world.observed.len()
    );
    assert!(first.items.len() <= DriftItem::KEPT_OPEN);
    assert!(!world.scan().is_news(), "those that are listed stay listed");
    let listed = first.items[0].object.clone();
    world.observed.get_mut(&listed).unwrap().by_hand = None;
    assert_eq!(world.scan().news[0].state, DriftState::Healed);
    let next = world.scan();
    assert_eq!((next.news.len(), next.news[0].state), (1, DriftState::Open));
    assert_eq!(
        next.unlisted.count(),
        first.unlisted.count() - 1,
        "one came in"
    );
}

#[test]
fn of_drift_beyond_a_ledger_it_is_said_which_limit_it_is_beyond() {
    let mut world = World::new();
    let mut one = world.live().clone();
    one.key.kind = "Bird".to_owned();
    let value = "x".repeat(500);
    let drifted = (0..DriftItem::KEPT_OPEN).map(|n| {
        let mut live = one.clone();
        live.key.name = format!("s{n:05}");
        live.origin = None;
        live.by_hand = Some(Arc::new(ByHand {
            accepted: json!({"a": value, "b": value, "c": value}).into(),
            fields: Vec::new(),
        }));
        live.spec = json!({"a": 1, "b": 1, "c": 1}).into();
        (live.key.clone(), live)
    });
    world.observed = drifted.collect();
    let unlisted = world.scan().unlisted;
    assert!(
        unlisted.by_size > 0 && unlisted.by_number == 0,
        "{unlisted:?}"
    );
}

#[test]
fn a_task_killed_from_outside_is_drift_by_nobody_known_and_heals_when_it_is_replaced() {
    let mut world = World::new();
    world.tasks = vec![died_of(1, 9)];
    let scan = world.scan();
    let item = &scan.items[0];
    assert_eq!(
        (item.plane, item.task, item.state),
        (Plane::Placement, Some(TaskId(1)), DriftState::Open)
    );
    assert_eq!(item.changed_by, Principal::new("unknown", "signal"));
    assert_eq!(
        (item.fields[0].path.as_str(), item.fields[0].op.as_str()),
        ("/tasks/web.0", "killed")
    );
    assert_eq!(item.fields[0].live, json!("killed by SIGKILL"));
    world.tasks.push(task(2, 0, TaskState::Starting));
    assert_eq!(world.scan().items[0].state, DriftState::Open);
    world.tasks[1].state = TaskState::Running;
    assert_eq!(world.scan().items[0].state, DriftState::Healed);
    assert_eq!(
        world.scan(),
        Scan::default(),
        "the row stays, and is not told again"
    );
}

#[test]
fn a_death_that_was_healed_is_not_told_again_when_its_replacement_ends() {
    let mut world = World::new();
    world.tasks = vec![died_of(1, 9), task(2, 0, TaskState::Running)];
    assert_eq!(world.scan().items[0].state, DriftState::Healed);
    world.tasks[1].state = TaskState::Finished;
    assert_eq!(world.scan(), Scan::default());
}

#[test]
fn a_task_that_was_killed_and_replaced_between_two_scans_is_told_all_the_same() {
    let mut world = World::new();
    world.tasks = vec![died_of(1, 15), task(2, 0, TaskState::Running)];
    let scan = world.scan();
    assert_eq!(
        (scan.items[0].state, scan.items[0].task),
        (DriftState::Healed, Some(TaskId(1)))
    );
    assert!(scan.is_news());
    assert_eq!(world.scan(), Scan::default());
}

#[test]
fn a_crash_an_exit_and_what_the_cluster_did_itself_are_no_drift() {
    let mut world = World::new();
    let with = |id, change: &dyn Fn(&mut ObservedTask)| {
        let mut task = died_of(id, 9);
        change(&mut task);
        task
    };
    world.tasks = vec![
        died_of(1, 11),
        died_of(2, 6),
        with(3, &|task| task.exit.as_mut().unwrap().oom = true),
        with(4, &|task| task.exit.as_mut().unwrap().by_agent = true),
        with(5, &|task| {
            task.exit = Some(Exit {
                code: Some(1),
                ..Exit::default()
            });
        }),
        with(6, &|task| task.stop_reason = Some(StopReason::Replaced)),
        with(7, &|task| task.state = TaskState::Running),
        task(8, 1, TaskState::Lost),
    ];
    assert_eq!(world.scan(), Scan::default());
}

#[test]
fn a_task_stopped_by_a_person_names_the_person() {
    let mut world = World::new();
    world.tasks = vec![ObservedTask {
        stop_reason: Some(StopReason::ByHand),
        stopped_by: Some(Principal::new("bob", "cli")),
        ..task(1, 0, TaskState::Killed)
    }];
    let scan = world.scan();
    assert_eq!(scan.items[0].changed_by, Principal::new("bob", "cli"));
    assert_eq!(scan.items[0].fields[0].live, json!("stopped by hand"));
}

#[test]
fn a_full_ledger_does_not_tell_old_deaths_again() {
    let mut world = World::new();
    world.tasks = (1..=150).map(|id| died_of(id, 9)).collect();
    world.tasks.push(task(1000, 0, TaskState::Running));
    assert_eq!(world.scan().items.len(), 150);
    assert_eq!(world.ledger.len(), DriftItem::KEPT_HEALED);
    assert_eq!(world.scan(), Scan::default());
}

#[test]
fn what_an_agent_found_is_passed_on_with_its_place_and_is_the_kernel_s_to_heal() {
    let mut world = World::new();
    world.agents = vec![DriftItem {
        object: key("web"),
        task: Some(TaskId(1)),
        plane: Plane::Agent,
        state: DriftState::Open,
        policy: DriftPolicy::Enforce,
        origin: None,
        fields: vec![FieldDrift {
            path: "cgroup/memory.limit_in_bytes".to_owned(),
            op: "changed".to_owned(),
            desired: json!("256Mi"),
            live: json!("512Mi"),
            changed_by: None,
        }],
        changed_by: Principal::new("unknown", "agent"),
        first_seen: WallTime(5),
        healed_at: None,
        count: 1,
    }];
    let scan = world.scan();
    assert_eq!(scan.items[0].origin.as_ref().unwrap().file, "web.yaml");
    assert!(!scan.is_news(), "the kernel has it already");
    world.agents.clear();
    assert_eq!(world.scan(), Scan::default());
}

#[test]
fn what_git_asks_is_accepted_anew_where_the_kernel_does_not_know_it() {
    let mut world = World::new();
    let loaded = world.loaded.clone().unwrap();
    let context = Context {
        source: "dev",
        ..Context::default()
    };
    let steps = |observed: &BTreeMap<ObjectKey, ObservedObject>| -> Vec<StepKind> {
        let plan = plan(&loaded, observed, context);
        plan.steps.iter().map(|step| step.kind).collect()
    };
    assert_eq!(steps(&world.observed), []);
    world.live().is_word_unknown = true;
    assert_eq!(steps(&world.observed), [StepKind::Move]);
    with_instances(world.live(), 4);
    assert_eq!(steps(&world.observed), [StepKind::Update]);
}
