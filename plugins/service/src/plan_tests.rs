#![expect(clippy::unwrap_used, reason = "tests")]

use kelson_sdk::{Health, Rollout, Workload};

use super::*;
use crate::backoff::Backoff;
use crate::spec::{Ports, Spec, Update};
use crate::view::Want;

const OLD: u64 = 100;
const NEW: u64 = 200;
const NOW: u64 = 1_000_000;

fn spec(instances: u32) -> Spec {
    Spec {
        instances,
        backoff: Backoff {
            initial: 1000,
            factor: 1150,
            max: 300_000,
        },
        update: Update {
            max_unavailable: 0,
            max_surge: 1,
            min_healthy: 5000,
            deadline: 600_000,
            on_failure: OnFailure::Rollback,
        },
        ports: Ports::default(),
        shape: "0.5 cpus and 256Mi".into(),
    }
}

/// Generation 2 with a new template, after a good generation 1.
fn updated() -> Workload {
    Workload {
        id: 7,
        generation: 2,
        good_generation: Some(1),
        quarantined_generation: None,
        template_id: NEW,
        good_template_id: Some(OLD),
        generation_since: NOW - 10_000,
        kind: 0,
        is_gone: false,
    }
}

/// A first generation that was not good yet.
fn first() -> Workload {
    Workload {
        generation: 1,
        good_generation: None,
        good_template_id: None,
        ..updated()
    }
}

/// A generation that is good already.
fn settled() -> Workload {
    Workload {
        good_generation: Some(2),
        good_template_id: Some(NEW),
        generation_since: NOW - 900_000,
        ..updated()
    }
}

fn task(id: u64, slot: u32, template_id: u64) -> Task {
    Task {
        id,
        workload: 7,
        generation: if template_id == NEW { 2 } else { 1 },
        template: 0,
        template_id,
        slot,
        agent: 1,
        state: TaskState::Running,
        health: Check::Healthy,
        is_ready: true,
        is_stop_asked: false,
        is_ended_by_hand: false,
        is_out_of_memory: false,
        is_agent_lost: false,
        is_port_taken: false,
        state_since: NOW - 9000,
        healthy_since: Some(NOW - 8000),
        exit_code: None,
        attempts: 1,
    }
}

/// A task that has only begun.
fn starting(id: u64, slot: u32, template_id: u64) -> Task {
    Task {
        state: TaskState::Starting,
        health: Check::Unknown,
        is_ready: false,
        healthy_since: None,
        ..task(id, slot, template_id)
    }
}

/// A task that failed `ago` ms ago.
fn failed(id: u64, slot: u32, template_id: u64, attempts: u32, ago: u64) -> Task {
    Task {
        state: TaskState::Failed,
        state_since: NOW - ago,
        exit_code: Some(1),
        attempts,
        ..starting(id, slot, template_id)
    }
}

fn plan_at(row: &Workload, spec: &Spec, tasks: &[Task], unreachable: Option<u32>) -> Plan {
    let is_reachable = |agent: u32| Some(agent) != unreachable;
    let mut tasks: Vec<&Task> = tasks.iter().collect();
    tasks.sort_by_key(|task| (task.slot, task.id));
    let view = View {
        row,
        want: Want::of(row),
        spec,
        is_port_shared: false,
        is_port_fixed: !spec.ports.fixed.is_empty(),
        name: "web",
        now: NOW,
        counted_from: None,
        is_reachable: &is_reachable,
        end_of: &|_| Some("could not be started: another program listens at port 8080".to_owned()),
    };
    plan_workload(&view, tasks.into_iter())
}

fn plan(row: &Workload, spec: &Spec, tasks: &[Task]) -> Plan {
    plan_at(row, spec, tasks, None)
}

fn slots(plan: &Plan) -> Vec<u32> {
    plan.starts.iter().map(|start| start.slot).collect()
}

fn said(plan: &Plan) -> (Health, Rollout, &str, &str) {
    let status = plan.status.as_ref().unwrap();
    (
        status.health,
        status.rollout,
        status.reason.word(),
        status.message.as_str(),
    )
}

#[test]
fn missing_slots_are_started() {
    let plan = plan(&first(), &spec(3), &[task(1, 1, NEW)]);
    assert_eq!(slots(&plan), [0, 2]);
    assert!(plan.kills.is_empty());
    assert_eq!(
        said(&plan),
        (
            Health::Progressing,
            Rollout::Progressing,
            "Waiting",
            "1 of 3 healthy; waiting for an offer for web.0"
        )
    );
}

#[test]
fn a_whole_service_is_good_once_and_then_idle() {
    let tasks = [task(1, 0, NEW), task(2, 1, NEW)];
    let whole = plan(&first(), &spec(2), &tasks);
    assert!(whole.is_good);
    assert_eq!(
        said(&whole),
        (Health::Healthy, Rollout::Complete, "", "2 of 2 healthy")
    );
    let after = plan(&settled(), &spec(2), &tasks);
    assert!(after.is_idle());
    assert_eq!(after.wake_at, None);
}

#[test]
fn no_instances_are_healthy_when_nothing_runs() {
    let plan = plan(&first(), &spec(0), &[]);
    assert_eq!(
        said(&plan),
        (
            Health::Healthy,
            Rollout::Complete,
            "",
            "no instances are wanted"
        )
    );
}

#[test]
fn a_version_of_which_no_instance_is_wanted_has_not_shown_that_it_is_good() {
    assert!(!plan(&first(), &spec(0), &[]).is_good);
    assert!(!plan(&updated(), &spec(0), &[]).is_good);
    let scaled_down = Workload {
        good_template_id: Some(NEW),
        ..updated()
    };
    assert!(
        plan(&scaled_down, &spec(0), &[]).is_good,
        "what runs in it has run before"
    );
}

#[test]
fn scaling_down_ends_the_highest_slots() {
    let tasks = [task(1, 0, NEW), task(2, 1, NEW), task(3, 2, NEW)];
    let plan = plan(&settled(), &spec(1), &tasks);
    assert_eq!(
        plan.kills,
        [(2, KillReason::ScaledDown), (3, KillReason::ScaledDown)]
    );
    assert!(!plan.is_good, "not before they are gone");
}

#[test]
fn a_removed_service_ends_its_tasks_and_forgets_the_ended() {
    let row = Workload {
        is_gone: true,
        ..settled()
    };
    let stopping = Task {
        is_stop_asked: true,
        ..task(3, 2, NEW)
    };
    let tasks = [task(1, 0, NEW), failed(2, 1, NEW, 1, 0), stopping];
    let plan = plan(&row, &spec(3), &tasks);
    assert_eq!(plan.kills, [(1, KillReason::Removed)]);
    assert_eq!(plan.forgets, [2]);
    assert_eq!(plan.status, None);
}

#[test]
fn a_failed_first_try_waits_for_the_first_pause() {
    let early = plan(&first(), &spec(1), &[failed(1, 0, NEW, 1, 400)]);
    assert_eq!(slots(&early), [] as [u32; 0]);
    assert_eq!(early.wake_at, Some(NOW + 600));
    assert!(said(&early).3.contains("exited with status 1"));
    let due = plan(&first(), &spec(1), &[failed(1, 0, NEW, 1, 1000)]);
    assert_eq!(slots(&due), [0]);
}

#[test]
fn the_first_failure_after_a_healthy_life_is_replaced_at_once() {
    let lived = Task {
        healthy_since: Some(NOW - 6000),
        ..failed(1, 0, NEW, 1, 0)
    };
    assert_eq!(
        slots(&plan(&settled(), &spec(1), std::slice::from_ref(&lived))),
        [0]
    );
    let again = Task {
        attempts: 2,
        ..lived.clone()
    };
    assert_eq!(
        plan(&settled(), &spec(1), &[again]).wake_at.unwrap(),
        NOW + 1150
    );
    let long = Task {
        attempts: 9,
        healthy_since: Some(NOW - 60_000),
        ..lived
    };
    assert_eq!(slots(&plan(&settled(), &spec(1), &[long])), [0]);
}

#[test]
fn a_task_stopped_by_a_person_or_whose_agent_died_is_replaced_at_once() {
    let stopped = Task {
        state: TaskState::Killed,
        is_ended_by_hand: true,
        is_stop_asked: true,
        ..failed(1, 0, NEW, 1, 0)
    };
    let lost = Task {
        state: TaskState::Lost,
        is_agent_lost: true,
        ..failed(2, 1, NEW, 5, 0)
    };
    assert_eq!(
        slots(&plan(&settled(), &spec(2), &[stopped, lost.clone()])),
        [0, 1]
    );
    // What else loses a task may lose the next one as well: it waits as a failure does.
    let without_a_record = Task {
        is_agent_lost: false,
        slot: 0,
        ..lost
    };
    let waiting = plan(&settled(), &spec(1), &[without_a_record]);
    assert!(slots(&waiting).is_empty());
    assert!(waiting.wake_at.is_some_and(|at| at > NOW));
}

#[test]
fn a_program_that_faults_is_no_person() {
    let faulted = Task {
        is_ended_by_hand: true,
        exit_code: None,
        ..failed(1, 0, NEW, 1, 0)
    };
    assert_eq!(
        slots(&plan(&settled(), &spec(1), &[faulted])),
        [] as [u32; 0]
    );
}

#[test]
fn a_crash_loop_is_degraded_and_stays_so_while_it_is_tried_again() {
    let waiting = plan(&first(), &spec(1), &[failed(4, 0, NEW, 3, 0)]);
    assert_eq!(
        said(&waiting),
        (
            Health::Degraded,
            Rollout::Progressing,
            "CrashLoop",
            "0 of 1 healthy; web.0 exited with status 1, 3 times in a row, and is tried again after a pause"
        )
    );
    let trying = Task {
        attempts: 4,
        ..starting(5, 0, NEW)
    };
    let trying = plan(&first(), &spec(1), &[failed(4, 0, NEW, 3, 5000), trying]);
    assert_eq!(said(&trying).2, "CrashLoop");
}

#[test]
fn a_program_that_was_not_started_for_want_of_its_port_is_in_no_loop_and_its_port_is_named() {
    let refused = |times| Task {
        is_port_taken: true,
        exit_code: None,
        ..failed(4, 0, NEW, times, 0)
    };
    let waiting = plan(&first(), &spec(1), &[refused(2)]);
    assert!(slots(&waiting).is_empty());
    assert!(waiting.wake_at.is_some_and(|at| at > NOW));
    assert_eq!(
        said(&waiting),
        (
            Health::Progressing,
            Rollout::Progressing,
            "PortsTaken",
            "0 of 1 healthy; web.0 could not be started: another program listens at port 8080, 2 times in a row, and is tried again after a pause"
        )
    );
    let often = plan(&first(), &spec(1), &[refused(9)]);
    assert_eq!(
        (said(&often).0, said(&often).2),
        (Health::Degraded, "PortsTaken")
    );
    // Nothing of the version was tried, so its deadline does not run.
    let row = Workload {
        generation_since: NOW - 900_000,
        ..updated()
    };
    let late = plan(&row, &spec(1), &[task(1, 0, OLD), refused(9)]);
    assert!(!late.is_given_up, "{late:?}");
    assert_eq!(said(&late).2, "PortsTaken");
}

#[test]
fn a_version_whose_own_port_is_taken_is_given_up_in_time_and_is_in_no_loop() {
    let refused = Task {
        is_port_taken: true,
        exit_code: None,
        ..failed(4, 0, NEW, 9, 0)
    };
    let mut fixed = spec(1);
    fixed.ports.fixed.insert(9090);
    let row = |ago| Workload {
        generation_since: NOW - ago,
        ..updated()
    };
    let tasks = [task(1, 0, OLD), refused];
    let early = plan(&row(599_000), &fixed, &tasks);
    assert_eq!(
        (early.is_given_up, early.wake_at),
        (false, Some(NOW + 1000))
    );
    assert_eq!(said(&early).2, "PortsTaken");
    assert!(plan(&row(600_000), &fixed, &tasks).is_given_up);
    fixed.update.on_failure = OnFailure::Pause;
    let paused = plan(&row(600_000), &fixed, &tasks);
    assert!(!paused.is_given_up);
    let (health, rollout, reason, message) = said(&paused);
    assert_eq!(
        (health, rollout, reason),
        (Health::Degraded, Rollout::Paused, "PortsTaken")
    );
    assert!(message.ends_with("no progress for 10m"), "{message}");
}

#[test]
fn an_unhealthy_task_is_ended_and_its_slot_waits_for_it() {
    let sick = Task {
        health: Check::Unhealthy,
        healthy_since: None,
        ..task(1, 0, NEW)
    };
    let ended = plan(&settled(), &spec(1), std::slice::from_ref(&sick));
    assert_eq!(ended.kills, [(1, KillReason::Unhealthy)]);
    let going = Task {
        is_stop_asked: true,
        ..sick
    };
    let waiting = plan(&settled(), &spec(1), &[going]);
    assert!(waiting.is_idle());
    assert!(said(&waiting).3.contains("waiting for web.0 to end"));
}

#[test]
fn tasks_on_an_unreachable_agent_are_left_alone() {
    let sick = Task {
        health: Check::Unhealthy,
        ..task(1, 0, NEW)
    };
    let plan = plan_at(&settled(), &spec(2), &[sick, task(2, 1, NEW)], Some(1));
    assert!(plan.is_idle());
    assert_eq!(
        said(&plan).3,
        "0 of 2 healthy; web.0 is on an agent that cannot be reached"
    );
}

#[test]
fn an_update_surges_by_one_and_takes_the_slot_of_the_task_that_it_replaces() {
    let tasks = [task(1, 0, OLD), task(2, 1, OLD), task(3, 2, OLD)];
    let plan = plan(&updated(), &spec(3), &tasks);
    assert_eq!(slots(&plan), [0]);
    assert!(plan.kills.is_empty());
}

#[test]
fn an_old_task_goes_when_its_successor_has_proved_itself() {
    let mut fresh = task(9, 0, NEW);
    fresh.healthy_since = Some(NOW - 4999);
    let tasks = [task(1, 0, OLD), task(2, 1, OLD), fresh.clone()];
    let early = plan(&updated(), &spec(2), &tasks);
    assert!(early.kills.is_empty() && early.starts.is_empty());
    assert_eq!(early.wake_at, Some(NOW + 1));
    assert!(said(&early).3.contains("to stay healthy for 5s"));
    fresh.healthy_since = Some(NOW - 5000);
    let tasks = [task(1, 0, OLD), task(2, 1, OLD), fresh];
    let proved = plan(&updated(), &spec(2), &tasks);
    assert_eq!(proved.kills, [(1, KillReason::Replaced)]);
    assert_eq!(slots(&proved), [1]);
}

#[test]
fn without_a_surge_one_goes_before_its_successor_comes() {
    let mut spec = spec(3);
    spec.update.max_surge = 0;
    spec.update.max_unavailable = 1;
    let tasks = [task(1, 0, OLD), task(2, 1, OLD), task(3, 2, OLD)];
    let begun = plan(&updated(), &spec, &tasks);
    assert_eq!(begun.kills, [(1, KillReason::Replaced)]);
    assert_eq!(slots(&begun), [0]);
    let on_its_way = [starting(9, 0, NEW), task(2, 1, OLD), task(3, 2, OLD)];
    assert!(plan(&updated(), &spec, &on_its_way).is_idle());
    let broken = [failed(9, 0, NEW, 3, 0), task(2, 1, OLD), task(3, 2, OLD)];
    assert!(
        plan(&updated(), &spec, &broken).is_idle(),
        "a broken version takes one slot, not all"
    );
}

#[test]
fn without_a_surge_an_old_version_that_never_got_ready_can_be_replaced() {
    let mut spec = spec(3);
    spec.update.max_surge = 0;
    spec.update.max_unavailable = 1;
    let unready = |id, slot| Task {
        is_ready: false,
        ..task(id, slot, OLD)
    };
    let tasks = [unready(1, 0), unready(2, 1), unready(3, 2)];
    let plan = plan(&updated(), &spec, &tasks);
    assert_eq!(plan.kills, [(1, KillReason::Replaced)]);
}

#[test]
fn a_failing_surge_holds_its_place() {
    let tasks = [task(1, 0, OLD), task(2, 1, OLD), failed(9, 0, NEW, 2, 0)];
    let plan = plan(&updated(), &spec(2), &tasks);
    assert!(plan.is_idle(), "slot 1 is not tried: {:?}", plan.starts);
    assert_eq!(plan.wake_at, Some(NOW + 1150));
}

#[test]
fn old_tasks_that_only_begin_are_preempted_by_a_newer_version() {
    let tasks = [starting(1, 0, OLD), failed(2, 1, OLD, 7, 0)];
    let plan = plan(&updated(), &spec(2), &tasks);
    assert_eq!(plan.kills, [(1, KillReason::Replaced)]);
    assert_eq!(
        slots(&plan),
        [0, 1],
        "an older version's failures do not count"
    );
}

#[test]
fn a_task_of_an_older_generation_with_the_same_template_is_kept() {
    let older = Task {
        generation: 1,
        ..task(1, 0, NEW)
    };
    let plan = plan(&updated(), &spec(1), &[older]);
    assert!(plan.is_good && plan.kills.is_empty() && plan.starts.is_empty());
}

#[test]
fn a_version_without_progress_is_given_up_at_its_deadline() {
    let mut row = updated();
    let tasks = [task(1, 0, OLD), failed(9, 0, NEW, 5, 0)];
    row.generation_since = NOW - 599_999;
    let early = plan(&row, &spec(1), &tasks);
    assert!(!early.is_given_up);
    assert_eq!(early.wake_at, Some(NOW + 1));
    row.generation_since = NOW - 600_000;
    assert!(plan(&row, &spec(1), &tasks).is_given_up);
}

#[test]
fn the_deadline_begins_again_with_each_task_that_becomes_healthy() {
    let mut row = updated();
    row.generation_since = NOW - 900_000;
    let tasks = [task(1, 1, OLD), task(8, 0, NEW), starting(9, 1, NEW)];
    let going = plan(&row, &spec(2), &tasks);
    assert!(!going.is_given_up);
    assert_eq!(going.wake_at, Some(NOW - 8000 + 600_000));
}

#[test]
fn a_quarantined_generation_goes_back_to_the_good_one() {
    let row = Workload {
        quarantined_generation: Some(2),
        ..updated()
    };
    assert_eq!(
        Want::of(&row),
        Want {
            generation: 1,
            template_id: OLD,
            is_rollback: true
        }
    );
    let tasks = [task(1, 0, OLD), starting(9, 0, NEW), task(10, 1, NEW)];
    let plan = plan(&row, &spec(2), &tasks);
    assert_eq!(plan.kills, [(9, KillReason::Replaced)]);
    assert_eq!(slots(&plan), [1], "the good version comes back by a surge");
    assert!(!plan.is_good);
    assert_eq!(
        said(&plan),
        (
            Health::Degraded,
            Rollout::RolledBack,
            "RolledBack",
            "generation 2 did not become healthy in time and was rolled back; generation 1 runs: 1 of 2 healthy"
        )
    );
}

#[test]
fn a_first_version_that_fails_is_tried_on() {
    let mut row = first();
    row.generation_since = NOW - 900_000;
    let plan = plan(&row, &spec(1), &[failed(9, 0, NEW, 2, 2000)]);
    assert!(!plan.is_given_up);
    assert_eq!(slots(&plan), [0]);
    assert_eq!(
        (said(&plan).0, said(&plan).2),
        (Health::Degraded, "ProgressDeadline")
    );
}

#[test]
fn a_scale_up_without_room_is_not_rolled_back() {
    let mut row = updated();
    row.good_template_id = Some(NEW);
    row.generation_since = NOW - 900_000;
    let older = Task {
        healthy_since: Some(NOW - 890_000),
        ..task(1, 0, NEW)
    };
    let plan = plan(&row, &spec(2), &[older]);
    assert!(!plan.is_given_up);
    assert_eq!(said(&plan).0, Health::Progressing);
    assert_eq!(plan.wake_at, None, "time alone changes nothing");
}

#[test]
fn a_version_that_only_waits_for_room_is_not_given_up() {
    let mut row = updated();
    row.generation_since = NOW - 990_000;
    let tasks = [task(1, 0, OLD)];
    let waiting = plan(&row, &spec(1), &tasks);
    assert!(!waiting.is_given_up);
    assert_eq!(slots(&waiting), [0]);
    assert_eq!(said(&waiting).0, Health::Progressing);
    assert_eq!(waiting.counted_from, Some(NOW), "once something is tried");
}

#[test]
fn the_deadline_stands_still_while_a_slot_that_failed_waits_for_room() {
    let mut row = updated();
    row.generation_since = NOW - 700_000;
    // Tried once, 400 s ago; its pause was over 399 s ago, and there was no room since.
    let tasks = [task(1, 0, OLD), failed(9, 0, NEW, 1, 400_000)];
    let waiting = plan(&row, &spec(1), &tasks);
    assert!(!waiting.is_given_up);
    assert_eq!(waiting.counted_from, Some(NOW - 700_000 + 399_000));
    let tried_on = [task(1, 0, OLD), failed(9, 0, NEW, 1, 500)];
    assert!(plan(&row, &spec(1), &tried_on).is_given_up);
}

#[test]
fn pausing_keeps_what_serves_and_tries_no_more() {
    let mut row = updated();
    row.generation_since = NOW - 900_000;
    let mut spec = spec(2);
    spec.update.on_failure = OnFailure::Pause;
    let tasks = [task(1, 0, OLD), task(2, 1, OLD), failed(9, 0, NEW, 2, 9000)];
    let plan = plan(&row, &spec, &tasks);
    assert!(plan.is_idle());
    assert_eq!(
        (said(&plan).0, said(&plan).1),
        (Health::Degraded, Rollout::Paused)
    );
}

#[test]
fn ended_tasks_are_forgotten_but_for_the_last_and_the_last_that_tells_something() {
    let killed = Task {
        state: TaskState::Killed,
        is_stop_asked: true,
        ..failed(3, 0, OLD, 1, 9000)
    };
    let tasks = [
        failed(1, 0, OLD, 1, 9000),
        failed(2, 0, OLD, 2, 9000),
        killed,
        task(4, 0, NEW),
    ];
    let plan = plan(&settled(), &spec(1), &tasks);
    assert_eq!(plan.forgets, [1, 3]);
}

#[test]
fn missing_offers_are_told_after_a_while() {
    let mut row = first();
    row.generation_since = NOW - 1000;
    let mut early = plan(&row, &spec(2), &[]);
    let unmet = early.starts.clone();
    early.miss_offers(&unmet, "0.5 cpus and 256Mi", NOW);
    assert_eq!(early.wake_at, Some(NOW + 1000));
    row.generation_since = NOW - 2000;
    let mut late = plan(&row, &spec(2), &[]);
    let unmet = late.starts.clone();
    late.miss_offers(&unmet, "0.5 cpus and 256Mi", NOW);
    assert_eq!(
        (said(&late).2, said(&late).3),
        (
            "NoOffers",
            "0 of 2 healthy; no offers for 2 tasks of 0.5 cpus and 256Mi"
        )
    );
}
