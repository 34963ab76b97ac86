//! Which files of a commit are manifests, and what is wrong with the others.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use super::fixture::{Repository, at_tip, faults, paths};
use crate::source::{FileMode, GitSource, Limits, ManifestSource, SourceError, WorkTree};

#[test]
fn without_a_kelson_folder_the_whole_commit_is_looked_at() {
    let repository = Repository::with(&[
        ("z.yml", "1"),
        ("a/b/c.yaml", "1"),
        ("a.yaml", "1"),
        ("a-b.yaml", "1"),
        ("README.md", "1"),
        (".github/workflows/ci.yml", "1"),
        ("a/.hidden/d.yaml", "1"),
        ("kelson.yaml", "1"),
    ]);
    let listing = at_tip(&repository.open());
    assert_eq!(
        paths(&listing),
        ["a-b.yaml", "a.yaml", "a/b/c.yaml", "kelson.yaml", "z.yml"]
    );
    assert_eq!((&*listing.folder, listing.faults.len()), ("", 0));
}

#[test]
fn a_kelson_folder_is_where_manifests_are() {
    let repository = Repository::with(&[
        ("kelson/a.yaml", "1"),
        ("b.yaml", "1"),
        ("kelsonx/c.yaml", "1"),
    ]);
    let listing = at_tip(&repository.open());
    assert_eq!(paths(&listing), ["kelson/a.yaml"]);
    assert_eq!(&*listing.folder, "kelson");
    assert_eq!(listing.file("kelson/a.yaml").unwrap().size, 1);
    assert_eq!(listing.file("b.yaml"), None);
}

#[test]
fn a_path_that_was_given_wins_over_the_kelson_folder() {
    let repository = Repository::with(&[
        ("kelson/a.yaml", "1"),
        ("deploy/prod/b.yaml", "1"),
        ("deploy/dev/c.yaml", "1"),
        ("d.yaml", "1"),
    ]);
    let below = |path: &str| {
        let source = GitSource::open(&repository.path, None, Some(path)).unwrap();
        at_tip(&source)
            .files
            .iter()
            .map(|file| file.path.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(below("deploy/prod/"), ["deploy/prod/b.yaml"]);
    assert_eq!(
        below("./deploy"),
        ["deploy/dev/c.yaml", "deploy/prod/b.yaml"]
    );
    assert_eq!(below(".").len(), 4);
    assert!(matches!(
        GitSource::open(&repository.path, None, Some("../x")),
        Err(SourceError::BadPath { .. })
    ));
}

#[test]
fn a_path_that_the_commit_does_not_have_is_no_empty_wish() {
    let repository = Repository::with(&[("deploy/a.yaml", "1"), ("file", "1")]);
    for path in ["nowhere", "deploy/prod", "file"] {
        let source = GitSource::open(&repository.path, None, Some(path)).unwrap();
        let error = source.tree(&repository.head()).unwrap_err();
        assert!(
            matches!(&error, SourceError::NoManifestFolder { path: named, .. } if named == path),
            "{error}"
        );
        assert!(
            error.to_string().contains(repository.head().as_str()),
            "{error}"
        );
    }
}

#[test]
fn an_empty_tree_lists_nothing() {
    let repository = Repository::new();
    let revision = repository.commit(&[]);
    let listing = repository.open().tree(&revision).unwrap();
    assert!(listing.files.is_empty() && listing.faults.is_empty());
}

#[test]
fn ignored_manifests_are_skipped_and_deeper_ignore_files_win() {
    let repository = Repository::with(&[
        (".kelsonignore", "draft-*\n/charts/\n*.tmp.yaml\n"),
        ("a.yaml", "1"),
        ("draft-a.yaml", "1"),
        ("charts/b.yaml", "1"),
        ("team/charts/c.yaml", "1"),
        ("team/draft-d.yaml", "1"),
        ("team/e.tmp.yaml", "1"),
        ("team/.kelsonignore", "!draft-d.yaml\n"),
    ]);
    assert_eq!(
        paths(&at_tip(&repository.open())),
        ["a.yaml", "team/charts/c.yaml", "team/draft-d.yaml"]
    );
    let team = GitSource::open(&repository.path, None, Some("team")).unwrap();
    assert_eq!(
        paths(&at_tip(&team)),
        ["team/charts/c.yaml", "team/draft-d.yaml"],
        "the files above speak too"
    );
}

#[test]
fn a_changed_ignore_file_changes_what_unchanged_folders_list() {
    let repository = Repository::with(&[("a/b/c.yaml", "1"), ("a/b/d.yaml", "1")]);
    let source = repository.open();
    assert_eq!(paths(&at_tip(&source)).len(), 2);
    repository.commit(&[(".kelsonignore", "c.yaml\n")]);
    assert_eq!(paths(&at_tip(&source)), ["a/b/d.yaml"]);
    std::fs::remove_file(repository.path.join(".kelsonignore")).unwrap();
    repository.commit(&[]);
    assert_eq!(paths(&at_tip(&source)).len(), 2);
}

#[test]
fn an_ignore_file_that_cannot_be_used_is_a_fault_with_its_place_and_its_folder_is_not_read() {
    let repository = Repository::new();
    repository.write("team/.kelsonignore", b"*.yaml\nx\xff\n");
    repository.commit(&[
        ("a.yaml", "1"),
        ("team/b.yaml", "1"),
        ("team/in/c.yaml", "1"),
    ]);
    let in_work_tree = WorkTree::open(&repository.path, None).unwrap();
    for listing in [at_tip(&repository.open()), in_work_tree.files().unwrap()] {
        assert_eq!(
            paths(&listing),
            ["a.yaml"],
            "what it left out is not applied"
        );
        assert_eq!(
            faults(&listing),
            [(
                "team/.kelsonignore",
                "it cannot be used, and nothing of its folder is read: it is not UTF-8".to_owned()
            )]
        );
        assert_eq!(listing.faults[0].cause.position(), (2, 2));
    }
}

#[test]
fn an_ignore_file_that_is_too_long_is_a_fault_also_above_the_manifests() {
    let repository = Repository::new();
    let long = "draft-*\n".repeat(2_000);
    repository.commit(&[(".kelsonignore", &long), ("kelson/a.yaml", "1")]);
    let listing = at_tip(&repository.open());
    assert!(paths(&listing).is_empty());
    assert_eq!(listing.faults[0].cause.position(), (1001, 1));
    repository.commit(&[(".kelsonignore", &"#".repeat(2 * (64 << 10)))]);
    let listing = at_tip(&repository.open());
    assert_eq!(&*listing.faults[0].path, ".kelsonignore");
}

#[test]
fn what_is_no_file_is_a_fault_and_the_others_are_listed() {
    let repository = Repository::with(&[("good.yaml", "1")]);
    symlink("good.yaml", repository.path.join("link.yaml")).unwrap();
    symlink("/etc/passwd", repository.path.join("secret.yml")).unwrap();
    symlink("good.yaml", repository.path.join("link.txt")).unwrap();
    std::fs::write(
        repository.path.join(OsStr::from_bytes(b"bad\xff.yaml")),
        "1",
    )
    .unwrap();
    std::fs::write(repository.path.join(OsStr::from_bytes(b"bad\xff.txt")), "1").unwrap();
    let folder = repository.path.join(OsStr::from_bytes(b"f\xfe"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a.yaml"), "1").unwrap();
    repository.git(["add", "--all"]);
    let head = repository.head();
    repository.git([
        "update-index",
        "--add",
        "--cacheinfo",
        &format!("160000,{head},vendor/lib"),
    ]);
    repository.git(["commit", "--quiet", "--message", "odd"]);
    let listing = at_tip(&repository.open());
    assert_eq!(paths(&listing), ["good.yaml"]);
    let link = "it is a symbolic link, which is not followed".to_owned();
    let name = "its name is not UTF-8".to_owned();
    // No .gitmodules names it, so that it is no submodule, and is told without that word.
    let repository_in_it = "it is another git repository, of which this one knows a commit at most: its manifests are not in here".to_owned();
    assert_eq!(
        faults(&listing),
        [
            ("bad\\xff.yaml", name.clone()),
            ("f\\xfe", name),
            ("link.yaml", link.clone()),
            ("secret.yml", link),
            ("vendor/lib", repository_in_it),
        ]
    );
    assert!(
        listing
            .faults
            .iter()
            .all(|fault| !fault.cause.hint().is_empty())
    );
}

#[test]
fn an_ignored_submodule_or_link_is_no_fault() {
    let repository = Repository::with(&[
        ("good.yaml", "1"),
        (".kelsonignore", "vendor/lib\nlink.yaml\n"),
    ]);
    symlink("good.yaml", repository.path.join("link.yaml")).unwrap();
    repository.git(["add", "--all"]);
    repository.git([
        "update-index",
        "--add",
        "--cacheinfo",
        &format!("160000,{},vendor/lib", repository.head()),
    ]);
    repository.git(["commit", "--quiet", "--message", "odd"]);
    let listing = at_tip(&repository.open());
    assert_eq!(
        (paths(&listing), faults(&listing)),
        (vec!["good.yaml"], vec![])
    );
}

#[test]
fn a_manifest_beyond_the_size_limit_is_a_fault() {
    let repository = Repository::new();
    repository.write("big.yaml", vec![b'#'; (1 << 20) + 1]);
    repository.write("just.yaml", vec![b'#'; 1 << 20]);
    repository.commit(&[("good.yaml", "1")]);
    let listing = at_tip(&repository.open());
    assert_eq!(paths(&listing), ["good.yaml", "just.yaml"]);
    assert_eq!(
        faults(&listing),
        [(
            "big.yaml",
            "it has 1048577 bytes; a manifest has at most 1048576".to_owned()
        )]
    );
}

#[test]
fn limits_on_the_whole_are_faults_that_name_them() {
    let repository = Repository::with(&[
        ("a.yaml", "12345"),
        ("b.yaml", "12345"),
        ("c/d/e.yaml", "12345"),
        ("f.txt", ""),
    ]);
    let with = |limits| {
        let listing = at_tip(&repository.open_with(limits));
        let files = paths(&listing).join(" ");
        (
            files,
            listing
                .faults
                .iter()
                .map(|fault| fault.cause.to_string())
                .collect::<Vec<_>>()
                .join("; "),
        )
    };
    let usual = Limits::default();
    assert_eq!(
        with(Limits { files: 2, ..usual }),
        (
            "a.yaml b.yaml".into(),
            "there are more than 2 manifests".into()
        )
    );
    assert_eq!(
        with(Limits {
            total_bytes: 14,
            ..usual
        }),
        (
            "a.yaml b.yaml".into(),
            "the manifests have more than 14 bytes together".into()
        )
    );
    assert_eq!(
        with(Limits { depth: 1, ..usual }),
        (
            "a.yaml b.yaml".into(),
            "it is more than 1 folders deep".into()
        )
    );
    assert_eq!(with(Limits { depth: 2, ..usual }).1, "");
    assert_eq!(
        with(Limits {
            entries: 6,
            ..usual
        })
        .1,
        ""
    );
    assert_eq!(
        with(Limits {
            entries: 5,
            ..usual
        })
        .1,
        "there are more than 5 files and folders"
    );
    assert!(
        with(Limits {
            manifest_bytes: 1,
            faults: 2,
            ..usual
        })
        .1
        .ends_with("more than 2 faults; the others are not listed")
    );
}

#[test]
fn a_tree_of_trees_that_doubles_at_each_level_ends_at_the_limit() {
    let repository = Repository::new();
    let git = git2::Repository::open(&repository.path).unwrap();
    let blob = git.blob(b"1").unwrap();
    let mut tree = {
        let mut builder = git.treebuilder(None).unwrap();
        builder.insert("a.yaml", blob, 0o100_644).unwrap();
        builder.write().unwrap()
    };
    for _ in 0..40 {
        let mut builder = git.treebuilder(None).unwrap();
        builder.insert("l", tree, 0o040_000).unwrap();
        builder.insert("r", tree, 0o040_000).unwrap();
        tree = builder.write().unwrap();
    }
    let who = git2::Signature::now("Ada", "ada@example.org").unwrap();
    git.commit(
        Some("refs/heads/main"),
        &who,
        &who,
        "bomb",
        &git.find_tree(tree).unwrap(),
        &[],
    )
    .unwrap();
    let source = repository.open_with(Limits {
        entries: 10_000,
        ..Limits::default()
    });
    let listing = at_tip(&source);
    assert_eq!(
        faults(&listing),
        [("", "there are more than 10000 files and folders".to_owned())]
    );
}

#[test]
fn a_listing_costs_what_has_changed() {
    let repository = Repository::new();
    for folder in 0..50 {
        repository.write(&format!("team-{folder}/web.yaml"), format!("{folder}"));
    }
    let first = repository.commit(&[("team-7/deep/er/api.yaml", "1")]);
    let source = repository.open();
    let listing = source.tree(&first).unwrap();
    assert_eq!(source.trees_read(), 52, "each folder once");
    assert!(
        Arc::ptr_eq(&listing, &source.tree(&first).unwrap()),
        "the same commit again costs nothing"
    );
    let second = repository.commit(&[("team-7/web.yaml", "new")]);
    let next = source.tree(&second).unwrap();
    assert_eq!(source.trees_read(), 53, "one folder changed");
    assert_eq!(listing.files.len(), next.files.len());
    let changed: Vec<_> = listing
        .files
        .iter()
        .zip(&next.files)
        .filter(|(old, new)| old != new)
        .collect();
    assert_eq!(changed.len(), 1);
    let third = repository.commit(&[("README.md", "no manifest")]);
    assert_eq!(source.tree(&third).unwrap().files, next.files);
    assert_eq!(source.trees_read(), 53, "no folder changed");
}

#[test]
fn what_is_remembered_does_not_grow_with_history() {
    let repository = Repository::with(&[("a/b.yaml", "0")]);
    let git = git2::Repository::open(&repository.path).unwrap();
    let who = git2::Signature::now("Ada", "ada@example.org").unwrap();
    let source = repository.open();
    for number in 0..500 {
        let blob = git.blob(format!("{number}").as_bytes()).unwrap();
        let mut inner = git.treebuilder(None).unwrap();
        inner.insert("b.yaml", blob, 0o100_644).unwrap();
        let mut top = git.treebuilder(None).unwrap();
        top.insert("a", inner.write().unwrap(), 0o040_000).unwrap();
        let tree = git.find_tree(top.write().unwrap()).unwrap();
        let parent = git.head().unwrap().peel_to_commit().unwrap();
        git.commit(Some("HEAD"), &who, &who, "next", &tree, &[&parent])
            .unwrap();
        assert_eq!(paths(&at_tip(&source)), ["a/b.yaml"]);
    }
    let (folders, sizes) = source.remembered();
    assert!(
        folders < 300 && sizes < 300,
        "{folders} folders and {sizes} sizes"
    );
}

#[test]
fn one_commit_is_a_source_of_manifests() {
    let repository = Repository::with(&[("a.yaml", "one"), ("run.sh", "#!/bin/sh\n")]);
    let revision = repository.head();
    let source: Box<dyn ManifestSource> = Box::new(repository.open().at(revision.clone()));
    repository.commit(&[("a.yaml", "two")]);
    let listing = source.files().unwrap();
    assert_eq!(&source.read(&listing.files[0]).unwrap()[..], b"one");
    assert_eq!(&source.read_at("run.sh").unwrap().bytes[..], b"#!/bin/sh\n");
    assert_eq!(source.revision(), Some(revision));
    assert_eq!(listing.files[0].mode, FileMode::Plain);
}

#[test]
fn a_link_in_the_place_of_the_kelson_folder_is_a_fault() {
    let repository = Repository::with(&[("deploy/a.yaml", "1")]);
    symlink("deploy", repository.path.join("kelson")).unwrap();
    repository.commit(&[]);
    let commit = at_tip(&repository.open());
    let disk = WorkTree::open(&repository.path, None)
        .unwrap()
        .files()
        .unwrap();
    assert_eq!(commit, disk);
    let link = "it is a symbolic link, which is not followed".to_owned();
    assert_eq!(faults(&commit), [("kelson", link)]);
}

#[test]
fn a_renamed_file_keeps_its_content_name() {
    let repository = Repository::with(&[("a.yaml", "one")]);
    let before = at_tip(&repository.open()).files[0].clone();
    repository.git(["mv", "a.yaml", "b.yaml"]);
    repository.commit(&[]);
    let after = at_tip(&repository.open()).files[0].clone();
    assert_eq!((&*after.path, after.blob), ("b.yaml", before.blob));
}

#[test]
fn many_may_ask_one_source_at_once() {
    let repository = Repository::with(&[("a.yaml", "one"), ("b/c.yaml", "two")]);
    let source = repository.open();
    let revision = repository.head();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let listing = source.tree(&revision).unwrap();
                    assert_eq!(paths(&listing), ["a.yaml", "b/c.yaml"]);
                    assert_eq!(&source.blob(listing.files[1].blob).unwrap()[..], b"two");
                }
            });
        }
    });
}
