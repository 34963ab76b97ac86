//! What holds after every entry, whatever came before.

use std::collections::{BTreeMap, BTreeSet};

use kelson_kernel_core::assignment::{Order, assignment};
use kelson_kernel_core::command::{Command, CommitTurn};
use kelson_kernel_core::form::{decode_entry, decode_reply, encode_entry, encode_reply};
use kelson_kernel_core::port::{RefusalRow, SeatId};
use kelson_kernel_core::record::Seat;
use kelson_kernel_core::{Entry, Records, Reply, State, apply, broken_invariants};
use kelson_model::id::TaskId;
use kelson_model::task::TaskState;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::properties::generator::{Applied, run, steps};
use crate::world::{is_unchanged, through_snapshot};

/// Whether every agent has what its tasks hold, and no port is held twice. An agent that came back
/// smaller may hold more than it has, but is given nothing.
fn assert_not_oversubscribed(one: &Applied) {
    for agent in one.after.agents.values() {
        let before = one.before.agents.get(&agent.id).map(|agent| agent.used);
        let is_given = agent.used.cpus > before.unwrap_or_default().cpus;
        assert!(
            !is_given || agent.description.resources.fits(&agent.used),
            "{} holds {} of {}",
            agent.id,
            agent.used,
            agent.description.resources
        );
        let mut ports = BTreeSet::new();
        for task in one
            .after
            .tasks_on(agent.id)
            .filter(|task| !task.state().is_terminal())
        {
            for port in task.port_numbers() {
                assert!(ports.insert(*port), "port {port} is held twice");
            }
        }
        assert_eq!(ports.len(), agent.used_ports.len());
        let range = agent.description.ports;
        let in_range = ports.range(range.first..=range.last).count();
        assert_eq!(u32::try_from(in_range).unwrap(), agent.used_in_range);
    }
}

fn assert_tasks_go_forward(one: &Applied) {
    for before in one.before.tasks.iter() {
        let id = before.id();
        let Some(after) = one.after.tasks.get(id) else {
            assert!(
                before.state().is_terminal() || one.after.object_of(before.workload()).is_none(),
                "{id} was dropped while it ran"
            );
            continue;
        };
        assert!(after.sequence() >= before.sequence());
        assert!(
            after.assignment() >= before.assignment(),
            "an order went back"
        );
        if before.state().is_terminal() {
            assert_eq!(after.state(), before.state(), "{id} left a terminal state");
            assert_eq!(after.exit(), before.exit());
        }
        let order = |state: &State, task| assignment(state, task).order;
        let (old, new) = (order(&one.before, before), order(&one.after, after));
        let is_kept = matches!((&old, &new), (Order::Run(_), Order::Run(_))) || old == new;
        assert!(
            is_kept || after.assignment() > before.assignment(),
            "{id}: another order under the same generation: {old:?} and {new:?}"
        );
    }
    for task in one.after.tasks.iter() {
        let id = task.id();
        if !one.before.tasks.contains(id) {
            assert!(id > one.before.last_task, "{id} was there before");
            assert_eq!(task.state(), TaskState::Staging);
        }
    }
}

/// Tasks of a workload that is no more were asked to end; nobody holds what belongs to nobody.
fn assert_nothing_is_left_behind(state: &State) {
    for task in state.tasks.iter() {
        match state.object_of(task.workload()) {
            Some(object) => assert_eq!(object.key, *task.object()),
            None => {
                let mut others = state.tasks_of(task.workload());
                assert!(
                    others.any(|task| !task.state().is_terminal()),
                    "{} is left",
                    task.id()
                );
                assert!(
                    task.stop().is_some() || task.state().is_terminal(),
                    "{} runs on",
                    task.id()
                );
            }
        }
        if let Some(object) = state.object_of(task.workload())
            && !task.state().is_terminal()
            && let Some(seat) = state.seat_of(&object.key)
        {
            assert_eq!(
                *task.seat(),
                seat,
                "{} is held by a seat that may not end it",
                task.id()
            );
        }
    }
    for object in state.objects.values() {
        assert!(object.history.len() <= 11);
        let has_tasks = |workload| state.tasks_of(workload).count() > 0;
        let is_used = if object.key.kind == "Framework" {
            let mut others = state.objects.keys().filter(|key| key.kind != "Framework");
            others.any(|key| {
                let handles = state.framework_for(&key.kind, &key.namespace);
                handles.is_some_and(|handles| handles.key == object.key)
            }) || state
                .tasks
                .iter()
                .any(|task| task.seat().framework == object.key)
        } else {
            object.workload.is_some_and(has_tasks)
        };
        assert!(
            !object.is_removed || is_used,
            "{} is left behind",
            object.key
        );
    }
}

fn is_refused(reply: &Reply) -> bool {
    matches!(reply, Reply::Refused(_) | Reply::Void { .. })
}

/// Whether the client's answer was known before, so that nothing was done.
fn is_repeated(one: &Applied) -> bool {
    one.entry.client.as_ref().is_some_and(|(client, sequence)| {
        let known = one.before.clients.get(client);
        known.is_some_and(|known| known.sequence >= *sequence)
    })
}

/// The turn without the groups that were refused.
fn without(turn: &CommitTurn, refused: &BTreeSet<u32>) -> CommitTurn {
    let mut turn = turn.clone();
    turn.operations
        .retain(|operation| !refused.contains(&operation.group));
    turn.writes.retain(|write| !refused.contains(&write.group));
    turn
}

fn with_refusals_of_group_0(state: &State) -> Records {
    let mut state = Records::clone(state);
    let seats: Vec<Seat> = state.seats.values().map(|seat| Seat::clone(seat)).collect();
    for mut seat in seats {
        let kept: Vec<RefusalRow> = seat
            .refusals
            .iter()
            .filter(|refusal| refusal.group == 0)
            .cloned()
            .collect();
        seat.refusals = kept.into();
        state.seats.insert(seat.id.clone(), seat.into());
    }
    state
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_entry_leaves_the_invariants_whole(steps in steps(40)) {
        for one in run(&steps) {
            prop_assert!(one.after.has_true_hashes(), "after {:?}", one.entry);
            let broken = broken_invariants(&one.after);
            prop_assert!(broken.is_empty(), "after {:?}: {:?}", one.entry, broken);
            assert_not_oversubscribed(&one);
            assert_tasks_go_forward(&one);
            assert_nothing_is_left_behind(&one.after);
        }
    }

    #[test]
    fn what_is_refused_or_void_changes_nothing_but_index_and_time(steps in steps(40)) {
        for one in run(&steps).iter().filter(|one| is_refused(&one.reply)) {
            let entry = Entry { client: None, ..one.entry.clone() };
            let mut state = one.before.clone();
            let reply = apply(&mut state, one.after.index, &entry);
            if is_refused(&reply) {
                prop_assert!(is_unchanged(&one.before, &state), "{:?}", one.entry);
            }
        }
    }

    #[test]
    fn replay_equals_snapshot_plus_tail_and_one_member_equals_another(steps in steps(40), cut in 0usize..60) {
        let all = run(&steps);
        let mut replayed = State::default();
        let mut from_snapshot: Option<State> = None;
        for (place, one) in all.iter().enumerate() {
            if place == cut.min(all.len() - 1) {
                from_snapshot = Some(through_snapshot(&one.before));
            }
            let reply = apply(&mut replayed, one.after.index, &one.entry);
            prop_assert_eq!(&reply, &one.reply);
            if let Some(state) = &mut from_snapshot {
                prop_assert_eq!(&apply(state, one.after.index, &one.entry), &one.reply);
            }
        }
        let last = all.last().unwrap();
        prop_assert!(replayed == last.after, "two members differ");
        let tail = from_snapshot.unwrap();
        prop_assert!(tail == replayed, "snapshot plus tail differs from replay");
        prop_assert_eq!(tail.hash(), replayed.hash());
        for task in tail.tasks.iter() {
            let id = task.id();
            prop_assert!(last.after.tasks_of(task.workload()).any(|other| other.id() == id));
            prop_assert!(last.after.tasks_on(task.agent()).any(|other| other.id() == id));
        }
    }

    #[test]
    fn entries_and_replies_are_read_back_as_they_were_written(steps in steps(40)) {
        for one in run(&steps) {
            let bytes = encode_entry(&one.entry, 0).unwrap();
            prop_assert_eq!(decode_entry(&bytes).unwrap().entry, one.entry);
            let bytes = encode_reply(&one.reply, 0).unwrap();
            prop_assert_eq!(decode_reply(&bytes).unwrap(), one.reply);
        }
    }

    #[test]
    fn a_group_is_accepted_or_refused_whole(steps in steps(40)) {
        for one in run(&steps) {
            let (Command::CommitTurn(turn), Reply::Counted { refusals, .. }) = (&one.entry.command, &one.reply) else {
                continue;
            };
            let refused: BTreeSet<u32> = refusals.iter().map(|refusal| refusal.group).filter(|group| *group != 0).collect();
            if refused.is_empty() || is_repeated(&one) {
                continue;
            }
            let entry = Entry {
                command: Command::CommitTurn(without(turn, &refused)),
                client: None,
                ..one.entry.clone()
            };
            let mut state = one.before.clone();
            apply(&mut state, one.after.index, &entry);
            let mut replayed = with_refusals_of_group_0(&state);
            replayed.clients = one.after.clients.clone();
            prop_assert!(
                replayed == with_refusals_of_group_0(&one.after),
                "something of a refused group was done: {:?}", one.entry
            );
        }
    }

    #[test]
    fn a_repeated_entry_of_a_client_is_answered_alike_and_done_once(steps in steps(40)) {
        for one in run(&steps).iter().filter(|one| one.entry.client.is_some()) {
            let Some((client, sequence)) = &one.entry.client else { continue };
            if one.after.clients[client].sequence != *sequence {
                continue;
            }
            let mut state = one.after.clone();
            let reply = apply(&mut state, kelson_model::id::Index(one.after.index.0 + 1), &one.entry);
            prop_assert_eq!(&reply, &one.reply);
            prop_assert!(is_unchanged(&one.after, &state));
        }
    }

    #[test]
    fn a_task_id_starts_once(steps in steps(60)) {
        let mut started: BTreeMap<TaskId, u64> = BTreeMap::new();
        for one in run(&steps) {
            for id in one.after.tasks.ids().filter(|id| !one.before.tasks.contains(*id)) {
                let first = started.insert(id, one.after.index.0);
                prop_assert_eq!(first, None);
            }
        }
    }
}

/// The promises above would hold of entries that do nothing.
#[test]
fn random_entries_reach_what_the_promises_are_about() {
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..48 {
        let drawn = steps(40).new_tree(&mut runner).unwrap().current();
        for one in run(&drawn) {
            let mut note =
                |what, is_seen: bool| *seen.entry(what).or_default() += usize::from(is_seen);
            let (before, after) = (&one.before, &one.after);
            note("launched", after.last_task > before.last_task);
            note("void", matches!(one.reply, Reply::Void { .. }));
            note("refused", matches!(one.reply, Reply::Refused(_)));
            note("repeated", is_repeated(&one));
            let of_group =
                |refusals: &Vec<RefusalRow>| refusals.iter().any(|refusal| refusal.group != 0);
            note(
                "group refused",
                matches!(&one.reply, Reply::Counted { refusals, .. } if of_group(refusals)),
            );
            let has_ports = |state: &State| {
                state
                    .agents
                    .values()
                    .any(|agent| !agent.used_ports.is_empty())
            };
            note("ports", has_ports(after));
            let is_orphan = |state: &State| {
                state
                    .tasks
                    .iter()
                    .any(|task| state.object_of(task.workload()).is_none())
            };
            note("made again while tasks end", is_orphan(after));
            let ended = |state: &State| {
                state
                    .tasks
                    .iter()
                    .filter(|task| task.state().is_terminal())
                    .count()
            };
            note("ended", ended(after) > ended(before));
            note(
                "quarantined",
                after
                    .objects
                    .values()
                    .any(|object| object.quarantine.is_some()),
            );
            let is_handed_over = |id: TaskId, seat: &SeatId| {
                before.tasks.get(id).is_some_and(|task| task.seat() != seat)
            };
            note(
                "handed over",
                after
                    .tasks
                    .iter()
                    .any(|task| is_handed_over(task.id(), task.seat())),
            );
        }
    }
    let missing: Vec<_> = seen.iter().filter(|(_, count)| **count < 3).collect();
    assert!(missing.is_empty(), "{seen:?}");
}
