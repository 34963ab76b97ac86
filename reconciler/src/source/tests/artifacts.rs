//! Files that manifests name.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::fixture::Repository;
use crate::source::{FileMode, Limits, ManifestSource, SourceError, WorkTree};

/// The same questions to a commit and to the working tree.
fn both(repository: &Repository) -> [Box<dyn ManifestSource>; 2] {
    let limits = Limits {
        artifact_bytes: 1000,
        ..Limits::default()
    };
    let source = std::sync::Arc::new(repository.open_with(limits));
    [
        Box::new(source.at(repository.head())),
        Box::new(WorkTree::open_with(&repository.path, None, limits).unwrap()),
    ]
}

#[test]
fn any_file_can_be_read_by_its_path() {
    let repository = Repository::new();
    repository.write("frameworks/birds.wasm", b"\0asm\xff");
    repository.write("run.sh", "x");
    std::fs::set_permissions(
        repository.path.join("run.sh"),
        PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    repository.commit(&[("kelson/a.yaml", "1")]);
    for source in both(&repository) {
        let wasm = source.read_at("frameworks/birds.wasm").unwrap();
        assert_eq!(
            (&wasm.bytes[..], wasm.mode),
            (&b"\0asm\xff"[..], FileMode::Plain)
        );
        assert_eq!(
            source.read_at("kelson/../frameworks/./birds.wasm").unwrap(),
            wasm
        );
        assert_eq!(source.read_at("run.sh").unwrap().mode, FileMode::Executable);
        let hashed = repository.git(["hash-object", "frameworks/birds.wasm"]);
        assert_eq!(wasm.blob.to_string(), hashed);
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    let repository = Repository::new();
    repository.write("big", vec![0; 1001]);
    repository.write("just", vec![0; 1000]);
    symlink("/etc/passwd", repository.path.join("link")).unwrap();
    symlink("/etc", repository.path.join("etc")).unwrap();
    repository.commit(&[
        ("folder/file", "1"),
        (
            "large.wasm",
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
        ),
    ]);
    for source in both(&repository) {
        let error = |path: &str| source.read_at(path).unwrap_err();
        assert!(matches!(error("nowhere"), SourceError::NoSuchPath { .. }));
        assert!(matches!(
            error("folder/file/deeper"),
            SourceError::NoSuchPath { .. }
        ));
        assert!(
            matches!(error("etc/passwd"), SourceError::NoSuchPath { .. }),
            "no link is followed"
        );
        assert!(matches!(
            error("folder"),
            SourceError::NotAFile {
                found: "a folder",
                ..
            }
        ));
        assert!(matches!(
            error(""),
            SourceError::NotAFile {
                found: "a folder",
                ..
            }
        ));
        assert!(matches!(
            error("link"),
            SourceError::NotAFile {
                found: "a symbolic link",
                ..
            }
        ));
        assert!(matches!(
            error("big"),
            SourceError::TooLarge {
                size: 1001,
                limit: 1000,
                ..
            }
        ));
        assert_eq!(source.read_at("just").unwrap().bytes.len(), 1000);
        assert!(matches!(
            error("large.wasm"),
            SourceError::LfsPointer { .. }
        ));
        assert!(matches!(error("../outside"), SourceError::BadPath { .. }));
        assert!(matches!(error("/etc/passwd"), SourceError::BadPath { .. }));
    }
}

#[test]
fn contents_are_read_by_name() {
    let repository = Repository::with(&[("a.yaml", "one")]);
    let source = repository.open();
    let id = source.tree(&repository.head()).unwrap().files[0].blob;
    assert_eq!(&source.blob(id).unwrap()[..], b"one");
    let missing = "1".repeat(40).parse().unwrap();
    assert!(matches!(source.blob(missing), Err(SourceError::NoSuchBlob { id }) if id == missing));
    let commit = repository.head().as_str().parse().unwrap();
    assert!(
        matches!(source.blob(commit), Err(SourceError::NoSuchBlob { .. })),
        "a commit is no content"
    );
}
