//! What a branch has now.

use std::process::Command;

use super::fixture::{Repository, commit_of, git_in, paths};
use crate::source::{GitSource, SourceError, Tip};

#[test]
fn an_unborn_branch_waits_for_its_first_commit() {
    let repository = Repository::new();
    let source = repository.open();
    assert_eq!(source.branch(), "main");
    assert_eq!(source.tip().unwrap(), Tip::Unborn);
    let first = repository.commit(&[("a.yaml", "a")]);
    assert_eq!(source.tip().unwrap(), Tip::Commit(first));
}

#[test]
fn of_two_commits_in_quick_succession_the_newest_wins() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    let source = repository.open();
    let first = repository.commit(&[("a.yaml", "2")]);
    let second = repository.commit(&[("a.yaml", "3")]);
    assert_eq!(source.tip().unwrap(), Tip::Commit(second.clone()));
    assert!(source.is_ancestor(&first, &second).unwrap());
    assert_ne!(
        source.tree(&first).unwrap().files,
        source.tree(&second).unwrap().files
    );
}

#[test]
fn a_deleted_branch_is_missing_and_not_unborn() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    let source = repository.open();
    let before = commit_of(source.tip().unwrap());
    repository.git(["update-ref", "-d", "refs/heads/main"]);
    assert_eq!(source.tip().unwrap(), Tip::Missing);
    repository.git(["update-ref", "refs/heads/main", before.as_str()]);
    assert_eq!(source.tip().unwrap(), Tip::Commit(before));
}

#[test]
fn a_branch_that_never_was_is_missing() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    let source = GitSource::open(&repository.path, Some("mian"), None).unwrap();
    assert_eq!(source.tip().unwrap(), Tip::Missing);
}

#[test]
fn another_branch_that_is_checked_out_later_changes_nothing() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    let source = repository.open();
    let main = repository.head();
    repository.git(["checkout", "--quiet", "-b", "feature/one"]);
    let feature = repository.commit(&[("b.yaml", "1")]);
    assert_eq!(source.tip().unwrap(), Tip::Commit(main));
    let other = GitSource::open(&repository.path, Some("refs/heads/feature/one"), None).unwrap();
    assert_eq!(other.branch(), "feature/one");
    assert_eq!(other.tip().unwrap(), Tip::Commit(feature));
}

#[test]
fn a_detached_head_asks_for_a_branch() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    repository.git(["checkout", "--quiet", "--detach"]);
    let error = GitSource::open(&repository.path, None, None).unwrap_err();
    assert!(matches!(error, SourceError::DetachedHead { .. }), "{error}");
    assert!(error.to_string().contains("--branch"), "{error}");
    assert!(GitSource::open(&repository.path, Some("main"), None).is_ok());
}

#[test]
fn what_cannot_be_a_branch_is_refused() {
    let repository = Repository::with(&[]);
    for name in ["", "a..b", "a b", "-\u{7}", "a.lock"] {
        let error = GitSource::open(&repository.path, Some(name), None).unwrap_err();
        assert!(
            matches!(error, SourceError::BadBranch { .. }),
            "{name:?}: {error}"
        );
    }
}

#[test]
fn references_that_git_has_packed_are_found() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    let source = repository.open();
    let before = source.tip().unwrap();
    repository.git(["gc", "--quiet", "--prune=now"]);
    assert!(!repository.path.join(".git/refs/heads/main").exists());
    assert_eq!(source.tip().unwrap(), before);
    assert_eq!(paths(&source.tree(&commit_of(before)).unwrap()), ["a.yaml"]);
    let next = repository.commit(&[("b.yaml", "1")]);
    repository.git(["gc", "--quiet", "--prune=now"]);
    assert_eq!(source.tip().unwrap(), Tip::Commit(next.clone()));
    assert_eq!(paths(&source.tree(&next).unwrap()), ["a.yaml", "b.yaml"]);
}

#[test]
fn a_repository_that_goes_away_is_gone_until_it_comes_back() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    let source = repository.open();
    let before = commit_of(source.tip().unwrap());
    source.tree(&before).unwrap();
    std::fs::remove_dir_all(&repository.path).unwrap();
    for error in [source.tip().unwrap_err(), source.tree(&before).unwrap_err()] {
        assert!(matches!(error, SourceError::Gone { .. }), "{error}");
    }
    repository.init();
    assert_eq!(source.tip().unwrap(), Tip::Missing);
    let after = repository.commit(&[("b.yaml", "other")]);
    assert_eq!(source.tip().unwrap(), Tip::Commit(after.clone()));
    assert_eq!(paths(&source.tree(&after).unwrap()), ["b.yaml"]);
    assert!(matches!(
        source.tree(&before),
        Err(SourceError::NoSuchRevision { .. })
    ));
}

#[test]
fn a_repository_replaced_between_two_looks_is_read_anew() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    let source = repository.open();
    let before = commit_of(source.tip().unwrap());
    std::fs::remove_dir_all(&repository.path).unwrap();
    repository.init();
    let after = repository.commit(&[("b.yaml", "other")]);
    assert_eq!(source.tip().unwrap(), Tip::Commit(after));
    assert!(matches!(
        source.commit(&before),
        Err(SourceError::NoSuchRevision { .. })
    ));
}

#[test]
fn a_repository_above_a_deleted_one_is_not_taken_for_it() {
    let outer = Repository::with(&[("outer.yaml", "1")]);
    let inner = outer.path.join("inner");
    std::fs::create_dir(&inner).unwrap();
    git_in(&inner, ["init", "--quiet", "--initial-branch=main"]);
    let source = GitSource::open(&inner, None, None).unwrap();
    assert_eq!(source.tip().unwrap(), Tip::Unborn);
    std::fs::remove_dir_all(inner.join(".git")).unwrap();
    assert!(matches!(source.tip(), Err(SourceError::Gone { .. })));
}

#[test]
fn a_folder_without_repository_is_said_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let error = GitSource::open(folder.path(), None, None).unwrap_err();
    assert!(matches!(error, SourceError::NotFound { .. }), "{error}");
    let error = GitSource::open(&folder.path().join("nowhere"), None, None).unwrap_err();
    assert!(matches!(error, SourceError::NotFound { .. }), "{error}");
}

#[test]
fn bare_repositories_and_folders_within_a_work_tree_are_found() {
    let repository = Repository::with(&[("deep/down/a.yaml", "1")]);
    let within = GitSource::open(&repository.path.join("deep/down"), None, None).unwrap();
    assert_eq!(within.path(), repository.path);
    let bare = repository.path.parent().unwrap().join("bare.git");
    repository.git(["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]);
    let source = GitSource::open(&bare, None, None).unwrap();
    assert_eq!(source.tip().unwrap(), within.tip().unwrap());
    assert_eq!(source.work_dir(), None);
    assert!(source.uncommitted().unwrap().is_empty());
    // A push, as a git server would receive it.
    let pushed = repository.commit(&[("b.yaml", "1")]);
    repository.git(["push", "--quiet", bare.to_str().unwrap(), "main"]);
    assert_eq!(source.tip().unwrap(), Tip::Commit(pushed));
}

#[test]
fn a_linked_work_tree_has_its_own_branch() {
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
    assert_eq!(source.branch(), "side");
    std::fs::write(linked.join("b.yaml"), "1").unwrap();
    git_in(&linked, ["add", "--all"]);
    git_in(&linked, ["commit", "--quiet", "--message", "side"]);
    assert_eq!(
        paths(&source.tree(&commit_of(source.tip().unwrap())).unwrap()),
        ["a.yaml", "b.yaml"]
    );
    let places = source.watch_paths();
    assert_ne!(places.git_dir, places.common_dir);
    assert!(places.common_dir.join("refs/heads").is_dir());
    repository.git(["worktree", "remove", linked.to_str().unwrap()]);
    assert!(matches!(source.tip(), Err(SourceError::Gone { .. })));
}

#[test]
fn a_branch_that_names_what_is_not_there_is_damaged() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    let source = repository.open();
    std::fs::write(
        repository.path.join(".git/refs/heads/main"),
        format!("{}\n", "1".repeat(40)),
    )
    .unwrap();
    let error = source.tip().unwrap_err();
    assert!(matches!(error, SourceError::Damaged { .. }), "{error}");
    assert!(error.may_pass());
}

#[test]
fn a_repository_of_an_unknown_format_is_named_as_such() {
    let repository = Repository::new();
    repository.git(["config", "core.repositoryformatversion", "1"]);
    repository.git(["config", "extensions.refstorage", "reftable"]);
    let error = GitSource::open(&repository.path, None, None).unwrap_err();
    assert!(
        matches!(error, SourceError::Unsupported { .. }),
        "{error:?}"
    );
}

#[test]
fn a_repository_of_another_user_is_refused_with_the_cure() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    let changed = Command::new("chown")
        .args(["-R", "4242:4242"])
        .arg(&repository.path)
        .output()
        .unwrap();
    if !changed.status.success() {
        println!("skipped: only root can give a repository away");
        return;
    }
    let config = git2::Config::open_default().unwrap();
    if config.get_string("safe.directory").is_ok() {
        println!("skipped: this machine's git configuration trusts folders of others");
        return;
    }
    let error = GitSource::open(&repository.path, None, None).unwrap_err();
    assert!(
        matches!(&error, SourceError::NotOwned { path } if *path == repository.path),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .contains("git config --global --add safe.directory"),
        "{error}"
    );
}
