//! The harness itself, with a shell script in place of `kelson`: what it starts, waits for, and
//! leaves behind.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kelson_testkit::processes::Signal;
use kelson_testkit::{Dev, DevBuilder, TestRepo, processes};

const DEADLINE: Duration = Duration::from_secs(30);

/// Prints a ready line and starts two "tasks": one with a session of its own, one that has nothing
/// of its parent but `HOME`.
const FAKE: &str = r#"#!/bin/sh
case "$1" in
dev)
    while [ $# -gt 0 ]; do
        [ "$1" = --data-dir ] && data=$2
        [ "$1" = --fail ] && { echo "the port is taken" >&2; exit 2; }
        [ "$1" = --hang ] && { echo "thinking" >&2; exec sleep 600; }
        shift
    done
    setsid sleep 600 &
    env -i PATH="$PATH" HOME="$data/tasks/x" setsid sleep 600 &
    line='{"event":"ready","address":"http://127.0.0.1:1","pid":'$$'}'
    printf '%s' "$line" > "$data/ready.json"
    echo "$line"
    trap 'exit 0' INT
    while :; do sleep 600 & wait $!; done
    ;;
status) printf '{"kind":"Status","address":"%s","args":"%s"}' "$KELSON_ADDR" "$*" ;;
*) echo "no verb $1" >&2; exit 2 ;;
esac
"#;

struct Fake {
    repo: TestRepo,
    program: PathBuf,
}

impl Fake {
    fn make() -> Fake {
        let repo = TestRepo::init().unwrap();
        // Behind the dot, git and the agent leave it alone; it goes with the repository.
        let program = repo.path().join(".git/kelson");
        // Written by another process: a file that this one has open for writing might be inherited
        // by a child of another test, and then cannot be run.
        let mut writer = Command::new("sh")
            .args(["-c", "cat >\"$0\" && chmod +x \"$0\""])
            .arg(&program)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        writer
            .stdin
            .take()
            .unwrap()
            .write_all(FAKE.as_bytes())
            .unwrap();
        assert!(writer.wait().unwrap().success());
        Fake { repo, program }
    }

    fn dev(&self) -> DevBuilder {
        Dev::builder()
            .program(&self.program)
            .repo(self.repo.path())
            .ready_within(DEADLINE)
    }
}

fn alive_in(folder: &Path) -> usize {
    processes::belonging_to(folder).len()
}

#[test]
fn a_dropped_dev_leaves_no_process_and_no_folder() {
    let fake = Fake::make();
    let dev = fake.dev().start().unwrap();
    let data = dev.data_dir().to_owned();
    assert!(alive_in(&data) >= 3, "{:?}", dev.processes());
    drop(dev);
    assert_eq!(alive_in(&data), 0);
    assert!(!data.exists());
}

#[test]
fn verbs_are_sent_to_the_address_of_the_ready_line() {
    let fake = Fake::make();
    let dev = fake.dev().start().unwrap();
    let status = dev.status().unwrap();
    assert_eq!(status["address"], "http://127.0.0.1:1");
    assert_eq!(status["args"], "status -A -o json");
    let error = dev.ok(&["nonsense"]).unwrap_err().to_string();
    assert!(
        error.contains("exit 2") && error.contains("no verb nonsense"),
        "{error}"
    );
}

#[test]
fn a_dev_that_ends_instead_of_being_ready_is_an_error_with_what_it_said() {
    let error = format!(
        "{:#}",
        Fake::make().dev().args(["--fail"]).start().unwrap_err()
    );
    assert!(
        error.contains("exit status: 2") && error.contains("the port is taken"),
        "{error}"
    );
}

#[test]
fn a_dev_that_is_not_ready_in_time_is_an_error_with_what_it_said() {
    let fake = Fake::make();
    let error = fake
        .dev()
        .args(["--hang"])
        .ready_within(Duration::from_millis(300))
        .start()
        .unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.contains("until kelson dev is ready") && error.contains("thinking"),
        "{error}"
    );
}

#[test]
fn a_stopped_dev_starts_again_on_the_same_data() {
    let fake = Fake::make();
    let mut dev = fake.dev().start().unwrap();
    let (data, first) = (dev.data_dir().to_owned(), dev.pid());
    assert!(dev.start().is_err(), "it still runs");
    assert_eq!(dev.stop(Signal::INT, DEADLINE).unwrap().code(), Some(0));
    assert!(alive_in(&data) > 0, "its tasks outlive it");
    dev.start().unwrap();
    assert_eq!(dev.data_dir(), data);
    assert_ne!(dev.pid(), first);
}
