//! A cluster of several machines, as far as one machine shows it: founded, run, and let into.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use kelson_model::code::Code;
use kelson_testkit::Cli;
use serde_json::Value;

use crate::cluster::DEADLINE;

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

/// Runs `kelson ARGS` until the end of the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(cli: &Cli, arguments: &[&str]) -> Running {
    let mut command = cli.command(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Running(command.stderr(Stdio::null()).spawn().unwrap())
}

/// Waits until the only agent of a cluster is ready; gives its id.
fn ready_agent(cli: &Cli, admin: &[&str]) -> String {
    let list = [admin, &["agents", "-o", "json"]].concat();
    let since = Instant::now();
    loop {
        let seen: Value = serde_json::from_str(&cli.ok(&list).unwrap()).unwrap();
        let agents = seen["items"].as_array().unwrap();
        if agents.len() == 1 && agents[0]["state"] == "ready" {
            return agents[0]["id"].as_str().unwrap().to_owned();
        }
        assert!(since.elapsed() < DEADLINE, "{seen}");
        std::thread::yield_now();
    }
}

#[test]
fn an_agent_joins_by_a_token_once_and_needs_its_data_directory_only_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli::new(PROGRAM, None, folder.path());
    let data_dir = found(&cli, folder.path());
    let credentials = data_dir.join("admin.credentials");
    let member = Member::run(&cli, &data_dir);
    let admin = [
        "--addr",
        &member.address,
        "--credentials",
        credentials.to_str().unwrap(),
    ];
    let create = [&admin[..], &["token", "create", "--role", "agent"]].concat();
    let token = cli.ok(&create).unwrap();
    let token = token.trim_end();
    assert_eq!(token.lines().count(), 1, "{token}");
    let home = folder.path().join("agent");
    let home = home.to_str().unwrap();
    let join = ["agent", "join", &member.address, "--token", token];
    let first = start(&cli, &[&join[..], &["--data-dir", home]].concat());
    let id = ready_agent(&cli, &admin);
    drop(first);
    // Another machine cannot join by the same token.
    let other = folder.path().join("other");
    let other = ["--data-dir", other.to_str().unwrap()];
    let outcome = cli.run(&[&join[..], &other].concat()).unwrap();
    assert_eq!(outcome.code, Some(5), "{outcome}");
    assert!(outcome.stderr.contains("does not hold"), "{outcome}");
    assert!(!outcome.stderr.contains(token), "{outcome}");
    // The same one comes again as it was, with or without the token.
    let again = start(&cli, &["agent", "--data-dir", home]);
    assert_eq!(ready_agent(&cli, &admin), id);
    drop(again);
    let _again = start(&cli, &[&join[..], &["--data-dir", home]].concat());
    assert_eq!(ready_agent(&cli, &admin), id);
    let list = [&admin[..], &["token", "list", "-o", "json"]].concat();
    let list: Value = serde_json::from_str(&cli.ok(&list).unwrap()).unwrap();
    assert_eq!(list["items"][0]["joined"][0], id.as_str(), "{list}");
}

#[test]
fn a_person_logs_in_by_a_token_and_may_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli::new(PROGRAM, None, folder.path());
    let data_dir = found(&cli, folder.path());
    let credentials = data_dir.join("admin.credentials");
    let member = Member::run(&cli, &data_dir);
    let admin = [
        "--addr",
        &member.address,
        "--credentials",
        credentials.to_str().unwrap(),
    ];
    let create = ["token", "create", "--role", "reader", "-n", "shop"];
    let token = cli.ok(&[&admin[..], &create].concat()).unwrap();
    let own = folder.path().join("own");
    let own = own.to_str().unwrap();
    let login = ["login", &member.address, "--token", token.trim_end()];
    cli.ok(&[&login[..], &["--credentials", own]].concat())
        .unwrap();
    let alice = ["--credentials", own];
    cli.ok(&[&alice[..], &["status", "-n", "shop"]].concat())
        .unwrap();
    for more in [&["status", "-A"][..], &["token", "list"]] {
        let outcome = cli.run(&[&alice[..], more].concat()).unwrap();
        assert_eq!(outcome.code, Some(5), "{outcome}");
        let told = format!("{}: ", Code::Denied.id());
        assert!(outcome.stderr.contains(&told), "{outcome}");
    }
    let list = cli.ok(&[&admin[..], &["token", "list", "-o", "json"]].concat());
    let list: Value = serde_json::from_str(&list.unwrap()).unwrap();
    let id = list["items"][0]["id"].as_str().unwrap();
    cli.ok(&[&admin[..], &["token", "revoke", id]].concat())
        .unwrap();
    let outcome = cli
        .run(&[&alice[..], &["status", "-n", "shop"]].concat())
        .unwrap();
    assert_eq!(outcome.code, Some(5), "{outcome}");
    assert!(outcome.stderr.contains(Code::NotKnown.id()), "{outcome}");
}
