//! A shim that gives up before it has started anything.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::os::unix::fs::PermissionsExt;

use kelson_agent::{Agent, ShutdownMode};
use kelson_model::task::TaskState;
use support::{FakeKernel, config, script};

#[tokio::test(flavor = "multi_thread")]
async fn its_last_words_are_the_reason_of_the_failure() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let mut config = config(directory.path(), &kernel);
    config.use_cgroups = false;
    config.shim_exe = directory.path().join("broken");
    std::fs::write(
        &config.shim_exe,
        "#!/bin/sh\necho 'shim: the disk is full' >&2\nexit 1\n",
    )
    .unwrap();
    std::fs::set_permissions(&config.shim_exe, std::fs::Permissions::from_mode(0o755)).unwrap();
    let agent = Agent::start(config).await.unwrap();
    kernel.wait_attached(1).await;
    kernel.run(1, &script("exit 0"));
    let over = kernel.wait_over(1).await;
    assert_eq!(over.state, TaskState::Failed);
    assert_eq!(
        over.exit.unwrap().reason,
        "could not be started: shim: the disk is full"
    );
    agent.stop(ShutdownMode::StopTasks).await;
}
