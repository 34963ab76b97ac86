//! A commit becomes a running service.

use kelson_model::code::Code;
use kelson_testkit::manifest::service;
use kelson_testkit::{Cli, Look, http, status};

use crate::cluster::{Cluster, DEADLINE, fetch, text};

#[test]
fn a_commit_becomes_running_tasks_that_answer() {
    let (cluster, commit) = Cluster::with(&[("web", service("web").instances(2))]);
    assert_eq!(cluster.answers("Service/web"), ["web 1", "web 1"]);
    let now = cluster.dev.status().unwrap();
    assert_eq!(now.get("kind").unwrap(), "Status");
    assert!(status::source_is(&now, "observed", &commit));
    assert!(status::source_is(&now, "branch", "main"));
    let web = status::object(&now, "Service/web").unwrap();
    assert_eq!(web.pointer("/origin/file").unwrap(), "kelson/web.yaml");
    assert_eq!(web.pointer("/namespace").unwrap(), "shop");
    assert_eq!(
        cluster.dev.drift().unwrap(),
        Vec::<serde_json::Value>::new(),
        "nobody has changed anything"
    );
}

#[test]
fn an_unborn_branch_waits_for_its_first_commit() {
    let cluster = Cluster::empty();
    assert!(status::objects(&cluster.dev.status().unwrap()).is_empty());
    let commit = cluster.commit("web", &service("web"));
    cluster.dev.settle(&commit).unwrap();
    assert_eq!(cluster.answers("Service/web"), ["web 1"]);
}

#[test]
fn a_task_has_the_documented_environment_and_nothing_of_its_agent() {
    let named = service("web")
        .yaml()
        .replace("args: [", "env: {LOG_LEVEL: info}, args: [");
    let cluster = Cluster::empty();
    let commit = cluster
        .repo
        .commit_file("kelson/web.yaml", named, "web")
        .unwrap();
    cluster.dev.settle(&commit).unwrap();
    let tasks = cluster.dev.running("Service/web").unwrap();
    let task = tasks.first().unwrap();
    let id = task.get("id").unwrap().as_str().unwrap();
    let port = task.pointer("/ports/http").unwrap().to_string();
    assert_eq!(fetch(task, "/env/KELSON_TASK_ID"), id);
    assert_eq!(fetch(task, "/env/KELSON_NAMESPACE"), "shop");
    assert_eq!(fetch(task, "/env/PORT_HTTP"), port);
    assert_eq!(fetch(task, "/env/PORT"), port);
    assert_eq!(fetch(task, "/env/LOG_LEVEL"), "info");
    assert_eq!(fetch(task, "/env/HOME"), fetch(task, "/env/TMPDIR"));
    assert_eq!(fetch(task, "/pid"), task.get("pid").unwrap().to_string());
    // The harness has put this into the environment of `kelson dev`.
    let url = kelson_testkit::url(task, "http").unwrap();
    assert_eq!(
        http::get(&format!("{url}/env/KELSON_TESTKIT"), DEADLINE)
            .unwrap()
            .status,
        404
    );
}

#[test]
fn a_file_of_the_commit_stands_in_the_task_and_its_change_is_a_new_version() {
    let manifest = service("web").yaml().replace("args: [--text, \"web 1\"", "files: [{path: site/index.html, source: pages/index.html}], args: [--file, site/index.html");
    let cluster = Cluster::empty();
    cluster.repo.write("pages/index.html", "first").unwrap();
    let commit = cluster
        .repo
        .commit_file("kelson/web.yaml", manifest, "web")
        .unwrap();
    cluster.dev.settle(&commit).unwrap();
    assert_eq!(cluster.answers("Service/web"), ["first"]);
    let commit = cluster
        .repo
        .commit_file("pages/index.html", "second", "another page")
        .unwrap();
    cluster.dev.settle(&commit).unwrap();
    assert_eq!(cluster.answers("Service/web"), ["second"]);
}

#[test]
fn tasks_that_share_a_new_file_all_start_at_the_first_attempt() {
    let manifest = service("web").instances(6).yaml().replace(
        "args: [--text, \"web 1\"",
        "files: [{path: site/index.html, source: pages/index.html}], args: [--file, site/index.html",
    );
    let cluster = Cluster::empty();
    cluster.repo.write("pages/index.html", "first").unwrap();
    let commit = cluster
        .repo
        .commit_file("kelson/web.yaml", manifest, "web")
        .unwrap();
    cluster.dev.settle(&commit).unwrap();
    assert_eq!(cluster.answers("Service/web"), ["first"; 6]);
    let tasks = cluster.dev.cli().json(&["tasks", "-A"]).unwrap();
    let tasks = tasks.get("items").unwrap().as_array().unwrap();
    assert_eq!(tasks.len(), 6, "{tasks:#?}");
}

#[test]
fn the_output_of_an_ended_task_is_read_until_it_is_not_kept_any_more() {
    let (cluster, _) = Cluster::with(&[("web", service("web"))]);
    let running = |not: &str| {
        let look = |cli: &Cli| {
            let tasks = cli.running("Service/web")?;
            let id = tasks.first().map(|task| text(task, "/id").to_owned());
            Ok(match id.filter(|id| id != not) {
                Some(id) => Look::Found(id),
                None => Look::NotYet(format!("{tasks:?}")),
            })
        };
        cluster
            .dev
            .wait_for("another task", DEADLINE, look)
            .unwrap()
    };
    let first = running("");
    let stop = |id: &str| cluster.dev.cli().ok(&["stop", id]).unwrap();
    stop(&first);
    let mut newest = running(&first);
    let read = cluster.dev.cli().run(&["logs", &first]).unwrap();
    assert_eq!(read.code, Some(0), "{read}");
    for _ in 0..3 {
        stop(&newest);
        newest = running(&newest);
    }
    let refused = cluster.dev.cli().run(&["logs", &first]).unwrap();
    assert_eq!(refused.code, Some(5), "{refused}");
    assert!(refused.stderr.contains(Code::OutputGone.id()), "{refused}");
}
