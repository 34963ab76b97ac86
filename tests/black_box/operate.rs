//! What docs/operate tells an operator to type works, as far as one machine can show it: its
//! addresses are those of loopback here.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use kelson_testkit::programs;

use crate::cluster::DEADLINE;

const PAGE: &str = include_str!("../../docs/operate/several-machines.md");

/// An operator with a terminal on each machine.
struct Operator {
    home: tempfile::TempDir,
    port: u16,
    set: BTreeMap<String, String>,
    running: Vec<Child>,
}

impl Drop for Operator {
    fn drop(&mut self) {
        for process in &mut self.running {
            // It may have ended.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Operator {
    fn new() -> Operator {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Operator {
            home: tempfile::tempdir().unwrap(),
            port: free.local_addr().unwrap().port(),
            set: BTreeMap::new(),
            running: Vec::new(),
        }
    }

    /// A command as it is typed here.
    fn here(&self, typed: &str) -> String {
        let folder = self.home.path().to_str().unwrap();
        typed
            .replace("10.0.0.1:7460", &format!("127.0.0.1:{}", self.port))
            .replace("/var/lib/kelson", folder)
    }

    fn shell(&self, command: &str) -> Command {
        let kelson = programs::kelson().unwrap();
        let mut path = vec![kelson.parent().unwrap().to_owned()];
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        path.extend(std::env::split_paths(&inherited));
        let mut shell = Command::new("bash");
        shell
            .args(["-c", &format!("exec {command}")])
            .current_dir(self.home.path())
            .env_clear()
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("HOME", self.home.path())
            .envs(&self.set)
            .stdin(Stdio::null());
        shell
    }

    /// Runs a command that ends; gives what it prints. What another process has to begin first is
    /// waited for.
    fn run(&self, command: &str) -> String {
        let since = Instant::now();
        loop {
            let output = self.shell(command).output().unwrap();
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap();
            }
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let nobody = output.status.code() == Some(3);
            assert!(nobody && since.elapsed() < DEADLINE, "$ {command}\n{said}");
        }
    }

    fn follow(&mut self, line: &str) {
        let (typed, remark) = line.split_once('#').unwrap_or((line, ""));
        let command = self.here(typed.trim());
        if let Some(set) = command.strip_prefix("export ") {
            let (name, value) = set.split_once('=').unwrap();
            self.set.insert(name.to_owned(), value.to_owned());
        } else if let Some((name, asked)) = command.split_once("=$(") {
            let value = self.run(asked.strip_suffix(')').unwrap());
            self.set
                .insert(name.to_owned(), value.trim_end().to_owned());
        } else if remark.trim() == "goes on" {
            let mut shell = self.shell(&command);
            let process = shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            self.running.push(process.unwrap());
        } else if remark.trim() == "the same, from now on" {
            // It takes the place of the one that has joined.
            let mut joined = self.running.pop().unwrap();
            wait_for_identity(&self.home.path().join("agent/trust/identity.pem"));
            joined.kill().unwrap();
            joined.wait().unwrap();
            let mut shell = self.shell(&command);
            let process = shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            self.running.push(process.unwrap());
            let since = Instant::now();
            while !self.run("kelson agents").contains("ready") {
                assert!(since.elapsed() < DEADLINE, "the agent does not come");
            }
        } else {
            self.run(&command);
        }
    }
}

fn wait_for_identity(file: &Path) {
    let since = Instant::now();
    while !file.exists() {
        assert!(since.elapsed() < DEADLINE, "nobody has joined");
        std::thread::yield_now();
    }
}

#[test]
fn every_command_of_the_set_up_of_several_machines_works() {
    let typed: Vec<&str> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .collect();
    assert!(typed.len() > 10, "{typed:?}");
    let mut operator = Operator::new();
    for line in typed {
        operator.follow(line);
    }
    let seen = operator.run("kelson agents");
    assert!(seen.contains("two") && seen.contains("ready"), "{seen}");
}
