//! What a repository can do to its reader.

use kelson_testkit::manifest::service;
use kelson_testkit::{Look, status};
use serde_json::Value;

use crate::cluster::{Cluster, DEADLINE, text};

#[test]
fn of_two_commits_in_quick_succession_the_newest_wins() {
    let (cluster, _) = Cluster::with(&[("web", service("web"))]);
    cluster.commit("web", &service("web").text("web 2"));
    let last = cluster.commit("web", &service("web").text("web 3"));
    cluster.dev.settle(&last).unwrap();
    assert_eq!(cluster.answers("Service/web"), ["web 3"]);
}

#[test]
fn a_newer_commit_pre_empts_one_that_is_stuck() {
    let (cluster, _) = Cluster::with(&[("web", service("web"))]);
    cluster.commit("web", &service("web").text("web 2").args(["--unhealthy"]));
    cluster
        .dev
        .wait_until("the rollout is under way", DEADLINE, |now| {
            status::object(now, "Service/web")
                .is_some_and(|web| text(web, "/health") == "Progressing")
        })
        .unwrap();
    let good = cluster.commit("web", &service("web").text("web 3"));
    cluster.dev.settle(&good).unwrap();
    assert_eq!(cluster.answers("Service/web"), ["web 3"]);
}

#[test]
fn one_bad_file_among_many_stops_neither_the_others_nor_what_it_described() {
    let (cluster, _) = Cluster::with(&[("web", service("web")), ("api", service("api"))]);
    let before = cluster.pids("Service/web");
    cluster
        .repo
        .write(
            "kelson/web.yaml",
            service("web")
                .yaml()
                .replace("instances: 1", "instances: one"),
        )
        .unwrap();
    cluster
        .repo
        .write("kelson/api.yaml", service("api").text("api 2").yaml())
        .unwrap();
    let commit = cluster.repo.commit("one good, one bad").unwrap();
    let now = cluster
        .dev
        .wait_until("the good file is applied", DEADLINE, |now| {
            let api = status::object(now, "Service/api");
            status::source_is(now, "observed", &commit)
                && !status::errors(now).is_empty()
                && api.is_some_and(|api| status::is_well(api) && text(api, "/revision") == commit)
        })
        .unwrap();
    let error = status::errors(&now).first().unwrap();
    assert_eq!(text(error, "/file"), "kelson/web.yaml");
    assert_eq!(error.get("line").and_then(Value::as_u64), Some(7));
    assert_eq!(cluster.answers("Service/api"), ["api 2"]);
    assert_eq!(
        cluster.pids("Service/web"),
        before,
        "a bad file changed what runs"
    );
}

#[test]
fn a_file_renamed_and_broken_in_one_commit_prunes_nothing() {
    let (cluster, _) = Cluster::with(&[("web", service("web")), ("api", service("api"))]);
    let before = cluster.pids("Service/web");
    cluster
        .repo
        .rename("kelson/web.yaml", "kelson/site.yaml")
        .unwrap();
    cluster
        .repo
        .edit("kelson/site.yaml", "instances: 1", "instnaces: 1")
        .unwrap();
    let commit = cluster.repo.commit("rename and break").unwrap();
    cluster
        .dev
        .wait_until("the error is reported", DEADLINE, |now| {
            status::source_is(now, "observed", &commit)
                && status::errors(now)
                    .iter()
                    .any(|e| text(e, "/file") == "kelson/site.yaml")
        })
        .unwrap();
    assert_eq!(cluster.pids("Service/web"), before);
}

#[test]
fn an_empty_tree_is_held_until_it_is_confirmed() {
    let (cluster, _) = Cluster::with(&[("web", service("web")), ("api", service("api"))]);
    cluster
        .repo
        .git(&["rm", "-r", "--quiet", "kelson"])
        .unwrap();
    let commit = cluster.repo.commit("everything goes").unwrap();
    let held = cluster
        .dev
        .wait_until("the commit is held", DEADLINE, |now| {
            now.pointer("/source/held")
                .is_some_and(|held| !held.is_null())
        })
        .unwrap();
    assert_eq!(text(&held, "/source/held/reason"), "PruneGuard");
    assert!(
        text(&held, "/source/held/confirm").contains(&commit),
        "{held}"
    );
    assert_eq!(cluster.answers("Service/web"), ["web 1"]);
    let holds = held.pointer("/source/holds").unwrap();
    assert_eq!(holds.as_array().map(Vec::len), Some(1), "{held}");
    cluster.dev.ok(&["confirm", &commit]).unwrap();
    cluster
        .dev
        .wait_until("nothing is left", DEADLINE, |now| {
            status::objects(now).is_empty()
        })
        .unwrap();
    cluster
        .dev
        .wait_for("no task runs", DEADLINE, |cli| {
            let tasks = cli.running("Service/web")?;
            Ok(if tasks.is_empty() {
                Look::Found(())
            } else {
                Look::NotYet(format!("{tasks:?}"))
            })
        })
        .unwrap();
}

#[test]
fn a_word_for_a_rewritten_history_lets_nothing_else_go() {
    let (cluster, _) = Cluster::with(&[("web", service("web")), ("api", service("api"))]);
    let git = |arguments: &[&str]| cluster.repo.git(arguments).unwrap();
    git(&["checkout", "--quiet", "--orphan", "other"]);
    git(&["rm", "-r", "-f", "--quiet", "kelson"]);
    let commit = cluster.repo.commit("nothing at all").unwrap();
    git(&["branch", "--quiet", "-f", "main", "other"]);
    cluster
        .dev
        .wait_until("it is held for two reasons", DEADLINE, |now| {
            let holds = now.pointer("/source/holds").and_then(|it| it.as_array());
            holds.is_some_and(|holds| holds.len() == 2)
                && status::source_is(now, "observed", &commit)
        })
        .unwrap();
    let refused = cluster.dev.run(&["confirm", &commit]).unwrap();
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(
        refused.stderr.contains("ForcePush, PruneGuard"),
        "{refused:?}"
    );
    cluster
        .dev
        .ok(&["confirm", &commit, "--hold", "ForcePush"])
        .unwrap();
    cluster
        .dev
        .wait_until("the guard still holds it", DEADLINE, |now| {
            text(now, "/source/held/reason") == "PruneGuard"
        })
        .unwrap();
    assert_eq!(cluster.answers("Service/web"), ["web 1"]);
}

#[test]
fn a_deleted_manifest_among_others_is_pruned_without_asking() {
    let (cluster, _) = Cluster::with(&[
        ("web", service("web")),
        ("api", service("api")),
        ("old", service("old")),
    ]);
    cluster.repo.remove("kelson/old.yaml").unwrap();
    let commit = cluster.repo.commit("old goes").unwrap();
    cluster
        .dev
        .wait_until("old is gone", DEADLINE, |now| {
            status::is_settled(now, &commit) && status::object(now, "Service/old").is_none()
        })
        .unwrap();
}

#[test]
fn a_force_push_is_held_until_it_is_confirmed() {
    let (cluster, first) = Cluster::with(&[("web", service("web"))]);
    let second = cluster.commit("web", &service("web").text("web 2"));
    cluster.dev.settle(&second).unwrap();
    cluster.repo.rewind(&first).unwrap();
    let other = cluster.commit("web", &service("web").text("web 3"));
    let held = cluster
        .dev
        .wait_until("the rewritten branch is held", DEADLINE, |now| {
            text(now, "/source/held/reason") == "ForcePush"
                && status::source_is(now, "observed", &other)
        })
        .unwrap();
    assert!(
        text(&held, "/source/held/confirm").contains(&other),
        "{held}"
    );
    assert_eq!(cluster.answers("Service/web"), ["web 2"]);
    cluster.dev.ok(&["confirm", "HEAD"]).unwrap();
    cluster.dev.settle(&other).unwrap();
    assert_eq!(cluster.answers("Service/web"), ["web 3"]);
}

#[test]
fn a_deleted_branch_removes_nothing_and_is_followed_again_when_it_is_back() {
    let (cluster, first) = Cluster::with(&[("web", service("web"))]);
    let before = cluster.pids("Service/web");
    cluster.repo.delete_branch("main").unwrap();
    cluster
        .dev
        .wait_until("the source is not synced", DEADLINE, |now| {
            !status::source_is(now, "sync", "Synced")
        })
        .unwrap();
    assert_eq!(cluster.pids("Service/web"), before);
    cluster.repo.force_push("main", &first).unwrap();
    let second = cluster.commit("web", &service("web").text("web 2"));
    cluster.dev.settle(&second).unwrap();
}

#[test]
fn a_repository_that_goes_away_removes_nothing() {
    let (cluster, _) = Cluster::with(&[("web", service("web"))]);
    let before = cluster.pids("Service/web");
    let git = cluster.repo.path().join(".git");
    let away = cluster.repo.path().join(".away");
    std::fs::rename(&git, &away).unwrap();
    cluster
        .dev
        .wait_until("the source is not synced", DEADLINE, |now| {
            !status::source_is(now, "sync", "Synced")
        })
        .unwrap();
    assert_eq!(cluster.pids("Service/web"), before);
    std::fs::rename(&away, &git).unwrap();
    std::fs::write(git.join("info/exclude"), ".away\n").unwrap();
    let commit = cluster.commit("web", &service("web").text("web 2"));
    cluster.dev.settle(&commit).unwrap();
}
