//! Processes that die and come back.

use kelson_testkit::manifest::service;
use kelson_testkit::processes::{self, Signal};
use kelson_testkit::{Dev, Look, TestRepo};

use crate::cluster::{Cluster, DEADLINE};

#[test]
fn the_agent_killed_and_back_has_the_same_processes() {
    let (cluster, commit) = Cluster::with(&[("web", service("web").instances(2))]);
    let before = cluster.pids("Service/web");
    let agent = cluster.dev.agent().unwrap();
    assert!(processes::signal(agent.pid, Signal::KILL));
    cluster
        .dev
        .wait_for("another agent has come", DEADLINE, |_| {
            Ok(match cluster.dev.agent() {
                Some(new) if new.pid != agent.pid => Look::Found(()),
                other => Look::NotYet(format!("{other:?}")),
            })
        })
        .unwrap();
    assert!(
        before.iter().all(|pid| processes::is_alive(*pid)),
        "a task died with its agent"
    );
    // It has really taken them over: it ends one and starts another when git says so.
    let next = cluster.commit("web", &service("web").instances(1));
    assert_ne!(next, commit);
    cluster.dev.settle(&next).unwrap();
    cluster
        .dev
        .wait_for("one of the two is left", DEADLINE, |_| {
            let left = cluster.pids("Service/web");
            let is_one = left.len() == 1 && left.iter().all(|pid| before.contains(pid));
            Ok(if is_one {
                Look::Found(())
            } else {
                Look::NotYet(format!("{left:?} of {before:?}"))
            })
        })
        .unwrap();
}

#[test]
fn dev_killed_and_started_again_has_its_state_and_its_tasks() {
    let (mut cluster, commit) = Cluster::with(&[("web", service("web").instances(2))]);
    let before = cluster.pids("Service/web");
    cluster.dev.stop(Signal::KILL, DEADLINE).unwrap();
    assert!(
        before.iter().all(|pid| processes::is_alive(*pid)),
        "a task died with dev"
    );
    cluster.dev.start().unwrap();
    cluster.dev.settle(&commit).unwrap();
    assert_eq!(cluster.pids("Service/web"), before);
}

#[test]
fn the_first_sigint_stops_the_tasks_and_keeps_the_state() {
    let (mut cluster, commit) = Cluster::with(&[("web", service("web").instances(2))]);
    let before = cluster.pids("Service/web");
    assert_eq!(
        cluster.dev.stop(Signal::INT, DEADLINE).unwrap().code(),
        Some(0)
    );
    assert!(
        !before.iter().any(|pid| processes::is_alive(*pid)),
        "a task outlived dev"
    );
    assert_eq!(cluster.dev.processes(), []);
    cluster.dev.start().unwrap();
    cluster.dev.settle(&commit).unwrap();
    assert_eq!(cluster.answers("Service/web"), ["web 1", "web 1"]);
}

#[test]
fn a_killed_shim_costs_no_more_than_its_task() {
    let (cluster, commit) = Cluster::with(&[("web", service("web").instances(2))]);
    let before = cluster.pids("Service/web");
    let shim = cluster
        .dev
        .processes()
        .into_iter()
        .find(|process| process.is_kelson("shim"))
        .unwrap();
    assert!(processes::signal(shim.pid, Signal::KILL));
    cluster
        .dev
        .wait_for("its task is replaced", DEADLINE, |_| {
            let now = cluster.pids("Service/web");
            let is_replaced =
                now.len() == 2 && now != before && before.iter().any(|pid| now.contains(pid));
            Ok(if is_replaced {
                Look::Found(())
            } else {
                Look::NotYet(format!("{now:?}, before {before:?}"))
            })
        })
        .unwrap();
    cluster.dev.settle(&commit).unwrap();
    let now = cluster.pids("Service/web");
    let gone = before.iter().find(|pid| !now.contains(pid)).unwrap();
    assert!(
        !processes::is_alive(*gone),
        "a task without a shim lives on"
    );
}

#[test]
fn dev_killed_in_the_middle_of_a_rollout_finishes_it() {
    let (mut cluster, _) = Cluster::with(&[("web", service("web").instances(3))]);
    let next = cluster.commit("web", &service("web").instances(3).text("web 2"));
    cluster
        .dev
        .wait_for("the rollout has begun", DEADLINE, |_| {
            let pids = cluster.pids("Service/web");
            Ok(if pids.len() > 3 {
                Look::Found(())
            } else {
                Look::NotYet(format!("{pids:?}"))
            })
        })
        .unwrap();
    cluster.dev.stop(Signal::KILL, DEADLINE).unwrap();
    cluster.dev.start().unwrap();
    cluster.dev.settle(&next).unwrap();
    assert_eq!(cluster.answers("Service/web"), ["web 2", "web 2", "web 2"]);
}

#[test]
fn a_second_dev_on_the_same_data_is_refused_and_told_who_has_it() {
    let repo = TestRepo::init().unwrap();
    let first = Dev::builder().repo(repo.path()).start().unwrap();
    let data = first.data_dir().to_string_lossy().into_owned();
    let path = repo.path().to_string_lossy().into_owned();
    let outcome = first
        .run(&["dev", &path, "--data-dir", &data, "--listen", "127.0.0.1:0"])
        .unwrap();
    assert_eq!(outcome.code, Some(2), "{outcome}");
    assert!(
        outcome.stderr.contains(&first.pid().unwrap().to_string()),
        "{outcome}"
    );
}

#[test]
fn a_reset_ends_what_the_tasks_before_have_started() {
    let (repo, data) = (TestRepo::init().unwrap(), tempfile::tempdir().unwrap());
    let family = "apiVersion: kelson/v1\nkind: Service\nmetadata: {name: family}\nspec:\n  run: {command: sh, args: [-c, 'sleep 1000 & echo $$! > child; wait']}\n";
    repo.commit_file("kelson/family.yaml", family, "a program with a child")
        .unwrap();
    let start = |arguments: &[&str]| {
        let dev = Dev::builder().repo(repo.path()).data_dir(data.path());
        dev.args(arguments.iter().copied()).start().unwrap()
    };
    let mut first = start(&[]);
    let noted = data.path().join("agent/tasks/tsk_1/work/child");
    let child: u32 = first
        .wait_for("the child has been started", DEADLINE, |_| {
            let text = std::fs::read_to_string(&noted).unwrap_or_default();
            let whole = text.strip_suffix('\n').and_then(|pid| pid.parse().ok());
            Ok(whole.map_or_else(|| Look::NotYet(text), Look::Found))
        })
        .unwrap();
    first.stop(Signal::KILL, DEADLINE).unwrap();
    assert!(processes::is_alive(child));
    let _second = start(&["--reset"]);
    assert!(!processes::is_alive(child), "it outlived the reset");
}
