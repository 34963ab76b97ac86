//! What happens to the machine itself: a full disk, limits that are met, limits that are changed by
//! hand.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use kelson_testkit::manifest::service;
use kelson_testkit::{Dev, Look, TestRepo};
use serde_json::Value;

use crate::cluster::{Cluster, DEADLINE, file, pid, text};

/// The memory limit file of a task's group (version 1 of control groups); nothing where none is
/// enforced.
fn memory_limit(pid: u32) -> Option<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let line = groups
        .lines()
        .find(|line| line.split(':').nth(1) == Some("memory"))?;
    let group = line.splitn(3, ':').nth(2)?;
    let path = PathBuf::from(format!(
        "/sys/fs/cgroup/memory{group}/memory.limit_in_bytes"
    ));
    (group.contains("kelson") && path.is_file()).then_some(path)
}

#[test]
fn a_memory_limit_changed_by_hand_is_put_back_and_reported() {
    let (cluster, _) = Cluster::with(&[("web", service("web"))]);
    let task = cluster.dev.running("Service/web").unwrap().remove(0);
    let Some(limit) = memory_limit(pid(&task)) else {
        println!(
            "skipped: no memory limit of control groups version 1 is enforced on this machine"
        );
        return;
    };
    let before = fs::read_to_string(&limit).unwrap();
    fs::write(&limit, "1073741824").unwrap();
    let healed = cluster
        .dev
        .wait_for("the drift report has it", DEADLINE, |cli| {
            let items = cli.drift()?;
            let found = items
                .iter()
                .find(|item| text(item, "/plane") == "agent" && text(item, "/state") == "healed");
            Ok(found
                .cloned()
                .map_or_else(|| Look::NotYet(format!("{items:?}")), Look::Found))
        })
        .unwrap();
    assert_eq!(healed["task"], task["id"], "{healed}");
    assert_eq!(fs::read_to_string(&limit).unwrap(), before);
}

#[test]
fn a_task_that_takes_more_memory_than_it_may_is_ended_and_says_so() {
    let cluster = Cluster::empty();
    let manifest = "apiVersion: kelson/v1\nkind: Service\nmetadata: {name: glutton, namespace: shop}\nspec:\n  run: {command: sh, args: [-c, \"x=$$(head -c 200000000 /dev/zero | tr '\\\\0' x); echo $${#x}\"]}\n  resources: {cpus: 0.1, memory: 32Mi}\n";
    cluster.repo.write("kelson/glutton.yaml", manifest).unwrap();
    cluster.repo.commit("a glutton").unwrap();
    let ended = cluster
        .dev
        .wait_for("its first task has ended", DEADLINE, |cli| {
            let all = cli.json(&["tasks", "-A"])?;
            let items = all["items"].as_array().cloned().unwrap_or_default();
            let is_over = |task: &&Value| !task["exit"]["reason"].is_null();
            Ok(items
                .iter()
                .find(is_over)
                .cloned()
                .map_or_else(|| Look::NotYet(format!("{items:?}")), Look::Found))
        })
        .unwrap();
    let isolation = text(&ended, "/isolation");
    if isolation.contains("memory") {
        println!("skipped: this machine does not enforce memory limits: {isolation}");
        return;
    }
    assert_eq!(
        ended.pointer("/exit/oom"),
        Some(&Value::Bool(true)),
        "{ended}"
    );
}

/// A small file system in memory, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(mebibytes: u32) -> Option<SmallDisk> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "kelson-test"])
            .arg(folder.path())
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _is_unmounted = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_stops_nothing_that_runs_and_is_got_over() {
    let Some(disk) = SmallDisk::mount(64) else {
        println!("skipped: a small file system cannot be mounted here (it needs root)");
        return;
    };
    let repo = TestRepo::init().unwrap();
    let dev = Dev::builder()
        .repo(repo.path())
        .data_dir(disk.0.path().join("data"))
        .start()
        .unwrap();
    let cluster = Cluster { repo, dev };
    cluster
        .repo
        .write(&file("web"), service("web").yaml())
        .unwrap();
    let first = cluster.repo.commit("web 1").unwrap();
    cluster.dev.settle(&first).unwrap();
    let before = cluster.pids("Service/web");
    let filler = disk.0.path().join("filler");
    // Fills the disk to the last byte: the copy ends where the disk does.
    let filled = Command::new("dd")
        .args(["if=/dev/zero", "bs=64k"])
        .arg(format!("of={}", filler.display()))
        .output()
        .unwrap();
    assert!(!filled.status.success(), "the disk did not fill");
    let second = cluster.commit("web", &service("web").text("web 2"));
    cluster
        .dev
        .wait_for("somebody says that the disk is full", DEADLINE, |_| {
            let mut said = cluster.dev.said();
            said.push_str(
                &fs::read_to_string(cluster.dev.data_dir().join("logs/kernel.log"))
                    .unwrap_or_default(),
            );
            let is_said = said.contains("full") || said.contains("No space left");
            Ok(if is_said {
                Look::Found(())
            } else {
                Look::NotYet(said)
            })
        })
        .unwrap();
    assert!(
        before
            .iter()
            .all(|pid| kelson_testkit::processes::is_alive(*pid)),
        "a full disk ended a task"
    );
    fs::remove_file(&filler).unwrap();
    cluster.dev.settle(&second).unwrap();
    assert_eq!(cluster.answers("Service/web"), ["web 2"]);
}
