//! The task machine, from outside.
#![expect(clippy::unwrap_used, reason = "tests")]

use kelson_agent_core::{Effect, Ending, Input, Moment, Pace, Task, TaskSettings, Which};
use kelson_model::id::TaskId;
use kelson_model::quantity::Millis;
use kelson_model::task::{CheckState, TaskState, TaskStatus};
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

fn stop() -> Input {
    Input::Stop {
        reason: "byHand".to_owned(),
    }
}

#[test]
fn a_stop_signals_once_then_kills_after_the_grace_and_again_until_it_is_gone() {
    let mut task = running(settings());
    let effects = task.apply(Moment(10), stop());
    assert_eq!(effects.first(), Some(&Effect::Signal(15)));
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
fn a_dead_supervisor_means_kill_everything_and_lost() {
    let mut task = running(settings());
    let reason = "supervisor died".to_owned();
    let effects = task.apply(Moment(5), Input::SupervisorDied { reason });
    assert_eq!(effects.first(), Some(&Effect::KillAll));
    assert_eq!(told(&effects).unwrap().state, TaskState::Lost);
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
    assert_eq!(effects.len(), 1);
    let status = told(&task.apply(Moment(150), probe(Ok(())))).unwrap();
    assert!(status.ready);
    assert!(
        task.apply(Moment(1150), probe(Ok(()))).is_empty(),
        "no news"
    );
}

#[test]
fn an_adopted_task_is_told_once_its_health_is_known_again_and_its_grace_goes_on() {
    let mut settings = checked();
    settings.health.as_mut().unwrap().grace = Millis(500);
    let adopt = |age| {
        Task::adopt_running(
            TaskId(1),
            settings.clone(),
            7,
            WallTime(1),
            Millis(age),
            Moment(0),
        )
    };
    let (mut task, effects) = adopt(400);
    assert_eq!(effects, [Effect::Probe(Which::Health)]);
    let probe = |result| Input::Probed {
        which: Which::Health,
        result,
    };
    let status = told(&task.apply(Moment(5), probe(Ok(())))).unwrap();
    assert_eq!(
        (status.state, status.health, status.pid),
        (TaskState::Running, CheckState::Healthy, Some(7))
    );
    let (mut old, _) = adopt(500);
    let status = told(&old.apply(Moment(5), probe(Err("refused".to_owned())))).unwrap();
    assert_eq!(status.health, CheckState::Unhealthy, "its grace was over");
    let (mut ended, _) = adopt(500);
    assert_eq!(
        told(&ended.apply(Moment(5), exited(0))).unwrap().state,
        TaskState::Finished
    );
}

#[test]
fn a_forgotten_task_is_cleaned_up_once_and_only_when_it_has_ended() {
    let mut task = running(settings());
    assert_eq!(task.apply(Moment(5), Input::Forget), [Effect::KillAll]);
    let effects = task.apply(Moment(6), exited(1));
    assert_eq!(effects.last(), Some(&Effect::Cleanup));
    assert!(
        !task
            .apply(Moment(7), Input::Tick)
            .contains(&Effect::Cleanup)
    );
}

#[test]
fn a_shim_that_says_nothing_is_given_up() {
    let (mut task, _) = Task::new(TaskId(1), settings());
    task.apply(Moment(0), Input::Prepared);
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
            reason: "no".to_owned()
        }),
        Just(started()),
        (0i32..3).prop_map(exited),
        Just(Input::SupervisorDied {
            reason: "gone".to_owned()
        }),
        Just(stop()),
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
