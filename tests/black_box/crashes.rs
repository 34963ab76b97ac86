//! `kill -9` of each process at each step of a rollout: no task is started twice under one id, none
//! is lost, and the rollout ends.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kelson_testkit::manifest::service;
use kelson_testkit::processes::{self, Signal};
use kelson_testkit::{Look, http, status};
use serde_json::Value;

use crate::cluster::{Cluster, DEADLINE, file, text};

/// The steps of a rollout, as the kernel's events name them.
const STEPS: [&str; 4] = ["TaskLaunched", "TaskRunning", "TaskStopping", "TaskEnded"];

/// Two tasks that write their id into `starts` before they become the example server.
fn manifest(starts: &Path, version: usize) -> String {
    service("web")
        .instances(2)
        .text(&format!("web {version}"))
        .noting_starts_in(starts)
        .yaml()
}

fn last_event(cluster: &Cluster) -> u64 {
    events(cluster, 0)
        .last()
        .and_then(|event| event["index"].as_u64())
        .unwrap_or(0)
}

fn events(cluster: &Cluster, since: u64) -> Vec<Value> {
    let all = cluster
        .dev
        .json(&["events", "-A"])
        .ok()
        .and_then(|list| list["items"].as_array().cloned())
        .unwrap_or_default();
    all.into_iter()
        .filter(|event| event["index"].as_u64() > Some(since))
        .collect()
}

/// Kills the newest process of this kind as soon as the step has happened.
fn kill_at(cluster: &Cluster, verb: &str, since: u64, step: &str) {
    cluster
        .dev
        .wait_for(step, DEADLINE, |_| {
            let seen = events(cluster, since);
            let is_there = seen.iter().any(|event| text(event, "/reason") == step);
            Ok(if is_there {
                Look::Found(())
            } else {
                Look::NotYet(format!("{seen:?}"))
            })
        })
        .unwrap();
    let victim = cluster
        .dev
        .processes()
        .into_iter()
        .filter(|process| process.is_kelson(verb))
        .max_by_key(|process| process.pid);
    // A shim may have ended by itself meanwhile: then there is nothing to kill at this step.
    if let Some(victim) = victim {
        let _is_sent = processes::signal(victim.pid, Signal::KILL);
    }
}

/// Waits until the commit is settled, also while nobody answers.
fn settle(cluster: &Cluster, commit: &str) {
    cluster
        .dev
        .wait_for("it is settled", DEADLINE, |cli| {
            Ok(match cli.status() {
                Ok(now) if status::is_settled(&now, commit) => Look::Found(()),
                Ok(now) => Look::NotYet(now.to_string()),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })
        .unwrap();
}

/// What a task answers at `/`, where it does.
fn answer(task: &Value) -> Option<String> {
    let url = kelson_testkit::url(task, "http")?;
    let response = http::get(&format!("{url}/"), DEADLINE).ok()?;
    (response.status == 200).then(|| response.body.trim().to_owned())
}

fn survives_kills_of(verb: &str) {
    let cluster = Cluster::empty();
    let folder = tempfile::tempdir().unwrap();
    let starts = folder.path().join("starts");
    cluster
        .repo
        .write(&file("web"), manifest(&starts, 0))
        .unwrap();
    let first = cluster.repo.commit("version 0").unwrap();
    cluster.dev.settle(&first).unwrap();
    for (version, step) in STEPS.iter().enumerate() {
        let version = version + 1;
        let since = last_event(&cluster);
        cluster
            .repo
            .write(&file("web"), manifest(&starts, version))
            .unwrap();
        let commit = cluster.repo.commit(&format!("version {version}")).unwrap();
        kill_at(&cluster, verb, since, step);
        settle(&cluster, &commit);
        let wanted = format!("web {version}");
        // What was killed may still stand as running for a moment: it does not answer any more.
        cluster
            .dev
            .wait_for("both tasks answer with the new version", DEADLINE, |cli| {
                let tasks = cli.running("Service/web")?;
                let answers: Vec<Option<String>> = tasks.iter().map(answer).collect();
                let is_wanted =
                    |answer: &Option<String>| answer.as_deref() == Some(wanted.as_str());
                Ok(if answers.len() == 2 && answers.iter().all(is_wanted) {
                    Look::Found(())
                } else {
                    Look::NotYet(format!("{verb} killed at {step}: {answers:?} of {tasks:?}"))
                })
            })
            .unwrap();
    }
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for id in fs::read_to_string(&starts).unwrap().lines() {
        *count.entry(id.to_owned()).or_default() += 1;
    }
    assert!(count.len() >= 2 * (STEPS.len() + 1), "{count:?}");
    let twice: Vec<_> = count.iter().filter(|(_, starts)| **starts > 1).collect();
    assert!(twice.is_empty(), "started twice under one id: {twice:?}");
}

#[test]
fn the_kernel_killed_at_each_step_of_a_rollout_loses_nothing() {
    survives_kills_of("kernel");
}

#[test]
fn the_agent_killed_at_each_step_of_a_rollout_loses_nothing() {
    survives_kills_of("agent");
}

#[test]
fn a_shim_killed_at_each_step_of_a_rollout_costs_no_more_than_its_task() {
    survives_kills_of("shim");
}

#[test]
fn an_exit_code_is_kept_while_no_agent_and_no_kernel_looks() {
    let cluster = Cluster::empty();
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    let program = format!(
        "while [ ! -e {} ]; do sleep 0.05; done; exit 42",
        go.display()
    );
    let manifest = format!(
        "apiVersion: kelson/v1\nkind: Service\nmetadata: {{name: once, namespace: shop}}\nspec:\n  run: {{command: sh, args: [-c, \"{program}\"]}}\n  restart: {{backoff: {{initial: 5m}}}}\n  update: {{minHealthyTime: 100ms}}\n"
    );
    cluster.repo.write("kelson/once.yaml", manifest).unwrap();
    let commit = cluster.repo.commit("once").unwrap();
    cluster.dev.settle(&commit).unwrap();
    let mut cluster = cluster;
    let task = cluster.dev.running("Service/once").unwrap().remove(0);
    let pid = u32::try_from(task["pid"].as_u64().unwrap()).unwrap();
    cluster.dev.stop(Signal::KILL, DEADLINE).unwrap();
    fs::write(&go, "").unwrap();
    kelson_testkit::wait_for("the task has ended", DEADLINE, || {
        Ok(if processes::is_alive(pid) {
            Look::NotYet(format!("{pid} lives"))
        } else {
            Look::Found(())
        })
    })
    .unwrap();
    cluster.dev.start().unwrap();
    cluster
        .dev
        .wait_for("its exit code is known", DEADLINE, |cli| {
            let all = cli.json(&["tasks", "-A"])?;
            let items = all["items"].as_array().cloned().unwrap_or_default();
            let found = items
                .iter()
                .find(|known| known["id"] == task["id"] && known["exit"]["code"] == 42);
            Ok(if found.is_some() {
                Look::Found(())
            } else {
                Look::NotYet(format!("{items:?}"))
            })
        })
        .unwrap();
}
