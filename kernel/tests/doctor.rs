//! What the doctor finds in the data directory of a kernel that does not run.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use kelson_kernel::examine_directory;

/// Starts a kernel, writes, snapshots in between, stops; gives the hash of its last state.
async fn written(folder: &Path) -> String {
    let kernel = support::start(folder).await;
    support::write(&kernel, 1..20).await;
    kernel.member().snapshot_now().await.unwrap();
    support::write(&kernel, 20..40).await;
    let hash = kernel.state().hash().to_string();
    kernel.blobs().put(b"a component").unwrap();
    kernel.member().shutdown().await;
    hash
}

fn only_file(folder: PathBuf) -> PathBuf {
    let mut files = fs::read_dir(folder).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    file
}

#[tokio::test]
async fn a_whole_directory_gives_the_state_that_its_kernel_had() {
    let folder = tempfile::tempdir().unwrap();
    let hash = written(folder.path()).await;
    let before = fs::read(only_file(folder.path().join("raft/log"))).unwrap();
    let found = examine_directory(folder.path()).unwrap();
    assert_eq!(found.faults, [""; 0]);
    assert!(found.healthy);
    assert_eq!(found.state.hash, hash);
    assert_eq!(
        (found.member, found.snapshots.len(), found.blobs),
        (1, 1, 1)
    );
    assert!(found.snapshots[0].index < found.state.index);
    assert_eq!(found.log.last, Some(found.state.index));
    // It has changed nothing.
    let after = fs::read(only_file(folder.path().join("raft/log"))).unwrap();
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_directory_in_use_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = support::start(folder.path()).await;
    let refused = examine_directory(folder.path()).unwrap_err().to_string();
    assert!(refused.contains("is in use by process"), "{refused}");
    drop(kernel);
    let nothing = tempfile::tempdir().unwrap();
    let refused = examine_directory(nothing.path()).unwrap_err().to_string();
    assert!(refused.contains("identity"), "{refused}");
}

#[tokio::test]
async fn what_a_crash_leaves_is_a_note_and_what_is_damaged_a_fault_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path()).await;
    let log = only_file(folder.path().join("raft/log"));
    let whole = fs::read(&log).unwrap();

    fs::write(&log, &whole[..whole.len() - 3]).unwrap();
    let found = examine_directory(folder.path()).unwrap();
    assert!(found.healthy, "{:?}", found.faults);
    assert!(
        found.notes[0].contains("in a record of which"),
        "{:?}",
        found.notes
    );
    assert_eq!(fs::read(&log).unwrap().len(), whole.len() - 3);

    let mut bent = whole.clone();
    bent[whole.len() / 2] ^= 1;
    fs::write(&log, &bent).unwrap();
    let found = examine_directory(folder.path()).unwrap();
    assert!(!found.healthy);
    let name = log.file_name().unwrap().to_str().unwrap();
    assert!(found.faults[0].contains(name), "{:?}", found.faults);
    fs::write(&log, &whole).unwrap();

    let snapshot = only_file(folder.path().join("raft/snapshots"));
    let mut bytes = fs::read(&snapshot).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&snapshot, &bytes).unwrap();
    let blob = only_file(folder.path().join("blobs"));
    fs::write(&blob, b"another").unwrap();
    let found = examine_directory(folder.path()).unwrap();
    assert!(found.faults.iter().any(|fault| fault.contains("snapshot")));
    assert!(found.faults.iter().any(|fault| fault.contains("blob")));
}
