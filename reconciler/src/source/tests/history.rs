//! Commits among each other, and what people call them.

use super::fixture::{Repository, commit_of};
use crate::source::{SourceError, Tip};

#[test]
fn a_force_push_is_no_fast_forward() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    let source = repository.open();
    let base = repository.head();
    let old = repository.commit(&[("a.yaml", "2")]);
    repository.git(["reset", "--quiet", "--hard", base.as_str()]);
    let new = repository.commit(&[("a.yaml", "3")]);
    assert_eq!(source.tip().unwrap(), Tip::Commit(new.clone()));
    assert!(!source.is_ancestor(&old, &new).unwrap());
    assert!(source.is_ancestor(&base, &new).unwrap());
    assert!(
        !source.is_ancestor(&new, &base).unwrap(),
        "going back is no fast-forward either"
    );
    assert!(source.is_ancestor(&new, &new).unwrap());
    repository.git(["reflog", "expire", "--expire=now", "--all"]);
    repository.git(["gc", "--quiet", "--prune=now"]);
    let source = repository.open();
    assert!(
        !source.is_ancestor(&old, &new).unwrap(),
        "what is gone comes before nothing"
    );
}

#[test]
fn a_merge_has_both_sides_before_it() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    let source = repository.open();
    repository.git(["checkout", "--quiet", "-b", "side"]);
    let side = repository.commit(&[("b.yaml", "1")]);
    repository.git(["checkout", "--quiet", "main"]);
    repository.git(["merge", "--quiet", "--no-ff", "--message", "merge", "side"]);
    let tip = commit_of(source.tip().unwrap());
    assert!(source.is_ancestor(&side, &tip).unwrap());
    assert_eq!(source.commit(&tip).unwrap().parents.len(), 2);
}

#[test]
fn a_commit_says_who_and_what() {
    let repository = Repository::new();
    repository.write("a.yaml", "1");
    repository.git(["add", "--all"]);
    let long = "é".repeat(500);
    repository.git(["commit", "--quiet", "--message", &format!("{long}\n\nbody")]);
    let info = repository.open().commit(&repository.head()).unwrap();
    assert_eq!(
        (info.author.as_str(), info.email.as_str()),
        ("Ada", "ada@example.org")
    );
    assert_eq!(info.summary, "é".repeat(200));
    assert!(info.time > 1_500_000_000);
    assert!(info.parents.is_empty());
    let missing = "1".repeat(40).parse().unwrap();
    assert!(matches!(
        repository.open().commit(&missing),
        Err(SourceError::NoSuchRevision { .. })
    ));
}

#[test]
fn people_name_commits_in_many_ways() {
    let repository = Repository::with(&[("a.yaml", "1")]);
    let first = repository.head();
    repository.git(["tag", "--annotate", "--message", "first", "v1"]);
    let second = repository.commit(&[("a.yaml", "2")]);
    let source = repository.open();
    for (spec, wanted) in [
        ("HEAD", &second),
        ("main", &second),
        ("refs/heads/main", &second),
        ("HEAD~1", &first),
        ("v1", &first),
        (first.as_str(), &first),
        (&first.as_str()[..10], &first),
    ] {
        assert_eq!(source.resolve(spec).unwrap(), *wanted, "{spec}");
    }
    let long = "a".repeat(5000);
    for spec in ["", "nowhere", "HEAD~9", "main:a.yaml", long.as_str()] {
        assert!(
            matches!(
                source.resolve(spec),
                Err(SourceError::NoSuchRevision { .. })
            ),
            "{spec}"
        );
    }
}

#[test]
fn head_of_a_repository_without_commits_names_none() {
    let repository = Repository::new();
    assert!(matches!(
        repository.open().resolve("HEAD"),
        Err(SourceError::NoSuchRevision { .. })
    ));
}
