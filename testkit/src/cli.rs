//! The verbs of the command line, asked as a script asks them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The command line of one cluster.
#[derive(Debug, Clone)]
pub struct Cli {
    program: PathBuf,
    address: Option<String>,
    folder: PathBuf,
}

/// How a verb ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "exit {code}")?,
            None => write!(f, "killed")?,
        }
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.trim().is_empty() {
                write!(f, "\n{name}: {}", text.trim_end())?;
            }
        }
        Ok(())
    }
}

impl Outcome {
    /// What it printed, as JSON.
    ///
    /// # Errors
    /// When that is none; with how the verb ended.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("no JSON on stdout: {self}"))
    }
}

impl Cli {
    /// The command line of the program at `program`, run in `folder` (usually the repository).
    /// Without an address it finds one by itself.
    #[must_use]
    pub fn new(
        program: impl Into<PathBuf>,
        address: Option<String>,
        folder: impl Into<PathBuf>,
    ) -> Cli {
        Cli {
            program: program.into(),
            address,
            folder: folder.into(),
        }
    }

    /// Where it runs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs a verb to its end, whatever that is.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn run(&self, args: &[&str]) -> Result<Outcome> {
        let output = self
            .command(args)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        Ok(Outcome {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// The command that [`Cli::run`] would run, for one that is to be started otherwise.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        isolate(&mut command);
        command.args(args).current_dir(&self.folder);
        if let Some(address) = &self.address {
            command.env("KELSON_ADDR", address);
        }
        command
    }

    /// Runs a verb that must exit with 0, and returns what it printed.
    ///
    /// # Errors
    /// When it exits otherwise.
    pub fn ok(&self, args: &[&str]) -> Result<String> {
        let outcome = self.run(args)?;
        if outcome.code != Some(0) {
            bail!("kelson {}: {outcome}", args.join(" "));
        }
        Ok(outcome.stdout)
    }

    /// Runs a verb with `-o json` and returns what it printed; the verb may also exit with 1, which
    /// says no and still prints its answer.
    ///
    /// # Errors
    /// When it exits otherwise, or prints no JSON.
    pub fn json(&self, args: &[&str]) -> Result<Value> {
        let mut all = args.to_vec();
        all.extend(["-o", "json"]);
        let outcome = self.run(&all)?;
        match outcome.code {
            Some(0 | 1) => outcome
                .json()
                .with_context(|| format!("kelson {}", all.join(" "))),
            _ => bail!("kelson {}: {outcome}", all.join(" ")),
        }
    }

    /// `kelson status` over all namespaces.
    ///
    /// # Errors
    /// As [`Cli::json`].
    pub fn status(&self) -> Result<Value> {
        self.json(&["status", "-A"])
    }

    /// The items of `kelson tasks` over all namespaces.
    ///
    /// # Errors
    /// As [`Cli::json`].
    pub fn tasks(&self) -> Result<Vec<Value>> {
        items(&self.json(&["tasks", "-A"])?)
    }

    /// The items of `kelson drift` over all namespaces, healed ones included.
    ///
    /// # Errors
    /// As [`Cli::json`].
    pub fn drift(&self) -> Result<Vec<Value>> {
        items(&self.json(&["drift", "-A"])?)
    }

    /// The tasks of `KIND/NAME` (in any namespace) that are running.
    ///
    /// # Errors
    /// As [`Cli::json`].
    pub fn running(&self, object: &str) -> Result<Vec<Value>> {
        let (kind, name) = object.split_once('/').context("an object is KIND/NAME")?;
        let is_of = |task: &Value| {
            task.pointer("/workload/kind").is_some_and(|k| k == kind)
                && task.pointer("/workload/name").is_some_and(|n| n == name)
                && task.get("state").is_some_and(|s| s == "running")
        };
        Ok(self.tasks()?.into_iter().filter(is_of).collect())
    }
}

fn items(list: &Value) -> Result<Vec<Value>> {
    Ok(list
        .get("items")
        .and_then(Value::as_array)
        .with_context(|| format!("no items in {list}"))?
        .clone())
}

/// Takes out of a command's environment what could change how Kelson or git behave on this machine.
pub(crate) fn isolate(command: &mut Command) {
    for variable in [
        "KELSON_ADDR",
        "KELSON_CREDENTIALS",
        "KELSON_NAMESPACE",
        "KELSON_DATA_DIR",
        "KELSON_OUTPUT",
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
    ] {
        command.env_remove(variable);
    }
    command
        .env("NO_COLOR", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
}
