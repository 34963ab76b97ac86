//! What a program does not inherit from whoever has started the agent.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::path::Path;
use std::process::Command;

use kelson_model::task::TaskState;
use support::{FakeKernel, script, shim_exe, wait_for};

/// Says which descriptors the shell has, and which signals come ignored or blocked to its children
/// (the shell itself blocks them for a moment when it starts one).
const LOOK: &str = "ls /proc/$$/fd > NAME.fds; grep -E 'SigIgn|SigBlk' /proc/self/status > NAME.new; mv NAME.new NAME.signals";

/// Two signals that the C library keeps to itself: nobody may set them, and it sets them itself
/// where it needs them.
const OF_THE_C_LIBRARY: u64 = 0b11 << 31;

async fn assert_clean(work: &Path, name: &str) {
    let signals = work.join(format!("{name}.signals"));
    let signals = wait_for("what was found", || std::fs::read_to_string(&signals).ok()).await;
    for line in signals.lines() {
        let (what, mask) = line.split_once(':').unwrap();
        let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
        assert_eq!(mask & !OF_THE_C_LIBRARY, 0, "{name}: {what}");
    }
    let descriptors = std::fs::read_to_string(work.join(format!("{name}.fds"))).unwrap();
    // From 10 on a shell has its own.
    let below_ten = descriptors.lines().filter(|number| number.len() == 1);
    assert_eq!(below_ten.collect::<Vec<_>>(), ["0", "1", "2"], "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_and_ignored_signals_of_the_agent_reach_no_program_and_no_check() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    // As a shell starts what is put into the background, and worse.
    let start = "trap '' INT QUIT HUP CHLD USR1; exec 7</dev/null 9>/dev/null; exec \"$0\" agent \"$1\" \"$2\"";
    let mut agent = Command::new("sh")
        .args(["-c", start])
        .arg(shim_exe())
        .arg(directory.path())
        .arg(&kernel.address)
        .spawn()
        .unwrap();
    kernel.wait_attached(1).await;
    let look = |name: &str| LOOK.replace("NAME", name);
    let mut template = script(&format!("{}; exit 3", look("program")));
    kernel.run(1, &template);
    assert_eq!(kernel.wait_over(1).await.exit.unwrap().code, Some(3));
    let work = |task: u64| directory.path().join(format!("tasks/tsk_{task}/work"));
    assert_clean(&work(1), "program").await;

    template = script("exec sleep 1000");
    let check = look("check").replace('$', "$$");
    template["health"] = serde_json::json!({"command": {"command": "sh", "args": ["-c", check]}});
    kernel.run(2, &template);
    kernel.wait_state(2, TaskState::Running).await;
    assert_clean(&work(2), "check").await;
    kernel.stop(2);
    kernel.wait_over(2).await;
    agent.kill().unwrap();
    agent.wait().unwrap();
}
