//! Being told that a branch may have changed. Every wait is for an event, with a deadline.

use std::time::Duration;

use super::fixture::{Repository, git_in};
use crate::source::{BeatCause, GitSource, RefWatcher, Tip, WatchMode};

const DEADLINE: Duration = Duration::from_secs(30);
/// Longer than any test waits: what is noticed, is notified.
const NEVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(20);

/// Looks after each beat, as the sync loop does, until the tip is what is wanted.
async fn until(watcher: &mut RefWatcher, source: &GitSource, wanted: impl Fn(Option<Tip>) -> bool) {
    let looked = async {
        while !wanted(source.tip().ok()) {
            assert!(watcher.look_again().await);
        }
    };
    tokio::time::timeout(DEADLINE, looked).await.unwrap();
}

async fn armed(source: &GitSource, interval: Duration) -> RefWatcher {
    let mut watcher = RefWatcher::spawn(source.watch_paths(), interval).unwrap();
    tokio::time::timeout(DEADLINE, watcher.look_again())
        .await
        .unwrap();
    assert_eq!(watcher.latest().mode, WatchMode::Notify);
    watcher
}

#[tokio::test]
async fn a_commit_is_noticed_by_notification() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    let source = repository.open();
    let mut watcher = armed(&source, NEVER).await;
    for number in 0..3 {
        let next = Tip::Commit(repository.commit(&[("a.yaml", &format!("{number}"))]));
        until(&mut watcher, &source, |tip| tip.as_ref() == Some(&next)).await;
        assert_eq!(watcher.latest().cause, BeatCause::Change);
    }
    watcher.stop();
}

#[tokio::test]
async fn the_first_commit_of_an_unborn_branch_is_noticed() {
    let repository = Repository::new();
    let source = repository.open();
    let mut watcher = armed(&source, NEVER).await;
    let first = Tip::Commit(repository.commit(&[("a.yaml", "1")]));
    until(&mut watcher, &source, |tip| tip.as_ref() == Some(&first)).await;
}

#[tokio::test]
async fn packing_and_deleting_a_branch_are_noticed() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    let source = repository.open();
    let mut watcher = armed(&source, NEVER).await;
    repository.git(["pack-refs", "--all"]);
    tokio::time::timeout(DEADLINE, watcher.look_again())
        .await
        .unwrap();
    assert!(matches!(source.tip().unwrap(), Tip::Commit(_)));
    repository.git(["update-ref", "-d", "refs/heads/main"]);
    until(&mut watcher, &source, |tip| tip == Some(Tip::Missing)).await;
}

#[tokio::test]
async fn a_branch_in_a_folder_that_is_new_is_noticed() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    let source = GitSource::open(&repository.path, Some("team/deep/one"), None).unwrap();
    // Folders that have just been made are watched a moment later; what is missed then is polled.
    let mut watcher = armed(&source, SOON).await;
    repository.git(["branch", "team/deep/one"]);
    until(&mut watcher, &source, |tip| {
        matches!(tip, Some(Tip::Commit(_)))
    })
    .await;
}

#[tokio::test]
async fn a_commit_in_a_linked_work_tree_is_noticed() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    let linked = repository.path.parent().unwrap().join("linked");
    repository.git([
        "worktree",
        "add",
        "--quiet",
        "-b",
        "side",
        linked.to_str().unwrap(),
    ]);
    let source = GitSource::open(&linked, None, None).unwrap();
    let before = source.tip().unwrap();
    let mut watcher = armed(&source, NEVER).await;
    git_in(
        &linked,
        ["commit", "--quiet", "--allow-empty", "--message", "side"],
    );
    until(&mut watcher, &source, |tip| {
        tip.is_some_and(|tip| tip != before)
    })
    .await;
}

#[tokio::test]
async fn a_repository_that_comes_back_is_watched_again() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    let source = repository.open();
    let mut watcher = armed(&source, SOON).await;
    std::fs::remove_dir_all(&repository.path).unwrap();
    until(&mut watcher, &source, |tip| tip.is_none()).await;
    let polling = async {
        while watcher.latest().mode != WatchMode::Polling {
            assert!(watcher.look_again().await);
        }
    };
    tokio::time::timeout(DEADLINE, polling).await.unwrap();
    repository.init();
    let notified = async {
        while watcher.latest().mode != WatchMode::Notify {
            assert!(watcher.look_again().await);
        }
    };
    tokio::time::timeout(DEADLINE, notified).await.unwrap();
    let next = Tip::Commit(repository.commit(&[("b.yaml", "1")]));
    until(&mut watcher, &source, |tip| tip.as_ref() == Some(&next)).await;
}

#[tokio::test]
async fn who_does_not_wait_gets_one_beat_for_many_changes() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    let source = repository.open();
    let mut watcher = armed(&source, NEVER).await;
    repository.commit(&[("a.yaml", "2")]);
    let last = Tip::Commit(repository.commit(&[("a.yaml", "3")]));
    until(&mut watcher, &source, |tip| tip.as_ref() == Some(&last)).await;
    watcher.stop();
}

#[tokio::test]
async fn a_watcher_that_stops_tells_those_who_wait() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    let watcher = armed(&repository.open(), NEVER).await;
    let mut other = watcher.subscribe();
    watcher.stop();
    let ended = async { while other.changed().await.is_ok() {} };
    tokio::time::timeout(DEADLINE, ended).await.unwrap();
}
