//! A data directory of the version before opens: the one in `fixtures/before`, from its snapshot
//! and the entries after it, and from its entries alone.
//!
//! It was made by a `kelson dev` of that version on the quickstart: a rollout, a version that was
//! rolled back, a service that fails, one that was deleted, and a field changed by hand.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use kelson_kernel::Kernel;
use kelson_model::task::TaskState;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/before")
}

/// Copies the fixture to where a kernel looks for its log.
fn copy(to: &Path, with_snapshot: bool) {
    let folders: &[&str] = if with_snapshot {
        &["log", "snapshots"]
    } else {
        &["log"]
    };
    for folder in folders {
        let there = to.join("raft").join(folder);
        fs::create_dir_all(&there).unwrap();
        for file in fs::read_dir(fixture().join(folder)).unwrap() {
            unpack(&file.unwrap().path(), &there);
        }
    }
    unpack(&fixture().join("identity.hex"), &to.join("raft"));
}

/// Writes the bytes of a file of the fixture, which is hex digits, under its name without `.hex`.
fn unpack(file: &Path, to: &Path) {
    let text: String = fs::read_to_string(file)
        .unwrap()
        .split_whitespace()
        .collect();
    let pairs = (0..text.len()).step_by(2);
    let bytes: Vec<u8> = pairs
        .map(|at| u8::from_str_radix(text.get(at..at + 2).unwrap(), 16).unwrap())
        .collect();
    fs::write(to.join(file.file_stem().unwrap()), bytes).unwrap();
}

/// What a user would miss.
fn is_whole(kernel: &Kernel) {
    let state = kernel.state();
    let specs: Vec<(String, u64, Option<u64>)> = state
        .objects
        .values()
        .map(|object| {
            let instances = object.spec.pointer("/instances").and_then(|it| it.as_u64());
            (object.key.to_string(), object.generation, instances)
        })
        .collect();
    assert_eq!(
        specs,
        [
            ("Service shop/crash".to_owned(), 1, Some(1)),
            ("Service shop/pages".to_owned(), 1, Some(1)),
            ("Service shop/web".to_owned(), 7, Some(3)),
        ]
    );
    let web = state
        .objects
        .values()
        .find(|object| object.key.name == "web")
        .unwrap();
    assert_eq!(web.good_generation, 4);
    let is_known = |id: u64, wanted: TaskState| {
        let found = state.tasks.values().find(|task| task.id.0 == id);
        assert_eq!(found.map(|task| task.state), Some(wanted), "tsk_{id}");
    };
    is_known(26, TaskState::Failed);
    let head = state.sources.values().next().unwrap();
    assert!(head.applied.is_some());
    assert_eq!(state.agents.len(), 1);
}

async fn opens(with_snapshot: bool) {
    let folder = tempfile::tempdir().unwrap();
    copy(folder.path(), with_snapshot);
    let kernel = support::start(folder.path()).await;
    is_whole(&kernel);
    // And goes on from there.
    support::write(&kernel, 100..110).await;
    kernel.member().snapshot_now().await.unwrap();
    kernel.member().shutdown().await;
    drop(kernel);
    is_whole(&support::start(folder.path()).await);
}

#[tokio::test]
async fn a_directory_of_the_version_before_opens_from_its_snapshot_and_goes_on() {
    opens(true).await;
}

#[tokio::test]
async fn a_directory_of_the_version_before_opens_from_its_entries_alone_and_goes_on() {
    opens(false).await;
}
