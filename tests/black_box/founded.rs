//! A cluster of several machines, as far as one machine shows it: founded, run, and let into.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kelson_testkit::Cli;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kelson");

/// A member that runs, until the end of the test.
pub(crate) struct Member {
    process: Child,
    /// `HOST:PORT`.
    pub(crate) address: String,
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Member {
    /// Runs the member with this data directory at a free port.
    pub(crate) fn run(cli: &Cli, data_dir: &Path) -> Member {
        let data_dir = data_dir.to_str().unwrap();
        let arguments = ["kernel", "--data-dir", data_dir, "--listen", "127.0.0.1:0"];
        let mut command: Command = cli.command(&arguments);
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let address = said["address"].as_str().unwrap();
        let address = address.strip_prefix("https://").unwrap().to_owned();
        Member { process, address }
    }
}

/// Founds a cluster in a folder; gives the data directory of its first member.
pub(crate) fn found(cli: &Cli, folder: &Path) -> PathBuf {
    let data_dir = folder.join("one");
    let text = data_dir.to_str().unwrap();
    cli.ok(&[
        "kernel",
        "init",
        "--data-dir",
        text,
        "--listen",
        "127.0.0.1:7460",
        "--name",
        "one",
    ])
    .unwrap();
    data_dir
}

#[test]
fn a_founded_member_lets_its_administrator_in_over_tls_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli::new(PROGRAM, None, folder.path());
    let data_dir = found(&cli, folder.path());
    let credentials = data_dir.join("admin.credentials");
    let credentials = credentials.to_str().unwrap();
    let member = Member::run(&cli, &data_dir);
    let at = ["--addr", &member.address];
    let status = [
        &at[..],
        &["status", "-o", "json", "--credentials", credentials],
    ]
    .concat();
    let status: Value = serde_json::from_str(&cli.ok(&status).unwrap()).unwrap();
    assert_eq!(status["kind"], "Status");
    // Without credentials, or with those of another cluster.
    let outcome = cli.run(&[&at[..], &["status"]].concat()).unwrap();
    assert_ne!(outcome.code, Some(0), "{outcome}");
    let other = tempfile::tempdir().unwrap();
    let other = found(&cli, other.path()).join("admin.credentials");
    let other = ["status", "--credentials", other.to_str().unwrap()];
    let outcome = cli.run(&[&at[..], &other].concat()).unwrap();
    assert_eq!(outcome.code, Some(2), "{outcome}");
    assert!(
        outcome.stderr.contains("not from the CA of this cluster"),
        "{outcome}"
    );
    // A member of the other addresses is asked where one does not answer.
    let several = format!("127.0.0.1:1,{}", member.address);
    let status = ["--addr", &several, "status", "--credentials", credentials];
    cli.ok(&status).unwrap();
}

#[test]
fn a_data_directory_is_founded_once() {
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli::new(PROGRAM, None, folder.path());
    let data_dir = found(&cli, folder.path());
    let text = data_dir.to_str().unwrap();
    let again = [
        "kernel",
        "init",
        "--data-dir",
        text,
        "--listen",
        "127.0.0.1:7460",
    ];
    let outcome = cli.run(&again).unwrap();
    assert_eq!(outcome.code, Some(5), "{outcome}");
    assert!(
        outcome.stderr.contains("belongs to a cluster already"),
        "{outcome}"
    );
    let nowhere = folder.path().join("two");
    let nowhere = nowhere.to_str().unwrap();
    let nowhere = [
        "kernel",
        "init",
        "--data-dir",
        nowhere,
        "--listen",
        "0.0.0.0:7460",
    ];
    let outcome = cli.run(&nowhere).unwrap();
    assert_eq!(outcome.code, Some(2), "{outcome}");
    assert!(outcome.stderr.contains("--advertise"), "{outcome}");
}
