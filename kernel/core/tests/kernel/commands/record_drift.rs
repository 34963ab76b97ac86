use kelson_kernel_core::Reply;
use kelson_kernel_core::command::{Command, RecordAgentDrift};
use kelson_model::code::Code;
use kelson_model::drift::{DriftItem, DriftState, FieldDrift, Plane};
use kelson_model::object::DriftPolicy;
use kelson_model::principal::Principal;
use kelson_model::request::DriftReportUpdate;
use kelson_model::time::WallTime;
use serde_json::json;

use crate::world::{SOURCE, World, desired, is_unchanged, service, spec};

fn item(name: &str, healed_at: Option<u64>) -> DriftItem {
    DriftItem {
        object: service(name),
        task: None,
        plane: Plane::Specification,
        state: if healed_at.is_some() {
            DriftState::Healed
        } else {
            DriftState::Open
        },
        policy: DriftPolicy::Enforce,
        origin: None,
        fields: vec![FieldDrift {
            path: "/spec/instances".to_owned(),
            op: "changed".to_owned(),
            desired: json!(3),
            live: json!(5),
            changed_by: None,
        }],
        changed_by: Principal::new("alice", "cli"),
        first_seen: WallTime(1),
        healed_at: healed_at.map(WallTime),
        count: 1,
    }
}

fn update(items: Vec<DriftItem>) -> Command {
    Command::RecordDrift(DriftReportUpdate {
        source: SOURCE.to_owned(),
        items,
        is_delta: false,
    })
}

fn told(world: &World, reason: &str) -> usize {
    let events = world.state.events.iter();
    events.filter(|event| event.reason == reason).count()
}

#[test]
fn open_items_are_replaced_and_told_once() {
    let mut world = World::new();
    world.done(update(vec![item("web", None)]));
    world.done(update(vec![item("web", None), item("api", None)]));
    assert_eq!(world.state.drift.len(), 2);
    assert_eq!(told(&world, "DriftSeen"), 2);
    let before = world.state.clone();
    world.done(update(vec![item("web", None), item("api", None)]));
    assert!(is_unchanged(&before, &world.state));
    world.done(update(Vec::new()));
    assert!(world.state.drift.is_empty());
}

#[test]
fn healed_items_are_added_once() {
    let mut world = World::new();
    world.done(update(vec![item("web", None)]));
    for _ in 0..2 {
        world.done(update(vec![item("web", Some(7))]));
    }
    assert_eq!(world.state.drift.len(), 1);
    assert_eq!(told(&world, "DriftHealed"), 1);
}

#[test]
fn the_newest_hundred_healed_items_are_kept() {
    let mut world = World::new();
    for at in 0..120 {
        world.done(update(vec![item("web", Some(at))]));
    }
    let kept: Vec<u64> = world
        .state
        .drift
        .iter()
        .filter_map(|item| item.healed_at)
        .map(|at| at.0)
        .collect();
    assert_eq!(kept, (20..120).collect::<Vec<_>>());
}

#[test]
fn healed_items_keep_the_beginning_of_long_values_and_are_told_once() {
    let mut world = World::new();
    let long = |at: u64| {
        let field = |n: usize| FieldDrift {
            path: format!("/spec/{n}"),
            op: "changed".to_owned(),
            desired: json!(3),
            live: json!("x".repeat(2_000)),
            changed_by: None,
        };
        DriftItem {
            fields: (0..40).map(field).collect(),
            ..item("web", Some(at))
        }
    };
    let count = u64::try_from(DriftItem::KEPT_HEALED).unwrap();
    let mut all: Vec<DriftItem> = (0..2 * count).map(long).collect();
    world.done(update(all.clone()));
    assert_eq!(world.state.drift.len(), DriftItem::KEPT_HEALED);
    for item in world.state.drift.iter() {
        assert!(serde_json::to_vec(&**item).unwrap().len() < 11 << 10);
        let live = item.fields[0].live.as_str().unwrap();
        assert!(
            live.starts_with("xxx") && live.ends_with("… (2000 bytes)"),
            "{live}"
        );
    }
    let before = world.state.clone();
    world.done(update(all.split_off(DriftItem::KEPT_HEALED)));
    assert!(is_unchanged(&before, &world.state));
}

#[test]
fn what_agents_see_is_left_to_agents() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    world.serve(&service("web"), spec("a", 1));
    let task = world.launch(&service("web"), 0, agent);
    world.done(Command::RecordAgentDrift(RecordAgentDrift {
        agent,
        incarnation: 1,
        task,
        field: "cgroup/memory.limit_in_bytes".to_owned(),
        desired: json!(1),
        live: json!(2),
        is_healed: false,
    }));
    let strange = DriftItem {
        plane: Plane::Agent,
        ..item("web", None)
    };
    world.done(update(vec![strange]));
    assert_eq!(world.state.drift.len(), 1);
    assert_eq!(world.state.drift[0].task, Some(task));
}

#[test]
fn the_drift_of_another_source_is_left_to_it() {
    let mut world = World::new();
    let accept = world.stage(
        "other",
        vec![desired(&service("web"), spec("a", 1))],
        vec![],
    );
    world.done(accept);
    world.done(Command::RecordDrift(DriftReportUpdate {
        source: "other".to_owned(),
        items: vec![item("web", None)],
        is_delta: false,
    }));
    world.done(update(Vec::new()));
    assert_eq!(world.state.drift.len(), 1);
}

fn news(items: Vec<DriftItem>) -> Command {
    Command::RecordDrift(DriftReportUpdate {
        source: SOURCE.to_owned(),
        items,
        is_delta: true,
    })
}

#[test]
fn news_come_in_requests_of_their_own_and_leave_the_rest() {
    let mut world = World::new();
    world.done(news(vec![item("web", None)]));
    world.done(news(vec![item("api", None)]));
    assert_eq!(world.state.drift.len(), 2);
    assert_eq!(told(&world, "DriftSeen"), 2);
    world.done(news(vec![item("web", Some(7))]));
    let states: Vec<(String, DriftState)> = world
        .state
        .drift
        .iter()
        .map(|item| (item.object.name.clone(), item.state))
        .collect();
    assert_eq!(
        states,
        [
            ("api".to_owned(), DriftState::Open),
            ("web".to_owned(), DriftState::Healed)
        ]
    );
}

#[test]
fn an_item_that_goes_on_takes_the_place_of_the_known_one_and_its_new_field_is_told() {
    let mut world = World::new();
    world.done(news(vec![item("web", None)]));
    let mut more = item("web", None);
    more.fields.push(FieldDrift {
        path: "/spec/run/command".to_owned(),
        op: "changed".to_owned(),
        desired: json!("web"),
        live: json!("other"),
        changed_by: None,
    });
    world.done(news(vec![more]));
    assert_eq!(world.state.drift.len(), 1);
    assert_eq!(told(&world, "DriftSeen"), 2);
    world.done(news(vec![item("web", None)]));
    assert_eq!(world.state.drift.len(), 1);
    assert_eq!(told(&world, "DriftSeen"), 2);
    assert_eq!(told(&world, "DriftHealed"), 0);
}

#[test]
fn more_open_items_than_are_kept_are_refused_and_none_is_lost() {
    let mut world = World::new();
    let some = |count: usize| (0..count).map(|n| item(&format!("s{n}"), None)).collect();
    world.done(news(some(5_000)));
    let refusal = world.refused(news(some(2 * DriftItem::KEPT_OPEN)));
    assert_eq!(refusal.code, Code::TooMuchAtOnce);
    assert!(refusal.message.contains("10000 are"), "{}", refusal.message);
    assert_eq!(world.state.drift.len(), 5_000);
}

#[test]
fn open_items_of_more_bytes_than_are_kept_are_refused_until_others_have_gone() {
    let mut world = World::new();
    let large = |n: usize, healed_at| {
        let mut large = item(&format!("s{n}"), healed_at);
        large.fields[0].live = json!("x".repeat(100 << 10));
        large
    };
    let mut kept = 0;
    // Twice as much as there is room for, in requests that each fit an entry.
    for n in 0..2 * DriftItem::KEPT_OPEN_BYTES / (100 << 10) {
        let before = world.state.clone();
        match world.apply(news(vec![large(n, None)])) {
            Reply::Done { .. } => kept += 1,
            Reply::Refused(refusal) => {
                assert_eq!(refusal.code, Code::TooMuchAtOnce);
                assert!(refusal.message.contains("2097152"), "{}", refusal.message);
                assert!(is_unchanged(&before, &world.state));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(kept, 20);
    let row = serde_json::to_vec(&world.state.drift).unwrap().len();
    assert!(row <= DriftItem::KEPT_OPEN_BYTES, "{row}");
    world.done(news(vec![large(0, Some(7))]));
    world.done(news(vec![large(30, None)]));
}
