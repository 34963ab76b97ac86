//! `kelson dev` as a process.

use std::fs::File;
use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{Cli, isolate};
use crate::deadline::{Look, wait_for};
use crate::guardian::Guardian;
use crate::ports::PortRange;
use crate::processes::{self, Process};
use crate::{programs, status};

/// How long `kelson dev` may take until it is ready: the first start compiles the scheduler.
const READY: Duration = Duration::from_secs(90);
/// How long a commit may take until everything is well, on a small and busy machine.
const SETTLE: Duration = Duration::from_secs(90);
/// How long killing everything may take.
const KILL: Duration = Duration::from_secs(20);
/// How much of what was said stands in an error.
const TAIL_LINES: usize = 60;

/// How to start a [`Dev`].
#[derive(Debug, Default)]
pub struct DevBuilder {
    program: Option<PathBuf>,
    repo: Option<PathBuf>,
    data: Option<PathBuf>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    ready: Option<Duration>,
}

impl DevBuilder {
    /// The `kelson` to start; otherwise [`programs::kelson`].
    #[must_use]
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = Some(path.into());
        self
    }

    /// The repository to follow; required.
    #[must_use]
    pub fn repo(mut self, path: impl Into<PathBuf>) -> Self {
        self.repo = Some(path.into());
        self
    }

    /// Where it keeps its data; otherwise a temporary folder that goes with the [`Dev`].
    #[must_use]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data = Some(path.into());
        self
    }

    /// More arguments of `kelson dev`. A `--listen` or `--port-range` among them is taken instead
    /// of a free one.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// One more variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// How long it may take until it is ready.
    #[must_use]
    pub fn ready_within(mut self, deadline: Duration) -> Self {
        self.ready = Some(deadline);
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be started, ends instead, or is not ready in time; with the end of what it
    /// said.
    pub fn start(self) -> Result<Dev> {
        let program = match self.program {
            Some(program) => program,
            None => programs::kelson()?,
        };
        let repo = self
            .repo
            .context("a Dev needs a repository")?
            .canonicalize()
            .context("no such repository")?;
        let folder = tempfile::Builder::new()
            .prefix("kelson-dev-")
            .tempdir()
            .context("no temporary folder")?;
        let data = self.data.unwrap_or_else(|| folder.path().join("data"));
        std::fs::create_dir_all(&data)
            .with_context(|| format!("cannot make {}", data.display()))?;
        let data = data.canonicalize()?;
        let guardian = Guardian::watch(&data, folder.path())?;
        let mut dev = Dev {
            cli: Cli::new(&program, None, &repo),
            program,
            repo,
            data,
            args: self.args,
            env: self.env,
            ready_within: self.ready.unwrap_or(READY),
            ready: Value::Null,
            child: None,
            starts: 0,
            ports: PortRange::take()?,
            guardian: Some(guardian),
            folder,
        };
        dev.start()?;
        Ok(dev)
    }
}

/// A running `kelson dev`, its data directory, and everything that it started. It can be asked
/// whatever a [`Cli`] can.
#[derive(Debug)]
pub struct Dev {
    cli: Cli,
    program: PathBuf,
    repo: PathBuf,
    data: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    ready_within: Duration,
    ready: Value,
    child: Option<Child>,
    starts: u32,
    ports: PortRange,
    /// Ends everything when this process is killed before it can.
    guardian: Option<Guardian>,
    folder: TempDir,
}

impl Deref for Dev {
    type Target = Cli;

    fn deref(&self) -> &Cli {
        &self.cli
    }
}

impl Dev {
    /// Begins to say how one is started.
    #[must_use]
    pub fn builder() -> DevBuilder {
        DevBuilder::default()
    }

    /// Starts it again on the same data, after it has ended or was killed, and waits until it is
    /// ready.
    ///
    /// # Errors
    /// When it still runs; otherwise as [`DevBuilder::start`].
    pub fn start(&mut self) -> Result<()> {
        if self.child.is_some() {
            bail!("kelson dev still runs");
        }
        self.starts += 1;
        let mut command = Command::new(&self.program);
        isolate(&mut command);
        command
            .arg("dev")
            .arg(&self.repo)
            .arg("--data-dir")
            .arg(&self.data);
        let has = |name: &str| {
            self.args
                .iter()
                .any(|arg| arg == name || arg.starts_with(&format!("{name}=")))
        };
        if !has("--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        if !has("--port-range") {
            command.args(["--port-range", &self.ports.argument()]);
        }
        // The example programs stand beside this one, and a manifest names them without a path.
        let mut path = vec![programs::folder()?];
        path.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        command
            .args(&self.args)
            .env(
                "PATH",
                std::env::join_paths(path).context("PATH cannot be joined")?,
            )
            .env("HOME", self.folder.path())
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            // By this name every process that comes of it can be found and ended.
            .env("KELSON_TESTKIT", &self.data)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.repo)
            .stdin(Stdio::null())
            .stdout(File::create(self.log("stdout"))?)
            .stderr(File::create(self.log("stderr"))?)
            .process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        self.child = Some(child);
        self.ready = self.wait_ready()?;
        self.cli = Cli::new(&self.program, Some(self.address().to_owned()), &self.repo);
        Ok(())
    }

    fn wait_ready(&mut self) -> Result<Value> {
        let (stdout, file) = (self.log("stdout"), self.data.join("ready.json"));
        let ready = wait_for("kelson dev is ready", self.ready_within, || {
            if let Some(status) = self
                .child
                .as_mut()
                .context("it was not started")?
                .try_wait()?
            {
                bail!("kelson dev ended: {status}");
            }
            let text = std::fs::read_to_string(&stdout).unwrap_or_default();
            let Some((line, _)) = text.split_once('\n') else {
                return Ok(Look::NotYet(format!("stdout: {text:?}")));
            };
            let ready: Value = serde_json::from_str(line)
                .with_context(|| format!("the ready line is no JSON: {line}"))?;
            let on_disk = std::fs::read_to_string(&file)
                .with_context(|| format!("ready, but no {}", file.display()))?;
            let on_disk: Value = serde_json::from_str(&on_disk)
                .with_context(|| format!("{} is no JSON", file.display()))?;
            if ready != on_disk {
                bail!("the ready line and ready.json differ: {ready} {on_disk}");
            }
            if ready.get("address").and_then(Value::as_str).is_none() {
                bail!("the ready line has no address: {ready}");
            }
            Ok(Look::Found(ready))
        });
        ready.with_context(|| self.tail())
    }

    /// The line that it printed when it was ready.
    #[must_use]
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// `http://HOST:PORT` of its API.
    #[must_use]
    pub fn address(&self) -> &str {
        self.ready
            .get("address")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Its command line.
    #[must_use]
    pub fn cli(&self) -> &Cli {
        &self.cli
    }

    /// The process id of `kelson dev` itself; `None` when it has ended.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// Everything that lives and belongs to it: kernel, agent, shims, tasks.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        processes::belonging_to(&self.data)
    }

    /// The process of the agent, if it lives.
    #[must_use]
    pub fn agent(&self) -> Option<Process> {
        self.processes()
            .into_iter()
            .find(|process| process.is_kelson("agent"))
    }

    /// Looks at `kelson status` until it is as wanted, and returns it.
    ///
    /// # Errors
    /// When the deadline has passed; with the last status and the end of what `dev` said.
    pub fn wait_until(
        &self,
        what: &str,
        deadline: Duration,
        mut is_so: impl FnMut(&Value) -> bool,
    ) -> Result<Value> {
        self.wait_for(what, deadline, |cli| {
            let status = cli.status()?;
            Ok(if is_so(&status) {
                Look::Found(status)
            } else {
                Look::NotYet(status.to_string())
            })
        })
    }

    /// Waits until the revision is applied and everything is synced, healthy and in its full
    /// number; returns that status.
    ///
    /// # Errors
    /// As [`Dev::wait_until`].
    pub fn settle(&self, revision: &str) -> Result<Value> {
        let what = format!("{revision} is applied, and everything synced and healthy");
        self.wait_until(&what, SETTLE, |now| status::is_settled(now, revision))
    }

    /// Looks at anything until it is found.
    ///
    /// # Errors
    /// The first error of `look`, or that the deadline has passed; with the end of what `dev` said.
    pub fn wait_for<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut look: impl FnMut(&Cli) -> Result<Look<T>>,
    ) -> Result<T> {
        wait_for(what, deadline, || look(&self.cli)).with_context(|| self.tail())
    }

    /// Sends a signal to `kelson dev` and waits until it has ended.
    ///
    /// # Errors
    /// When it has not ended by the deadline, or was not running.
    pub fn stop(&mut self, signal: Signal, deadline: Duration) -> Result<ExitStatus> {
        let pid = self.pid().context("kelson dev is not running")?;
        if !processes::signal(pid, signal) {
            bail!("kelson dev ({pid}) is gone");
        }
        self.wait_ended(deadline)
    }

    /// Waits until `kelson dev` has ended by itself.
    ///
    /// # Errors
    /// When it has not ended by the deadline, or was not running.
    pub fn wait_ended(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let child = self.child.as_mut().context("kelson dev is not running")?;
        let status = wait_for("kelson dev has ended", deadline, || {
            Ok(match child.try_wait()? {
                Some(status) => Look::Found(status),
                None => Look::NotYet("it runs".into()),
            })
        });
        let status = status.with_context(|| self.tail())?;
        self.child = None;
        Ok(status)
    }

    /// How `kelson dev` has ended, if it has.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn has_ended(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else {
            return Ok(None);
        };
        let ended = child.try_wait()?;
        if ended.is_some() {
            self.child = None;
        }
        Ok(ended)
    }

    /// What it has said so far, of this start.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log("stderr")).unwrap_or_default()
    }

    /// The end of what it has said, for a message.
    #[must_use]
    pub fn tail(&self) -> String {
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        let tail = lines
            .get(lines.len().saturating_sub(TAIL_LINES)..)
            .unwrap_or_default();
        format!("kelson dev said at the end:\n  {}\n", tail.join("\n  "))
    }

    fn log(&self, stream: &str) -> PathBuf {
        self.folder.path().join(format!("{}.{stream}", self.starts))
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
        if let Some(child) = &mut self.child {
            // First the one that would start the others again.
            drop(child.kill());
            drop(child.wait());
        }
        if let Err(error) = processes::kill_all(&self.data, KILL) {
            eprintln!("{error:#}");
        }
        drop(self.guardian.take());
        if std::env::var_os("KELSON_TESTKIT_KEEP").is_some() {
            self.folder.disable_cleanup(true);
            eprintln!("kept: {}", self.folder.path().display());
        }
    }
}
