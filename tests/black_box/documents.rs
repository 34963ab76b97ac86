//! The documents do what they say: every command of a `console` block is run, in its order, by a
//! shell; the reference of verbs names every verb and flag.
//!
//! In a block, a line that begins with `$ ` is a command, and the lines below it, where there are
//! any, are what somebody sees: all of it, but for what differs from run to run, and for what a
//! line `…` stands for. A command must exit with 0, or with N where it ends in `# exits N`.
//! `$ kelson dev` starts a cluster on the folder, as a person would in a second terminal, and `^C`
//! ends it; what is shown of it is said sooner or later.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kelson_testkit::processes::Signal;
use kelson_testkit::{Cli, Dev, Look, programs, wait_for};

use crate::cluster::DEADLINE;

fn read(document: &str) -> String {
    std::fs::read_to_string(programs::workspace().unwrap().join(document)).unwrap()
}

/// Verbs that only look.
const QUESTIONS: [&str; 6] = ["status", "tasks", "logs", "drift", "why", "events"];
/// For how long a look is repeated until it shows what the document shows.
const SETTLED: Duration = Duration::from_secs(20);

/// What somebody types, and what they see then.
#[derive(Debug, Default)]
struct Step {
    typed: String,
    shown: Vec<String>,
}

/// The steps of all `console` blocks.
fn steps(document: &str) -> Vec<Step> {
    let mut is_console = false;
    let mut steps: Vec<Step> = Vec::new();
    for line in read(document).lines() {
        match line.strip_prefix("```") {
            Some(kind) => is_console = !is_console && kind.trim() == "console",
            None if is_console && (line.starts_with("$ ") || line == "^C") => steps.push(Step {
                typed: line.trim_start_matches("$ ").to_owned(),
                shown: Vec::new(),
            }),
            None if is_console => {
                let step = steps.last_mut().unwrap();
                step.shown.push(line.to_owned());
            }
            None => {}
        }
    }
    for step in &mut steps {
        while step.shown.last().is_some_and(|line| line.trim().is_empty()) {
            step.shown.pop();
        }
    }
    steps
}

/// A line with what differs from one run to the next made alike: ids of tasks and commits, times,
/// numbers of ports and processes, paths, and how far columns stand apart.
fn alike(line: &str) -> String {
    let words = line.split_whitespace().map(|word| match word {
        path if path.starts_with('/') && path.len() > 1 => "<path>".to_owned(),
        word => word
            .split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .map(|part| {
                let end = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                format!("{}{}", part_alike(end), part.strip_prefix(end).unwrap())
            })
            .collect(),
    });
    let line = words.collect::<Vec<_>>().join(" ");
    // An hour is two numbers with colons behind them.
    line.replace("<two>:<two>:<two>", "<time>")
        .replace("<two>", "<n>")
}

fn part_alike(part: &str) -> &str {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_hex = part
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let is_age = part.starts_with(|c: char| c.is_ascii_digit())
        && part
            .split_inclusive(|c: char| c.is_ascii_alphabetic())
            .all(|step| is_digits(step.trim_end_matches(['d', 'h', 'm', 's'])))
        && part.ends_with(['d', 'h', 'm', 's']);
    let is_month = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov",
    ]
    .contains(&part)
        || part == "Dec";
    if is_hex && matches!(part.len(), 7 | 40) {
        "<revision>"
    } else if part.strip_prefix("tsk_").is_some_and(is_digits) {
        "tsk_<n>"
    } else if is_digits(part) && part.len() >= 4 {
        "<n>"
    } else if is_digits(part) && part.len() == 2 {
        "<two>"
    } else if is_age {
        "<age>"
    } else if is_month {
        "<month>"
    } else {
        part
    }
}

/// Whether what was shown is what is seen now; a shown line `…` stands for any lines.
fn is_seen(shown: &[String], seen: &[String]) -> bool {
    match shown.split_first() {
        None => seen.is_empty(),
        Some((line, rest)) if line == "…" => {
            (0..=seen.len()).any(|skipped| is_seen(rest, &seen[skipped..]))
        }
        Some((line, rest)) => seen
            .split_first()
            .is_some_and(|(first, more)| first == line && is_seen(rest, more)),
    }
}

/// A person with two terminals.
struct Reader {
    folder: PathBuf,
    dev: Option<Dev>,
    /// Of the cluster that was raised last, also after its end.
    address: Option<String>,
    /// Whether the machine has what the documents' first service is made of; without it, `init`
    /// makes another one, and only the commands can be followed.
    is_as_shown: bool,
    /// What the document shows of its `kelson dev`.
    told: Vec<String>,
    /// The commands whose output is not what the document shows, with what it is.
    differences: Vec<String>,
    home: tempfile::TempDir,
}

impl Reader {
    fn new() -> Reader {
        let home = tempfile::tempdir().unwrap();
        Reader {
            folder: home.path().canonicalize().unwrap(),
            dev: None,
            address: None,
            is_as_shown: has_program("python3"),
            told: Vec::new(),
            differences: Vec::new(),
            home,
        }
    }

    fn follow(&mut self, step: &Step) {
        let line = step.typed.as_str();
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
            self.told.clone_from(&step.shown);
        } else if command == "^C" {
            let mut dev = self.dev.take().unwrap();
            self.check_told(&dev);
            assert_eq!(dev.stop(Signal::INT, DEADLINE).unwrap().code(), Some(0));
        } else {
            let shown: Vec<String> = step.shown.iter().map(|line| alike(line)).collect();
            let look = || {
                let seen = self.run(command, exits);
                // How often a wait says what it waits for depends on the machine.
                let said = seen.trim_end().lines();
                let said = said.filter(|line| !line.starts_with("waiting: "));
                let lines: Vec<String> = said.map(alike).collect();
                let is_any = shown.is_empty() || !self.is_as_shown;
                Ok(if is_any || is_seen(&shown, &lines) {
                    Look::Found(())
                } else {
                    Look::NotYet(format!("\n$ {line}\n{seen}"))
                })
            };
            // What is asked may be told a moment later; what is done is done once.
            let asks = QUESTIONS
                .iter()
                .any(|verb| command.split(' ').nth(1) == Some(*verb));
            let deadline = if asks { SETTLED } else { Duration::ZERO };
            if let Err(error) = wait_for("it is as shown", deadline, look) {
                self.differences.push(format!("{error:#}"));
            }
        }
    }

    /// What the documents show of `kelson dev` it says, in whatever order things happen.
    fn check_told(&mut self, dev: &Dev) {
        let said = dev.said();
        let lines: Vec<String> = said.lines().map(alike).collect();
        let missing = |line: &&String| *line != "…" && !lines.contains(&alike(line));
        let missing: Vec<String> = self.told.iter().filter(missing).cloned().collect();
        if self.is_as_shown && !missing.is_empty() {
            let missing = missing.join("\n");
            self.differences
                .push(format!("$ kelson dev\n{said}\nwithout:\n{missing}\n"));
        }
    }

    /// What a command prints and says, as a terminal shows it.
    fn run(&self, command: &str, exits: i32) -> String {
        let kelson = programs::kelson().unwrap();
        let mut path = vec![kelson.parent().unwrap().to_owned()];
        path.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        let both = format!("exec 2>&1\n{command}");
        // The harness knows what has to be taken out of the environment.
        let mut shell = Cli::new("bash", self.address.clone(), &self.folder)
            .command(&["-o", "pipefail", "-c", &both]);
        identify(&mut shell);
        let output = shell
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("HOME", self.home.path())
            .env("USER", "ada")
            .env_remove("XDG_STATE_HOME")
            .env_remove("XDG_CACHE_HOME")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let seen = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = self.dev.as_ref().map(Dev::tail).unwrap_or_default();
        assert_eq!(
            output.status.code(),
            Some(exits),
            "$ {command}\n{seen}\n{said}"
        );
        seen
    }
}

/// Whether a program is on the PATH.
fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
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
    let steps = steps(document);
    assert!(
        steps.iter().any(|step| step.typed == "kelson dev"),
        "{document} raises no cluster"
    );
    let mut reader = Reader::new();
    for step in &steps {
        reader.follow(step);
    }
    if let Some(dev) = reader.dev.take() {
        reader.check_told(&dev);
    }
    assert!(
        reader.differences.is_empty(),
        "{document} shows something else than:\n{}",
        reader.differences.join("\n")
    );
}

#[test]
fn what_differs_from_run_to_run_is_made_alike() {
    for (line, same) in [
        (
            "01:40:45 default/web: web.0 (tsk_1) runs as process 1676",
            "<time> default/web: web.0 (tsk_<n>) runs as process <n>",
        ),
        (
            "branch main at fee71f9  Synced",
            "branch main at <revision> Synced",
        ),
        (
            "tsk_12  running  http:20000  1m27s  2/2",
            "tsk_<n> running http:<n> <age> 2/2",
        ),
        (
            "healed  Service default/web  spec.instances 3 → 1  kelson/web.yaml:7:14",
            "healed Service default/web spec.instances 3 → 1 kelson/web.yaml:7:<n>",
        ),
        (
            "following branch main of /home/ada/hello, at fee71f9",
            "following branch main of <path> at <revision>",
        ),
    ] {
        assert_eq!(alike(line), same);
    }
    let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
    assert!(is_seen(&lines("a\n…\nd"), &lines("a\nb\nc\nd")));
    assert!(is_seen(&lines("a\n…"), &lines("a")));
    assert!(!is_seen(&lines("a"), &lines("a\nb")));
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
