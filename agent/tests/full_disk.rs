//! A disk that fills up: a small tmpfs, so only for root; otherwise skipped, and said so.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests"
)]

mod support;

use std::io::Write;
use std::path::Path;
use std::process::Command;

use kelson_agent::ShutdownMode;
use kelson_model::task::TaskState;
use support::{FakeKernel, script, start};

/// A small file system that is unmounted when dropped.
struct SmallDisk {
    directory: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(bytes: usize) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(directory.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { directory }),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                eprintln!("skipped: no tmpfs can be mounted here: {}", said.trim());
                None
            }
            Err(error) => {
                eprintln!("skipped: mount cannot be run: {error}");
                None
            }
        }
    }

    /// Writes until nothing fits any more.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.directory.path().join("full")).unwrap();
        for size in [64 << 10, 4096, 1] {
            while file.write_all(&vec![1u8; size]).is_ok() {}
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.directory.path())
            .status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_no_exit_status_and_a_start_that_fails_on_it_leaks_no_cgroup() {
    let Some(disk) = SmallDisk::mount(2 << 20) else {
        return;
    };
    let (kernel, data) = (
        FakeKernel::start().await,
        disk.directory.path().join("agent"),
    );
    let agent = start(&data, &kernel).await;
    kernel.run(
        1,
        &script("trap 'exit 7' USR1; while :; do sleep 0.02; done"),
    );
    let program = kernel.wait_state(1, TaskState::Running).await.pid.unwrap();
    let spec = std::fs::read(data.join("tasks/tsk_1/spec.json")).unwrap();
    let spec: serde_json::Value = serde_json::from_slice(&spec).unwrap();
    disk.fill();

    kernel.run(2, &script("exit 0"));
    let failed = kernel.wait_over(2).await;
    assert_eq!(failed.state, TaskState::Failed);
    let reason = failed.exit.unwrap().reason;
    assert!(reason.contains("No space left"), "{reason}");
    for group in spec["launch"]["groups"]["groups"].as_array().unwrap() {
        let of_one = Path::new(group["path"].as_str().unwrap());
        let of_two = of_one.with_file_name("tsk_2");
        assert!(of_one.exists() && !of_two.exists(), "{}", of_two.display());
    }

    let asked = Command::new("kill")
        .args(["-USR1", &program.to_string()])
        .status();
    assert!(asked.unwrap().success());
    let over = kernel.wait_over(1).await;
    assert_eq!(
        (over.state, over.exit.unwrap().code),
        (TaskState::Failed, Some(7))
    );
    agent.stop(ShutdownMode::StopTasks).await;
}
