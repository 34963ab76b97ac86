//! The task machine, from outside.
#![expect(clippy::unwrap_used, reason = "tests")]

use kelson_agent_core::{
    Adopted, CheckNote, Effect, Ending, Input, Moment, Pace, StopNote, Task, TaskNote,
    TaskSettings, Which,
};
use kelson_model::id::TaskId;
use kelson_model::quantity::Millis;
use kelson_model::task::{CheckState, ExitCause, TaskState, TaskStatus};
use kelson_model::time::WallTime;
use proptest::prelude::*;

fn settings() -> TaskSettings {
    TaskSettings {
        stop_signal: 15,
        stop_grace: Millis(1000),
        ..TaskSettings::default()
    }
}

fn checked() -> TaskSettings {
    TaskSettings {
        health: Some(Pace {
            interval: Millis(1000),
            timeout: Millis(100),
            grace: Millis(0),
            failures: 1,
        }),
        ..settings()
    }
}

fn started() -> Input {
    Input::Started {
        pid: 7,
        at: WallTime(1),
    }
}

fn exited(code: i32) -> Input {
    Input::Ended(Ending {
        code: Some(code),
        ..Ending::default()
    })
}

fn running(settings: TaskSettings) -> Task {
    let (mut task, effects) = Task::new(TaskId(1), settings);
    assert_eq!(effects.first(), Some(&Effect::Prepare));
    assert_eq!(task.apply(Moment(1), Input::Prepared), [Effect::StartShim]);
    assert!(task.apply(Moment(1), Input::ShimSpawned).is_empty());
    task.apply(Moment(2), started());
    assert_eq!(task.state(), TaskState::Running);
    task
}

fn told(effects: &[Effect]) -> Option<TaskStatus> {
    effects.iter().find_map(|effect| match effect {
        Effect::EmitStatus(report) => Some(report.status.clone()),
        _ => None,
    })
}

fn noted(effects: &[Effect]) -> Option<TaskNote> {
    effects.iter().find_map(|effect| match effect {
        Effect::Note(note) => Some(note.clone()),
        _ => None,
    })
}

fn died() -> Input {
    Input::SupervisorDied {
        reason: "supervisor died".to_owned(),
        cause: ExitCause::ShimDied,
    }
}

fn stop() -> Input {
    Input::Stop {
        reason: "byHand".to_owned(),
    }
}

#[test]
fn a_stop_signals_once_then_kills_after_the_grace_and_again_until_it_is_gone() {
    let mut task = running(settings());
    let effects = task.apply(Moment(10), stop());
    let stopping = StopNote {
        reason: "byHand".to_owned(),
        kill_at: Moment(1010),
        cause: None,
    };
    assert_eq!(
        effects.iter().take(2).collect::<Vec<_>>(),
        [
            &Effect::Note(TaskNote {
                stop: Some(stopping),
                ..TaskNote::default()
            }),
            &Effect::Signal(15)
        ],
        "what is noted first is not done twice"
    );
    assert_eq!(told(&effects).unwrap().state, TaskState::Stopping);
    assert!(
        task.apply(Moment(20), stop()).is_empty(),
        "a second stop is no second signal"
    );
    assert_eq!(task.next_wake(), Some(Moment(1010)));
    assert!(task.apply(Moment(1009), Input::Tick).is_empty());
    assert_eq!(task.apply(Moment(1010), Input::Tick), [Effect::KillAll]);
    assert_eq!(task.apply(Moment(3010), Input::Tick), [Effect::KillAll]);
    let status = told(&task.apply(Moment(3020), exited(0))).unwrap();
    assert_eq!(
        status.state,
        TaskState::Killed,
        "exit status 0 after a stop is no finish"
    );
}

#[test]
fn a_stop_before_the_start_starts_nothing() {
    let (mut task, _) = Task::new(TaskId(1), settings());
    assert!(task.apply(Moment(1), stop()).is_empty());
    let effects = task.apply(Moment(2), Input::Prepared);
    assert!(!effects.contains(&Effect::StartShim));
    assert_eq!(told(&effects).unwrap().state, TaskState::Killed);
}

#[test]
fn a_stop_while_it_starts_is_carried_out_when_it_has_started() {
    let (mut task, _) = Task::new(TaskId(1), settings());
    task.apply(Moment(1), Input::Prepared);
    task.apply(Moment(2), stop());
    assert!(
        task.apply(Moment(3), started())
            .contains(&Effect::Signal(15))
    );
    assert_eq!(task.state(), TaskState::Stopping);
}

#[test]
fn the_word_of_the_end_tells_causes_apart() {
    let end = |ending: Ending| {
        let status = told(&running(settings()).apply(Moment(5), Input::Ended(ending))).unwrap();
        (status.state, status.exit.unwrap().reason)
    };
    let killed = Ending {
        signal: Some(9),
        ..Ending::default()
    };
    assert_eq!(
        end(killed.clone()),
        (TaskState::Failed, "killed by SIGKILL".to_owned())
    );
    let oom = Ending {
        oom: true,
        ..killed.clone()
    };
    assert_eq!(
        end(oom),
        (
            TaskState::Failed,
            "killed by SIGKILL: out of memory".to_owned()
        )
    );
    // A predecessor of this agent had asked for it.
    let asked = Ending {
        by_agent: true,
        ..killed
    };
    assert_eq!(end(asked).0, TaskState::Killed);
    let not_started = Ending {
        not_started: Some("no such program".to_owned()),
        ..Ending::default()
    };
    assert_eq!(
        end(not_started),
        (
            TaskState::Failed,
            "could not be started: no such program".to_owned()
        )
    );
}

#[test]
fn a_dead_supervisor_means_lost_and_why() {
    let mut task = running(settings());
    let status = told(&task.apply(Moment(5), died())).unwrap();
    assert_eq!(status.state, TaskState::Lost);
    assert_eq!(status.exit.unwrap().cause, Some(ExitCause::ShimDied));
}

#[test]
fn what_ends_with_its_agent_says_so_also_to_the_next_one() {
    let cause_of = |effects: &[Effect]| {
        let status = told(effects).unwrap();
        (status.state, status.exit.unwrap().cause)
    };
    let ended = (TaskState::Killed, Some(ExitCause::AgentEnds));
    let mut task = running(settings());
    let stop_note = noted(&task.apply(Moment(10), Input::AgentEnds))
        .unwrap()
        .stop;
    assert_eq!(stop_note.as_ref().unwrap().cause, ended.1);
    assert_eq!(cause_of(&task.apply(Moment(20), exited(0))), ended);
    // It ended once the agent was gone.
    let (_, effects) = Task::adopt_ended(TaskId(1), settings(), exited(0), stop_note, Moment(30));
    assert_eq!(cause_of(&effects), ended);
    // It was not started yet.
    let (mut task, _) = Task::new(TaskId(1), settings());
    assert!(task.apply(Moment(1), Input::AgentEnds).is_empty());
    assert_eq!(cause_of(&task.apply(Moment(2), Input::Prepared)), ended);
    // What the kernel had asked for before is no doing of the agent.
    let mut task = running(settings());
    task.apply(Moment(10), stop());
    assert!(task.apply(Moment(11), Input::AgentEnds).is_empty());
    let effects = task.apply(Moment(20), exited(0));
    assert_eq!(cause_of(&effects), (TaskState::Killed, None));
}

#[test]
fn what_outlives_an_agent_that_was_to_end_goes_on_with_the_next_one() {
    let mut task = running(settings());
    let note = noted(&task.apply(Moment(10), Input::AgentEnds));
    let (mut next, effects) = adopt(settings(), note.clone(), 1_000_000);
    assert_eq!(told(&effects).unwrap().state, TaskState::Running);
    let later = next.apply(Moment(2_000_000), Input::Tick);
    assert!(!later.contains(&Effect::KillAll));
    // Long after it was asked it ends by itself.
    let ending = Ending {
        code: Some(3),
        by_agent: true,
        ..Ending::default()
    };
    let ended = told(&next.apply(Moment(2_000_001), Input::Ended(ending))).unwrap();
    assert_eq!(ended.state, TaskState::Failed);
    let exit = ended.exit.unwrap();
    assert_eq!((exit.cause, exit.by_agent), (None, false));
    // What it was asked still explains an end soon after, unless the kernel asks as well.
    let (mut next, _) = adopt(settings(), note.clone(), 20);
    let ended = told(&next.apply(Moment(21), exited(0))).unwrap();
    assert_eq!(ended.exit.unwrap().cause, Some(ExitCause::AgentEnds));
    let (mut next, _) = adopt(settings(), note, 1_000_000);
    next.apply(Moment(2_000_001), stop());
    let ended = told(&next.apply(Moment(2_000_002), exited(0))).unwrap();
    assert_eq!(ended.exit.unwrap().cause, None);
}

#[test]
fn of_a_task_that_nobody_holds_nothing_is_said_before_nothing_of_it_is_left() {
    let mut task = Task::adopt_unheld(TaskId(1), settings());
    assert!(task.apply(Moment(1), stop()).is_empty());
    assert!(task.apply(Moment(2), Input::Forget).is_empty());
    let effects = task.apply(Moment(3), died());
    assert_eq!(told(&effects).unwrap().state, TaskState::Lost);
    assert_eq!(effects.last(), Some(&Effect::Cleanup));
}

#[test]
fn a_port_that_another_program_uses_is_the_cause_of_a_failure() {
    let (mut task, _) = Task::new(TaskId(1), settings());
    task.apply(Moment(1), Input::Prepared);
    task.apply(Moment(1), Input::ShimSpawned);
    let taken = Input::Ended(Ending {
        not_started: Some("another program listens at port 20000".to_owned()),
        taken_ports: vec![20_000],
        ..Ending::default()
    });
    let status = told(&task.apply(Moment(1), taken)).unwrap();
    let exit = status.exit.unwrap();
    assert_eq!(
        (status.state, exit.cause, exit.taken_ports),
        (TaskState::Failed, Some(ExitCause::PortsTaken), vec![20_000])
    );
}

#[test]
fn an_unhealthy_task_is_told_and_not_killed() {
    let mut task = running(checked());
    let probe = |result| Input::Probed {
        which: Which::Health,
        result,
    };
    let effects = task.apply(Moment(5), probe(Err("refused".to_owned())));
    let status = told(&effects).unwrap();
    assert_eq!(
        (status.state, status.health),
        (TaskState::Running, CheckState::Unhealthy)
    );
    assert!(!effects.contains(&Effect::KillAll));
    let effects = task.apply(Moment(150), probe(Ok(())));
    let note = noted(&effects).unwrap().health.unwrap();
    assert_eq!(
        (note.succeeded, note.state, note.since),
        (true, CheckState::Healthy, Some(Moment(150)))
    );
    let status = told(&effects).unwrap();
    assert!(status.ready);
    assert!(
        task.apply(Moment(1150), probe(Ok(()))).is_empty(),
        "no news"
    );
}

fn adopt(settings: TaskSettings, note: Option<TaskNote>, now: u64) -> (Task, Vec<Effect>) {
    let found = Adopted {
        pid: 7,
        at: WallTime(1),
        started: Moment(100),
        note,
    };
    Task::adopt_running(TaskId(1), settings, found, Moment(now))
}

fn probed(result: Result<(), String>) -> Input {
    Input::Probed {
        which: Which::Health,
        result,
    }
}

#[test]
fn what_was_healthy_under_the_agent_before_is_healthy_and_one_bad_probe_changes_nothing() {
    let mut settings = checked();
    settings.health.as_mut().unwrap().failures = 2;
    let healthy = TaskNote {
        health: Some(CheckNote {
            succeeded: true,
            state: CheckState::Healthy,
            since: Some(Moment(300)),
        }),
        ..TaskNote::default()
    };
    let (mut task, effects) = adopt(settings, Some(healthy), 900_000);
    let status = told(&effects).unwrap();
    assert_eq!(
        (status.state, status.health, status.ready, status.pid),
        (TaskState::Running, CheckState::Healthy, true, Some(7))
    );
    assert_eq!(task.report().healthy_since, Some(Moment(300)));
    let effects = task.apply(Moment(900_100), probed(Err("busy".to_owned())));
    assert!(effects.is_empty(), "{effects:?}");
    let again = task.next_wake().unwrap();
    assert!(again >= Moment(901_000), "at its usual pace: {again:?}");
}

#[test]
fn an_adopted_task_of_which_nothing_is_noted_is_told_once_its_health_is_known() {
    let mut settings = checked();
    settings.health.as_mut().unwrap().grace = Millis(500);
    let (mut task, effects) = adopt(settings.clone(), None, 500);
    assert!(effects.is_empty());
    assert!(task.next_wake().unwrap() <= Moment(1500));
    let status = told(&task.apply(Moment(505), probed(Ok(())))).unwrap();
    assert_eq!(
        (status.state, status.health, status.pid),
        (TaskState::Running, CheckState::Healthy, Some(7))
    );
    // The grace counts from the start of the program, not of the agent.
    let (mut old, _) = adopt(settings.clone(), None, 600);
    let status = told(&old.apply(Moment(605), probed(Err("refused".to_owned())))).unwrap();
    assert_eq!(status.health, CheckState::Unhealthy, "its grace was over");
    let (mut ended, _) = adopt(settings, None, 600);
    assert_eq!(
        told(&ended.apply(Moment(605), exited(0))).unwrap().state,
        TaskState::Finished
    );
}

#[test]
fn a_stop_goes_on_under_the_next_agent_without_a_second_signal_and_without_a_second_grace() {
    let mut first = running(settings());
    let note = noted(&first.apply(Moment(150), stop())).unwrap();
    let (mut next, effects) = adopt(settings(), Some(note), 600);
    assert_eq!(told(&effects).unwrap().state, TaskState::Stopping);
    assert!(next.apply(Moment(700), stop()).is_empty());
    assert_eq!(next.next_wake(), Some(Moment(1150)));
    assert_eq!(next.apply(Moment(1150), Input::Tick), [Effect::KillAll]);
    let status = told(&next.apply(Moment(1160), exited(0))).unwrap();
    assert_eq!(status.state, TaskState::Killed);
}

#[test]
fn what_waits_for_its_turn_is_not_given_up() {
    let (mut task, _) = Task::new(TaskId(1), settings());
    task.apply(Moment(0), Input::Prepared);
    assert_eq!(task.next_wake(), None);
    assert!(task.apply(Moment(900_000), Input::Tick).is_empty());
    task.apply(Moment(900_000), Input::ShimSpawned);
    assert_eq!(task.next_wake(), Some(Moment(960_000)));
    let status = told(&task.apply(Moment(959_999), started())).unwrap();
    assert_eq!(status.state, TaskState::Running);
}

#[test]
fn a_forgotten_task_is_cleaned_up_once_and_only_when_it_has_ended() {
    let mut task = running(settings());
    assert!(
        task.apply(Moment(5), Input::Forget)
            .contains(&Effect::KillAll)
    );
    let effects = task.apply(Moment(6), exited(1));
    assert_eq!(effects.last(), Some(&Effect::Cleanup));
    assert!(
        !task
            .apply(Moment(7), Input::Tick)
            .contains(&Effect::Cleanup)
    );
}

#[test]
fn a_forgotten_task_is_killed_again_until_it_is_gone_without_a_grace() {
    let mut task = running(settings());
    let effects = task.apply(Moment(5), Input::Forget);
    let stopping = StopNote {
        reason: "forgotten".to_owned(),
        kill_at: Moment(2005),
        cause: None,
    };
    assert_eq!(
        effects.iter().take(2).collect::<Vec<_>>(),
        [
            &Effect::Note(TaskNote {
                stop: Some(stopping),
                ..TaskNote::default()
            }),
            &Effect::KillAll
        ],
        "the next agent goes on with it"
    );
    assert_eq!(task.state(), TaskState::Stopping);
    assert_eq!(task.next_wake(), Some(Moment(2005)));
    assert!(task.apply(Moment(2004), Input::Tick).is_empty());
    assert_eq!(task.apply(Moment(2005), Input::Tick), [Effect::KillAll]);
    assert_eq!(task.apply(Moment(4005), Input::Tick), [Effect::KillAll]);
    let effects = task.apply(Moment(4010), exited(0));
    assert_eq!(told(&effects).unwrap().state, TaskState::Killed);
    assert_eq!(effects.last(), Some(&Effect::Cleanup));

    let mut patient = running(TaskSettings {
        stop_grace: Millis(60_000),
        ..settings()
    });
    patient.apply(Moment(10), stop());
    assert_eq!(patient.apply(Moment(20), Input::Forget), [Effect::KillAll]);
    assert_eq!(patient.next_wake(), Some(Moment(2020)));
}

#[test]
fn a_shim_that_says_nothing_is_given_up() {
    let (mut task, _) = Task::new(TaskId(1), settings());
    task.apply(Moment(0), Input::Prepared);
    task.apply(Moment(0), Input::ShimSpawned);
    let deadline = task.next_wake().unwrap();
    assert_eq!(task.apply(deadline, Input::Tick), [Effect::KillAll]);
    let killed = Ending {
        signal: Some(9),
        by_agent: true,
        ..Ending::default()
    };
    let status = told(&task.apply(deadline.after(Millis(1)), Input::Ended(killed))).unwrap();
    assert_eq!(status.state, TaskState::Failed);
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(Input::Prepared),
        Just(Input::PrepareFailed {
            reason: "no".to_owned(),
        }),
        Just(Input::ShimSpawned),
        Just(started()),
        (0i32..3).prop_map(exited),
        Just(died()),
        any::<bool>().prop_map(|agent_ends| { if agent_ends { Input::AgentEnds } else { stop() } }),
        Just(Input::Forget),
        any::<bool>().prop_map(|good| Input::Probed {
            which: Which::Health,
            result: if good { Ok(()) } else { Err("bad".to_owned()) },
        }),
        Just(Input::Tick),
    ]
}

proptest! {
    #[test]
    fn terminal_is_terminal_and_told_once_and_nothing_starts_twice(steps in prop::collection::vec((0u64..900, input()), 0..60)) {
        let (mut task, mut all) = Task::new(TaskId(1), checked());
        let mut now = 0;
        let mut end = None;
        for (later, input) in steps {
            now += later;
            let effects = task.apply(Moment(now), input);
            if let Some(end) = end {
                prop_assert_eq!(task.state(), end);
                prop_assert!(!effects.contains(&Effect::StartShim));
                prop_assert!(told(&effects).is_none());
            } else if task.state().is_terminal() {
                end = Some(task.state());
                prop_assert!(told(&effects).unwrap().exit.is_some());
            }
            all.extend(effects);
        }
        prop_assert!(all.iter().filter(|effect| **effect == Effect::StartShim).count() <= 1);
        prop_assert!(all.iter().filter(|effect| matches!(effect, Effect::Signal(_))).count() <= 1);
        prop_assert!(all.iter().filter(|effect| **effect == Effect::Cleanup).count() <= 1);
    }
}
