//! The documents do what they say: every command of a `console` block is run, in its order, by a
//! shell; the reference of verbs names every verb and flag.
//!
//! In a block, a line that begins with `$ ` is a command, and the lines below it are what somebody
//! saw. A command must exit with 0, or with N where it ends in `# exits N`. `$ kelson dev` starts a
//! cluster on the folder, as a person would in a second terminal, and `^C` ends it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kelson_testkit::processes::Signal;
use kelson_testkit::{Cli, Dev, programs};

use crate::cluster::DEADLINE;

fn read(document: &str) -> String {
    std::fs::read_to_string(programs::workspace().unwrap().join(document)).unwrap()
}

/// The lines of all `console` blocks that somebody types.
fn typed(document: &str) -> Vec<String> {
    let mut is_console = false;
    let mut typed = Vec::new();
    for line in read(document).lines() {
        match line.strip_prefix("```") {
            Some(kind) => is_console = !is_console && kind.trim() == "console",
            None if is_console && (line.starts_with("$ ") || line == "^C") => {
                typed.push(line.trim_start_matches("$ ").to_owned());
            }
            None => {}
        }
    }
    typed
}

/// A person with two terminals.
struct Reader {
    folder: PathBuf,
    dev: Option<Dev>,
    /// Of the cluster that was raised last, also after its end.
    address: Option<String>,
    home: tempfile::TempDir,
}

impl Reader {
    fn new() -> Reader {
        let home = tempfile::tempdir().unwrap();
        Reader {
            folder: home.path().canonicalize().unwrap(),
            dev: None,
            address: None,
            home,
        }
    }

    fn type_in(&mut self, line: &str) {
        let (command, exits) = match line.rsplit_once("# exits ") {
            Some((command, code)) => (command.trim(), code.trim().parse().unwrap()),
            None => (line.trim(), 0),
        };
        if let Some(folder) = command.strip_prefix("cd ") {
            self.folder = self.folder.join(folder).canonicalize().unwrap();
        } else if command == "kelson dev" {
            let dev = Dev::builder().repo(&self.folder).start().unwrap();
            self.address = Some(dev.address().to_owned());
            self.dev = Some(dev);
        } else if command == "^C" {
            let mut dev = self.dev.take().unwrap();
            assert_eq!(dev.stop(Signal::INT, DEADLINE).unwrap().code(), Some(0));
        } else {
            self.run(command, exits);
        }
    }

    fn run(&self, command: &str, exits: i32) {
        let kelson = programs::kelson().unwrap();
        let mut path = vec![kelson.parent().unwrap().to_owned()];
        path.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        // The harness knows what has to be taken out of the environment.
        let mut shell = Cli::new("bash", self.address.clone(), &self.folder)
            .command(&["-o", "pipefail", "-c", command]);
        identify(&mut shell);
        let output = shell
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("HOME", self.home.path())
            .env_remove("XDG_STATE_HOME")
            .env_remove("XDG_CACHE_HOME")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = self.dev.as_ref().map(Dev::tail).unwrap_or_default();
        assert_eq!(
            output.status.code(),
            Some(exits),
            "$ {command}\n{}{}\n{said}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Git asks who commits.
fn identify(command: &mut Command) {
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "Ada")
            .env(format!("GIT_{role}_EMAIL"), "ada@example.org");
    }
}

fn follow(document: &str) {
    let lines = typed(document);
    assert!(
        lines.iter().any(|line| line == "kelson dev"),
        "{document} raises no cluster"
    );
    let mut reader = Reader::new();
    for line in &lines {
        reader.type_in(line);
    }
}

#[test]
fn every_command_of_the_first_steps_works() {
    follow("docs/first-steps.md");
}

#[test]
fn every_command_of_the_readme_works() {
    follow("README.md");
}

/// What `kelson ARGS --help` prints.
fn help(args: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut args = args.to_vec();
    args.push("--help");
    Cli::new(programs::kelson().unwrap(), None, Path::new(folder.path()))
        .ok(&args)
        .unwrap()
}

/// The long flags that a help text defines.
fn flags(help: &str) -> Vec<&str> {
    help.lines()
        .filter_map(|line| {
            let line = line.trim_start();
            let line = line
                .strip_prefix('-')
                .filter(|rest| !rest.starts_with('-'))
                .map_or(line, |short| {
                    short.split_once(", ").map_or("", |(_, long)| long)
                });
            line.starts_with("--")
                .then(|| line.split([' ', '=']).next().unwrap_or(line))
        })
        .collect()
}

#[test]
fn the_reference_of_verbs_names_every_verb_and_flag() {
    let page = read("docs/reference/cli.md");
    let all = help(&[]);
    let verbs: Vec<&str> = all
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.trim().is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(verbs.contains(&"dev") && verbs.contains(&"wait"), "{all}");
    let common = flags(&all);
    assert!(
        common.contains(&"--addr") && common.contains(&"--output"),
        "{all}"
    );
    assert!(flags(&help(&["wait"])).contains(&"--timeout"));
    for verb in verbs {
        let heading = format!("\n### kelson {verb}\n");
        let (_, section) = page
            .split_once(&heading)
            .unwrap_or_else(|| panic!("docs/reference/cli.md has no {heading:?}"));
        let section = section.split("\n### ").next().unwrap();
        let text = help(&[verb]);
        for flag in flags(&text)
            .into_iter()
            .filter(|flag| !common.contains(flag))
        {
            assert!(
                section.contains(&format!("`{flag}")),
                "docs/reference/cli.md does not name {flag} of {verb}"
            );
        }
    }
    for flag in common {
        assert!(
            page.contains(&format!("`{flag}")),
            "docs/reference/cli.md does not name {flag}"
        );
    }
}
