//! Data directories of earlier versions open: each from its snapshot and the entries after it, and
//! from its entries alone. Both are of the first form of entries and snapshots.
//!
//! They were made by a `kelson dev` of their version on the quickstart: a rollout, a version that
//! was rolled back, a service that fails, one that was deleted, and a field changed by hand. In
//! `first-form` there are also a task that somebody stopped, an agent that ended and came back, and
//! a change by hand that is only reported.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kelson_kernel::Kernel;
use kelson_kernel_core::form::CLUSTER_VERSION;
use kelson_kernel_core::object::Object;
use kelson_model::drift::{DriftItem, DriftState};
use kelson_model::id::TaskId;
use kelson_model::task::TaskState;

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fixtures.join(name)
}

/// Copies a fixture to where a kernel looks for its log.
fn copy(name: &str, to: &Path, with_snapshot: bool) {
    let folders: &[&str] = if with_snapshot {
        &["log", "snapshots"]
    } else {
        &["log"]
    };
    for folder in folders {
        let there = to.join("raft").join(folder);
        fs::create_dir_all(&there).unwrap();
        for file in fs::read_dir(fixture(name).join(folder)).unwrap() {
            unpack(&file.unwrap().path(), &there);
        }
    }
    unpack(&fixture(name).join("identity.hex"), &to.join("raft"));
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

/// The objects: key, generation and wished number of tasks.
fn objects(kernel: &Kernel) -> Vec<(String, u64, Option<u64>)> {
    let state = kernel.state();
    let objects = state.objects.values().map(|object| {
        let instances = object.spec.pointer("/instances").and_then(|it| it.as_u64());
        (object.key.to_string(), object.generation, instances)
    });
    objects.collect()
}

fn is_known(kernel: &Kernel, id: u64, wanted: TaskState) {
    let state = kernel.state();
    let found = state.tasks.get(TaskId(id));
    assert_eq!(found.map(|task| task.state()), Some(wanted), "tsk_{id}");
}

fn web(kernel: &Kernel) -> Arc<Object> {
    let state = kernel.state();
    let mut objects = state.objects.values();
    objects.find(|it| it.key.name == "web").unwrap().clone()
}

/// What a user of `before` would miss.
fn is_before(kernel: &Kernel) {
    assert_eq!(
        objects(kernel),
        [
            ("Service shop/crash".to_owned(), 1, Some(1)),
            ("Service shop/pages".to_owned(), 1, Some(1)),
            ("Service shop/web".to_owned(), 7, Some(3)),
        ]
    );
    assert_eq!(web(kernel).good_generation, 4);
    is_known(kernel, 26, TaskState::Failed);
    let state = kernel.state();
    assert!(state.sources.values().next().unwrap().applied.is_some());
    assert_eq!(state.agents.len(), 1);
}

/// What a user of `first-form` would miss.
fn is_first_form(kernel: &Kernel) {
    assert_eq!(
        objects(kernel),
        [
            ("Service shop/crash".to_owned(), 1, Some(1)),
            ("Service shop/web".to_owned(), 5, Some(4)),
        ]
    );
    let web = web(kernel);
    let who = |path: &str| Some(web.by_hand.as_ref()?.who(path)?.to_string());
    assert_eq!(who("/spec/instances").as_deref(), Some("root (cli)"));
    is_known(kernel, 4, TaskState::Killed);
    is_known(kernel, 19, TaskState::Failed);
    let state = kernel.state();
    let agent = state.agents.values().next().unwrap();
    assert_eq!(agent.incarnation, 2);
    let open = |item: &Arc<DriftItem>| item.state == DriftState::Open;
    assert_eq!(state.drift.iter().filter(|item| open(item)).count(), 1);
}

async fn opens(name: &str, with_snapshot: bool, is_whole: fn(&Kernel)) {
    let folder = tempfile::tempdir().unwrap();
    copy(name, folder.path(), with_snapshot);
    let kernel = support::start(folder.path()).await;
    is_whole(&kernel);
    assert_eq!(kernel.state().cluster_version, CLUSTER_VERSION);
    // And goes on from there, in the form of today.
    support::write(&kernel, 100..110).await;
    kernel.member().snapshot_now().await.unwrap();
    support::write(&kernel, 110..120).await;
    let state = kernel.state();
    kernel.member().shutdown().await;
    drop(kernel);
    let again = support::start(folder.path()).await;
    is_whole(&again);
    // Also in what nobody sees: when each row changed, and what has gone.
    assert!(again.state() == state);
}

#[tokio::test]
async fn a_directory_of_the_version_before_opens_from_its_snapshot_and_goes_on() {
    opens("before", true, is_before).await;
}

#[tokio::test]
async fn a_directory_of_the_version_before_opens_from_its_entries_alone_and_goes_on() {
    opens("before", false, is_before).await;
}

#[tokio::test]
async fn a_directory_of_the_last_first_form_opens_from_its_snapshot_and_goes_on() {
    opens("first-form", true, is_first_form).await;
}

#[tokio::test]
async fn a_directory_of_the_last_first_form_opens_from_its_entries_alone_and_goes_on() {
    opens("first-form", false, is_first_form).await;
}
