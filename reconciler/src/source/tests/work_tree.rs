//! Files as they are on disk.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::fixture::{Repository, at_tip, faults, git_in, paths};
use crate::source::{Change, GitSource, Limits, ManifestSource, SourceError, WorkTree};

#[test]
fn a_clean_work_tree_lists_what_its_commit_lists() {
    let repository = Repository::with(&[
        (".kelsonignore", "draft-*\n"),
        ("kelson/a.yaml", "one"),
        ("kelson/team/b.yml", "two"),
        ("kelson/draft-c.yaml", "no"),
        ("kelson/.hidden/d.yaml", "no"),
        ("kelson/README.md", "no"),
        ("outside.yaml", "no"),
    ]);
    let commit = at_tip(&repository.open());
    let tree = WorkTree::open(&repository.path.join("kelson/team"), None).unwrap();
    let listing = tree.files().unwrap();
    assert_eq!(paths(&commit), ["kelson/a.yaml", "kelson/team/b.yml"]);
    assert_eq!(commit, listing);
    assert_eq!(&tree.read(&listing.files[1]).unwrap()[..], b"two");
    assert_eq!(
        (tree.revision(), tree.top()),
        (None, repository.path.as_path())
    );
}

#[test]
fn what_is_not_committed_is_listed_too() {
    let repository = Repository::with(&[("a.yaml", "one")]);
    repository.write("a.yaml", "changed");
    repository.write("new.yaml", "new");
    let tree = WorkTree::open(&repository.path, None).unwrap();
    let listing = tree.files().unwrap();
    assert_eq!(paths(&listing), ["a.yaml", "new.yaml"]);
    repository.write("a.yaml", "changed again");
    assert_eq!(
        &tree.read(&listing.files[0]).unwrap()[..],
        b"changed",
        "a listing and its contents belong together"
    );
    repository.write("kelson/b.yaml", "b");
    assert_eq!(
        paths(&tree.files().unwrap()),
        ["kelson/b.yaml"],
        "a new kelson folder counts at once"
    );
}

#[test]
fn what_git_ignores_is_left_out_unless_it_is_tracked() {
    let repository = Repository::with(&[
        ("a.yaml", "1"),
        ("out/kept.yaml", "1"),
        ("kept.tmp.yaml", "1"),
    ]);
    repository.write(".gitignore", "node_modules/\n*.tmp.yaml\nout/\n");
    repository.write("node_modules/x/b.yaml", "1");
    repository.write("c.tmp.yaml", "1");
    let listing = WorkTree::open(&repository.path, None)
        .unwrap()
        .files()
        .unwrap();
    assert_eq!(
        paths(&listing),
        ["a.yaml", "kept.tmp.yaml", "out/kept.yaml"]
    );
}

#[test]
fn a_folder_without_repository_is_read_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("kelson")).unwrap();
    std::fs::write(folder.path().join("kelson/a.yaml"), "one").unwrap();
    std::fs::write(folder.path().join("b.yaml"), "two").unwrap();
    let listing = |path| WorkTree::open(folder.path(), path).unwrap().files();
    assert_eq!(paths(&listing(None).unwrap()), ["kelson/a.yaml"]);
    assert_eq!(
        paths(&listing(Some(".")).unwrap()),
        ["b.yaml", "kelson/a.yaml"]
    );
    assert!(matches!(
        listing(Some("nowhere")),
        Err(SourceError::NoManifestFolder { .. })
    ));
}

#[test]
fn a_bare_repository_has_no_work_tree() {
    let repository = Repository::with(&[]);
    let bare = repository.path.parent().unwrap().join("bare.git");
    repository.git(["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]);
    let error = WorkTree::open(&bare, None).unwrap_err();
    assert!(error.to_string().contains("bare repository"), "{error}");
}

#[test]
fn what_is_no_file_on_disk_is_a_fault() {
    let repository = Repository::with(&[("good.yaml", "1")]);
    symlink("good.yaml", repository.path.join("link.yaml")).unwrap();
    symlink("..", repository.path.join("loop")).unwrap();
    std::fs::write(
        repository.path.join(OsStr::from_bytes(b"bad\xff.yaml")),
        "1",
    )
    .unwrap();
    let _socket = UnixListener::bind(repository.path.join("socket.yaml")).unwrap();
    repository.write("big.yaml", vec![b'#'; (1 << 20) + 1]);
    let nested = repository.path.join("vendor");
    std::fs::create_dir(&nested).unwrap();
    git_in(&nested, ["init", "--quiet"]);
    let listing = WorkTree::open(&repository.path, None)
        .unwrap()
        .files()
        .unwrap();
    assert_eq!(paths(&listing), ["good.yaml"]);
    let places: Vec<_> = faults(&listing)
        .into_iter()
        .map(|(path, _)| path.to_owned())
        .collect();
    assert_eq!(
        places,
        [
            "bad\\xff.yaml",
            "big.yaml",
            "link.yaml",
            "socket.yaml",
            "vendor"
        ]
    );
}

#[test]
fn limits_hold_on_disk_too() {
    let repository = Repository::with(&[
        ("a.yaml", "12345"),
        ("b.yaml", "12345"),
        ("c/d/e.yaml", "12345"),
    ]);
    let with = |limits| {
        let listing = WorkTree::open_with(&repository.path, None, limits)
            .unwrap()
            .files()
            .unwrap();
        listing
            .faults
            .iter()
            .map(|fault| fault.cause.to_string())
            .collect::<Vec<_>>()
            .join("; ")
    };
    let usual = Limits::default();
    assert_eq!(
        with(Limits { files: 2, ..usual }),
        "there are more than 2 manifests"
    );
    assert_eq!(
        with(Limits {
            total_bytes: 14,
            ..usual
        }),
        "the manifests have more than 14 bytes together"
    );
    assert_eq!(
        with(Limits { depth: 1, ..usual }),
        "it is more than 1 folders deep"
    );
    assert_eq!(
        with(Limits {
            entries: 3,
            ..usual
        }),
        "there are more than 3 files and folders"
    );
    assert_eq!(with(usual), "");
}

#[test]
fn uncommitted_manifests_are_named() {
    let repository = Repository::with(&[
        (".kelsonignore", "draft-*\n"),
        ("kelson/changed.yaml", "1"),
        ("kelson/deleted.yaml", "1"),
        ("kelson/same.yaml", "1"),
        ("kelson/staged.yaml", "1"),
        ("outside.yaml", "1"),
    ]);
    let source = repository.open();
    assert_eq!(source.uncommitted().unwrap(), []);
    repository.write("kelson/changed.yaml", "2");
    repository.write("kelson/staged.yaml", "2");
    repository.git(["add", "kelson/staged.yaml"]);
    repository.write("kelson/new/deep.yaml", "2");
    std::fs::remove_file(repository.path.join("kelson/deleted.yaml")).unwrap();
    repository.write("kelson/draft-x.yaml", "2");
    repository.write("kelson/.hidden/y.yaml", "2");
    repository.write("kelson/notes.txt", "2");
    repository.write("kelson/.yaml", "2");
    repository.write("outside.yaml", "2");
    let named: Vec<_> = source
        .uncommitted()
        .unwrap()
        .into_iter()
        .map(|found| (found.path, found.change))
        .collect();
    assert_eq!(
        named,
        [
            ("kelson/changed.yaml".to_owned(), Change::Modified),
            ("kelson/deleted.yaml".to_owned(), Change::Deleted),
            ("kelson/new/deep.yaml".to_owned(), Change::Added),
            ("kelson/staged.yaml".to_owned(), Change::Modified),
        ]
    );
    let outside = GitSource::open(&repository.path, None, Some(".")).unwrap();
    assert_eq!(outside.uncommitted().unwrap().len(), 5);
    repository.git(["stash", "--quiet"]);
    repository.git(["checkout", "--quiet", "-b", "other"]);
    repository.write("kelson/changed.yaml", "3");
    assert_eq!(
        source.uncommitted().unwrap(),
        [],
        "another branch is checked out"
    );
}

#[test]
fn the_first_manifest_of_an_unborn_branch_is_uncommitted() {
    let repository = Repository::new();
    repository.write("web.yaml", "1");
    let found = repository.open().uncommitted().unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].path.as_str(), found[0].change),
        ("web.yaml", Change::Added)
    );
}
