use kelson_kernel_core::assignment::{Order, assignment};
use kelson_kernel_core::command::Command;
use kelson_kernel_core::port::Op;
use kelson_model::code::Code;
use kelson_model::drift::hands;
use kelson_model::id::Digest;
use kelson_model::object::{DesiredObject, ObjectKey, Sync};
use kelson_model::request::{Accept, Stage};
use kelson_model::task::{StopReason, TaskState};
use serde_json::{Value, json};

use crate::world::{SOURCE, World, desired, revision, service, spec};

fn accept(world: &World, number: u32, parts: u32, objects: u32) -> Accept {
    Accept {
        source: SOURCE.to_owned(),
        revision: revision(number),
        previous: world.applied(SOURCE),
        parts,
        prune: Vec::new(),
        objects,
        going: 0,
        released: Vec::new(),
        hands: None,
    }
}

fn quarantine(world: &mut World, key: &ObjectKey) {
    let object = world.object(key);
    let op = Op::Quarantine {
        workload: object.workload.unwrap(),
        generation: object.generation,
        reason: "it failed".to_owned(),
    };
    assert!(world.operate("default", vec![op]).is_empty());
}

#[test]
fn a_plan_made_against_another_revision_is_refused() {
    let mut world = World::new();
    let first = world.stage(SOURCE, vec![desired(&service("web"), spec("a", 1))], vec![]);
    world.done(first);
    let second = world.stage(SOURCE, vec![desired(&service("web"), spec("b", 1))], vec![]);
    let Command::Accept(second) = second else {
        unreachable!()
    };
    for previous in [None, Some(revision(77))] {
        let stale = Accept {
            previous,
            ..second.clone()
        };
        assert_eq!(world.refused(Command::Accept(stale)).code, Code::StalePlan);
    }
    world.done(Command::Accept(second));
    assert_eq!(
        world.object(&service("web")).spec.value()["run"]["command"],
        "b"
    );
}

#[test]
fn what_was_changed_by_hand_since_the_plan_was_made_is_not_overwritten() {
    let mut world = World::new();
    let (web, api) = (service("web"), service("api"));
    world.serve(&web, spec("a", 1));
    world.serve(&api, spec("a", 1));
    world.set_by_hand(&web, "/spec/instances", json!(5));
    let seen = hands([(&web, world.object(&web).generation)]);
    // What is not set by the flip may be changed as anybody likes.
    world.set_by_hand(&api, "/spec/instances", json!(5));
    world.set_by_hand(&web, "/spec/run/command", json!("b"));
    let back = world.stage(SOURCE, vec![desired(&web, spec("a", 1))], vec![]);
    let Command::Accept(back) = back else {
        unreachable!()
    };
    let with = |hands| {
        Command::Accept(Accept {
            hands: Some(hands),
            ..back.clone()
        })
    };
    for stale in [seen, hands([])] {
        assert_eq!(world.refused(with(stale)).code, Code::StalePlan);
    }
    assert_eq!(world.object(&web).spec.value()["run"]["command"], "b");
    let seen = hands([(&web, world.object(&web).generation)]);
    world.done(with(seen));
    assert_eq!(world.object(&web).sync(), Sync::Synced);
}

#[test]
fn a_lost_part_is_detected() {
    let mut world = World::new();
    world.done(Command::Stage(Stage {
        source: SOURCE.to_owned(),
        revision: revision(5),
        part: 0,
        objects: vec![desired(&service("web"), spec("a", 1))],
        prune: Vec::new(),
    }));
    for (number, parts, objects) in [(5, 2, 1), (5, 1, 2), (6, 1, 1), (5, 1, 0)] {
        let lost = accept(&world, number, parts, objects);
        assert_eq!(world.refused(Command::Accept(lost)).code, Code::NotStaged);
    }
    world.done(Command::Accept(accept(&world, 5, 1, 1)));
    assert!(world.state.staged.is_empty());
    assert_eq!(world.applied(SOURCE), Some(revision(5)));
}

#[test]
fn a_revision_without_parts_needs_no_stage_and_drops_what_lies_there() {
    let mut world = World::new();
    world.done(Command::Accept(accept(&world, 1, 0, 0)));
    world.done(Command::Stage(Stage {
        source: SOURCE.to_owned(),
        revision: revision(2),
        part: 0,
        objects: vec![desired(&service("web"), spec("a", 1))],
        prune: Vec::new(),
    }));
    world.done(Command::Accept(accept(&world, 3, 0, 0)));
    assert_eq!(world.applied(SOURCE), Some(revision(3)));
    assert!(world.state.staged.is_empty() && world.state.objects.is_empty());
}

#[test]
fn only_its_own_source_prunes_an_object_and_a_refused_flip_sets_nothing() {
    let mut world = World::new();
    world.serve(&service("web"), spec("a", 1));
    let objects = vec![desired(&service("api"), spec("a", 1))];
    let other = world.stage("other", objects, vec![service("web")]);
    let refusal = world.refused(other);
    assert_eq!(refusal.code, Code::StalePlan);
    assert!(!world.state.objects.contains_key(&service("api")));
}

#[test]
fn a_removed_workload_without_tasks_is_gone_at_once() {
    let mut world = World::new();
    let workload = world.serve(&service("web"), spec("a", 1));
    world.commit(Vec::new(), vec![service("web"), service("never-there")]);
    assert!(world.state.objects.is_empty());
    assert!(world.state.object_of(workload).is_none());
}

#[test]
fn a_removed_workload_stays_until_its_last_task_has_ended() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let workload = world.serve(&service("web"), spec("a", 2));
    let tasks = [0, 1].map(|slot| world.launch(&service("web"), slot, agent));
    world.say(tasks[0], TaskState::Running);
    world.commit(Vec::new(), vec![service("web")]);
    let object = world.object(&service("web"));
    assert!(object.is_removed);
    assert_eq!(object.sync(), Sync::OutOfSync);
    for task in tasks {
        let order = assignment(&world.state, world.seen(task)).order;
        assert_eq!(order, Order::Stop(StopReason::Removed));
    }
    // Pruned once more, it is asked for nothing more.
    let before = world.task(tasks[0]);
    world.commit(Vec::new(), vec![service("web")]);
    assert_eq!(world.task(tasks[0]), before);
    world.say(tasks[0], TaskState::Killed);
    assert!(world.state.objects.contains_key(&service("web")));
    let index = world.state.index;
    world.say(tasks[1], TaskState::Killed);
    assert!(world.state.objects.is_empty() && world.state.tasks.is_empty());
    assert!(world.state.object_of(workload).is_none());
    let mut dropped: Vec<_> = world.state.dropped_tasks_since(index).unwrap().collect();
    dropped.sort();
    assert_eq!(dropped, tasks.map(|task| (agent, task)));
}

#[test]
fn a_removed_workload_launches_nothing() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let workload = world.serve(&service("web"), spec("a", 2));
    world.launch(&service("web"), 0, agent);
    world.commit(Vec::new(), vec![service("web")]);
    let op = crate::world::launch(workload, 1, 1, agent);
    let refusals = world.operate("default", vec![op]);
    assert_eq!(refusals[0].reason, "the workload was removed");
}

#[test]
fn a_workload_made_again_while_the_old_one_ends_adopts_nothing() {
    let mut world = World::new();
    let agent = world.agent(4, 1024);
    let web = service("web");
    let old = world.serve(&web, spec("a", 2));
    let tasks = [0, 1].map(|slot| world.launch(&web, slot, agent));
    world.commit(Vec::new(), vec![web.clone()]);
    let new = world.serve(&web, spec("a", 2));
    assert_ne!(old, new);
    assert_eq!(world.object(&web).generation, 1);
    assert!(!world.object(&web).is_removed);
    assert_eq!(world.state.tasks_of(new).count(), 0);
    for task in tasks {
        let order = assignment(&world.state, world.seen(task)).order;
        assert_eq!(order, Order::Stop(StopReason::Removed));
    }
    let fresh = world.launch(&web, 0, agent);
    assert_eq!(world.task(fresh).attempts, 1);
    world.say(tasks[0], TaskState::Killed);
    assert_eq!(
        world.state.tasks_of(old).count(),
        2,
        "kept until the last one has ended"
    );
    world.say(tasks[1], TaskState::Killed);
    assert_eq!(world.state.tasks_of(old).count(), 0);
    assert_eq!(world.state.tasks.ids().collect::<Vec<_>>(), [fresh]);
    assert!(world.state.objects.contains_key(&web));
}

#[test]
fn the_same_specification_keeps_its_generation() {
    let mut world = World::new();
    world.serve(&service("web"), spec("a", 1));
    let mut again = desired(&service("web"), spec("a", 1));
    again.labels.insert("team".to_owned(), "shop".to_owned());
    again.origin.line = 9;
    world.commit(vec![again.clone()], Vec::new());
    let object = world.object(&service("web"));
    assert_eq!(object.generation, 1);
    assert_eq!(
        (&object.labels, object.origin.as_ref()),
        (&again.labels, Some(&again.origin))
    );
    assert_eq!(object.revision, world.applied(SOURCE));
}

#[test]
fn a_quarantine_outlives_the_same_specification_and_ends_with_a_new_one() {
    let mut world = World::new();
    let web = service("web");
    world.serve(&web, spec("bad", 1));
    quarantine(&mut world, &web);
    world.serve(&web, spec("bad", 1));
    assert_eq!(world.object(&web).quarantined_generation(), 1);
    assert_eq!(world.object(&web).sync(), Sync::OutOfSync);
    world.serve(&web, spec("better", 1));
    assert_eq!(world.object(&web).quarantine, None);
    assert_eq!(world.object(&web).sync(), Sync::Synced);
}

#[test]
fn a_quarantine_outlives_a_change_by_hand_and_back() {
    let mut world = World::new();
    let web = service("web");
    world.serve(&web, spec("bad", 1));
    quarantine(&mut world, &web);
    world.set_by_hand(&web, "/spec/instances", json!(2));
    let by_hand = world.object(&web);
    assert_eq!(by_hand.generation, 2);
    assert_ne!(
        by_hand.quarantined_generation(),
        2,
        "what was made by hand may be tried"
    );
    world.serve(&web, spec("bad", 1));
    let back = world.object(&web);
    assert_eq!((back.generation, back.quarantined_generation()), (3, 3));
    assert_eq!(back.sync(), Sync::OutOfSync);
}

#[test]
fn what_git_takes_over_from_a_hand_ends_the_quarantine() {
    let mut world = World::new();
    let web = service("web");
    world.serve(&web, spec("bad", 1));
    quarantine(&mut world, &web);
    world.set_by_hand(&web, "/spec/instances", json!(2));
    world.serve(&web, spec("bad", 2));
    assert_eq!(world.object(&web).quarantine, None);
    assert_eq!(world.object(&web).sync(), Sync::Synced);
}

#[test]
fn ten_generations_are_kept_beside_the_good_one() {
    let mut world = World::new();
    let web = service("web");
    let workload = world.serve(&web, spec("a", 1));
    let good = Op::SetGoodGeneration {
        workload,
        generation: 1,
    };
    assert!(world.operate("default", vec![good]).is_empty());
    for instances in 2..=14 {
        world.serve(&web, spec("a", instances));
    }
    let kept = |world: &World| -> Vec<u64> {
        let object = world.object(&web);
        object.history.iter().map(|kept| kept.number).collect()
    };
    assert_eq!(kept(&world), [1, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
    let good = Op::SetGoodGeneration {
        workload,
        generation: 14,
    };
    assert!(world.operate("default", vec![good]).is_empty());
    world.serve(&web, spec("a", 15));
    assert_eq!(kept(&world), [6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
}

#[test]
fn objects_of_a_kind_that_nobody_handles_have_no_workload() {
    let mut world = World::new();
    let key = ObjectKey::new("Bird", crate::world::ns("default"), "crow");
    world.commit(vec![desired(&key, json!({"colour": "black"}))], Vec::new());
    assert_eq!(world.object(&key).workload, None);
    world.commit(Vec::new(), vec![key]);
    assert!(world.state.objects.is_empty());
}

#[test]
fn what_is_to_go_comes_in_parts_and_a_lost_part_of_it_is_detected() {
    let mut world = World::new();
    let names: Vec<ObjectKey> = (0..8_000).map(|n| service(&format!("s{n}"))).collect();
    let objects = names.iter().map(|key| desired(key, spec("a", 1)));
    world.commit(objects.collect(), Vec::new());
    for (part, keys) in (0..).zip(names.chunks(4_000)) {
        world.done(Command::Stage(Stage {
            source: SOURCE.to_owned(),
            revision: revision(999),
            part,
            objects: Vec::new(),
            prune: keys.to_vec(),
        }));
    }
    let all = Accept {
        going: 8_000,
        ..accept(&world, 999, 2, 0)
    };
    let less = Accept {
        going: 4_000,
        ..all.clone()
    };
    assert_eq!(world.refused(Command::Accept(less)).code, Code::NotStaged);
    world.done(Command::Accept(all));
    assert!(world.state.objects.is_empty());
}

#[test]
fn a_quarantine_is_for_what_was_written_and_outlives_another_default() {
    let mut world = World::new();
    let web = service("web");
    let written = |spec: Value, text: &str| DesiredObject {
        written: Some(Digest::of(text.as_bytes())),
        ..desired(&web, spec)
    };
    world.commit(vec![written(spec("bad", 1), "bad")], Vec::new());
    quarantine(&mut world, &web);
    let mut with_default = spec("bad", 1);
    with_default["grace"] = json!("10s");
    world.commit(vec![written(with_default.clone(), "bad")], Vec::new());
    let object = world.object(&web);
    assert_eq!((object.generation, object.quarantined_generation()), (2, 2));
    // The same again is still the same.
    world.commit(vec![written(with_default, "bad")], Vec::new());
    assert_eq!(world.object(&web).quarantined_generation(), 2);
    world.commit(vec![written(spec("bad", 2), "bad, twice")], Vec::new());
    assert_eq!(world.object(&web).quarantine, None);
}

#[test]
fn a_specification_is_held_once_also_after_a_snapshot() {
    let mut world = World::new();
    world.serve(&service("web"), spec("a", 1));
    for state in [&world.state, &crate::world::through_snapshot(&world.state)] {
        let object = &state.objects[&service("web")];
        let newest = object.history.last().unwrap();
        assert!(newest.spec.shares_with(&object.spec));
    }
}
