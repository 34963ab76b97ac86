//! Starting one task: its directory, its specification, its shim, and the word of its end.

use std::fs;
use std::io::{Cursor, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use kelson_agent_core::{Ending, Input, LaunchPlan, TaskOrder, interpolate};
use kelson_model::id::TaskId;
use kelson_model::task::ExitCause;
use kelson_model::time::WallTime;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::{AsyncBufReadExt, BufReader, unix::AsyncFd};
use tokio::sync::{Semaphore, mpsc};

use crate::blob::Blobs;
use crate::ended::{EndedOutputs, OutputLimits};
use crate::identity::DirectoryLock;
use crate::isolation::{Groups, Isolation};
use crate::kill::Carriers;
use crate::layout::Layout;
use crate::ports::PortGuard;
use crate::proc;
use crate::record::{
    EXITED, ExitedRecord, LOGS, LogLimit, ProcessName, RECORD_VERSION, RUNNING, SPEC, ShimLaunch,
    SpecRecord, WORK, read_bounded, read_record, write_first_record,
};

/// The standard error of the shim.
const SHIM_LOG: &str = "shim.log";
/// How many tasks are prepared or started at the same time.
const AT_ONCE: usize = 16;
/// Between two attempts to end what cannot be killed.
const END_AGAIN: Duration = Duration::from_secs(2);

/// Largest template of a file, in bytes.
const MAX_TEMPLATE: u64 = 16 << 20;

/// What a file of a task holds.
#[derive(Debug)]
pub(crate) enum Content {
    Text(Cursor<Vec<u8>>),
    Blob(fs::File),
}

impl Content {
    /// All of it, as text of a bounded length.
    fn text(&mut self) -> std::io::Result<String> {
        let mut text = String::new();
        self.take(MAX_TEMPLATE + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MAX_TEMPLATE {
            let message = format!("a template has at most {MAX_TEMPLATE} bytes");
            return Err(std::io::Error::other(message));
        }
        Ok(text)
    }
}

impl Read for Content {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Text(text) => text.read(into),
            Self::Blob(file) => file.read(into),
        }
    }
}

/// What starting a task needs.
#[derive(Debug)]
pub(crate) struct Launcher {
    pub(crate) layout: Layout,
    pub(crate) isolation: Isolation,
    pub(crate) blobs: Blobs,
    pub(crate) shim_exe: PathBuf,
    pub(crate) logs: LogLimit,
    ports: PortGuard,
    ended: EndedOutputs,
    turn: Semaphore,
    /// Released only when nobody can write into the data directory any more.
    _lock: DirectoryLock,
}

impl Launcher {
    pub(crate) fn new(
        layout: Layout,
        isolation: Isolation,
        blobs: Blobs,
        shim_exe: PathBuf,
        outputs: OutputLimits,
        ports: PortGuard,
        lock: DirectoryLock,
    ) -> Self {
        let ended = EndedOutputs::open(layout.ended(), outputs.ended);
        Self {
            layout,
            isolation,
            blobs,
            shim_exe,
            logs: outputs.each,
            ports,
            ended,
            turn: Semaphore::new(AT_ONCE),
            _lock: lock,
        }
    }

    /// Has the files of a task at hand; takes no turn of those that start tasks, since it may
    /// wait for the kernel.
    ///
    /// # Errors
    /// A sentence for people.
    pub(crate) async fn fetch(&self, plan: &LaunchPlan) -> Result<Vec<(String, Content)>, String> {
        let mut contents = Vec::with_capacity(plan.files.len());
        for file in &plan.files {
            let say = |what: &dyn std::fmt::Display| format!("the file '{}': {what}", file.path);
            let mut content = match &file.content {
                Ok(text) => Content::Text(Cursor::new(text.clone().into_bytes())),
                Err(digest) => {
                    let fetched = self.blobs.get(digest).await;
                    Content::Blob(fetched.map_err(|error| say(&error))?)
                }
            };
            if file.is_template {
                let text = content.text().map_err(|error| say(&error))?;
                let done = interpolate(&text, &plan.environment).map_err(|error| say(&error))?;
                content = Content::Text(Cursor::new(done.into_bytes()));
            }
            contents.push((file.path.clone(), content));
        }
        Ok(contents)
    }

    /// Makes the directory, lays the files, makes the cgroups, and writes the specification
    /// durably, last.
    ///
    /// # Errors
    /// A sentence for people; nothing of the task is left then but its directory.
    pub(crate) async fn prepare(
        self: &Arc<Self>,
        order: TaskOrder,
        plan: Arc<LaunchPlan>,
        contents: Vec<(String, Content)>,
    ) -> Result<Groups, String> {
        let _turn = self
            .turn
            .acquire()
            .await
            .map_err(|error| error.to_string())?;
        let launcher = Arc::clone(self);
        let write = move || launcher.write(order, &plan, contents);
        tokio::task::spawn_blocking(write)
            .await
            .map_err(|error| error.to_string())?
    }

    fn write(
        &self,
        order: TaskOrder,
        plan: &LaunchPlan,
        contents: Vec<(String, Content)>,
    ) -> Result<Groups, String> {
        let task = order.task;
        let directory = self.layout.task(task);
        let say = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
        if directory.join(RUNNING).exists() || directory.join(EXITED).exists() {
            return Err("it was started before, and is not started again".to_owned());
        }
        // What stands there without these never ran: an agent ended while it prepared it.
        if directory.exists() {
            fs::remove_dir_all(&directory).map_err(say("the task's directory"))?;
        }
        for path in [&directory, &directory.join(LOGS), &directory.join(WORK)] {
            let made = fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path);
            made.map_err(say("the task's directory"))?;
        }
        let work = directory.join(WORK);
        for (path, mut content) in contents {
            crate::files::lay_file(&work, &path, &mut content)
                .map_err(|error| format!("the file '{path}': {error}"))?;
        }
        if plan.directory != "." {
            fs::create_dir_all(work.join(&plan.directory)).map_err(say("the workdir"))?;
        }
        let groups = self
            .isolation
            .create(task, plan.cpus, plan.memory)
            .map_err(say("its cgroups"))?;
        let spec = SpecRecord {
            version: RECORD_VERSION,
            launch: ShimLaunch {
                program: plan.program.clone(),
                arguments: plan.arguments.clone(),
                environment: plan.environment.clone(),
                directory: plan.directory.clone(),
                groups: groups.clone(),
                logs: self.logs,
                ports: Some(self.ports.clone()),
            },
            order,
        };
        if let Err(error) = write_first_record(&directory, SPEC, &spec) {
            groups.remove();
            return Err(error.to_string());
        }
        Ok(groups)
    }

    /// Starts the shim when it is its turn, and reports what it says and how it ends; comes back
    /// when it is gone.
    pub(crate) async fn start(
        self: &Arc<Self>,
        task: TaskId,
        events: &mpsc::Sender<(TaskId, Input)>,
    ) {
        let directory = self.layout.task(task);
        // Held until the shim has said something: as many as there are turns start at a time, and
        // the others wait.
        let turn = self.turn.acquire().await;
        let mut child = match self.spawn_shim(&directory) {
            Ok(child) => child,
            Err(error) => {
                let reason = format!("its shim could not be started: {error}");
                let _ = events.send((task, Input::PrepareFailed { reason })).await;
                return;
            }
        };
        let _ = events.send((task, Input::ShimSpawned)).await;
        if let Some(stdout) = child.stdout.take() {
            let mut line = String::new();
            // One short line, or the end of the pipe.
            let _ = BufReader::new(stdout).read_line(&mut line).await;
            if let Some(started) = parse_running(&line) {
                let _ = events.send((task, started)).await;
            }
        }
        drop(turn);
        let _ = child.wait().await;
        self.report_end(task, events).await;
    }

    /// Reports what the directory says, the shim being gone; where it has recorded nothing, what
    /// may live of the task is ended first.
    pub(crate) async fn report_end(
        self: &Arc<Self>,
        task: TaskId,
        events: &mpsc::Sender<(TaskId, Input)>,
    ) {
        let said = ending(&self.layout.task(task));
        if matches!(said, Input::SupervisorDied { .. }) {
            self.end_for_good(task).await;
        }
        let _ = events.send((task, said)).await;
    }

    /// Comes back when nothing runs of a task any more: nothing that may live is reported as
    /// gone, or replaced.
    pub(crate) async fn end_for_good(self: &Arc<Self>, task: TaskId) {
        loop {
            let launcher = Arc::clone(self);
            let end = move || launcher.carriers(task).end();
            if tokio::task::spawn_blocking(end).await.unwrap_or(false) {
                return;
            }
            tracing::warn!(%task, "some of it cannot be killed yet");
            tokio::time::sleep(END_AGAIN).await;
        }
    }

    /// By what the processes of a task are known.
    pub(crate) fn carriers(&self, task: TaskId) -> Carriers {
        Carriers::of(&self.layout, &self.isolation, task)
    }

    fn spawn_shim(&self, directory: &Path) -> std::io::Result<tokio::process::Child> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(directory.join(LOGS).join(SHIM_LOG))?;
        tokio::process::Command::new(&self.shim_exe)
            .arg("shim")
            .arg(directory)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(log))
            .kill_on_drop(false)
            .spawn()
    }

    /// Deletes what is left of a task, its cgroups included. Blocks.
    pub(crate) fn remove(&self, task: TaskId) {
        let directory = self.layout.task(task);
        let carriers = self.carriers(task);
        carriers.end_groups();
        carriers.remove_groups();
        let spec = read_record::<SpecRecord>(&directory, SPEC).ok().flatten();
        let order = spec.map(|spec| spec.order);
        self.ended.keep(&directory, task, order.as_ref());
        if let Err(error) = fs::remove_dir_all(&directory)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%task, %error, "the directory of a task could not be deleted");
        }
    }
}

fn parse_running(line: &str) -> Option<Input> {
    let mut words = line.trim_end().split(' ');
    let (word, pid, at) = (words.next()?, words.next()?, words.next()?);
    (word == "running").then_some(())?;
    Some(Input::Started {
        pid: pid.parse().ok()?,
        at: WallTime(at.parse().ok()?),
    })
}

/// What a task directory says when its shim is gone.
pub(crate) fn ending(directory: &Path) -> Input {
    match read_record::<ExitedRecord>(directory, EXITED) {
        Ok(Some(record)) => Input::Ended(Ending {
            code: record.code,
            signal: record.signal,
            oom: record.oom,
            by_agent: record.by_agent,
            not_started: record.not_started,
            taken_ports: record.taken_ports,
        }),
        Ok(None) if !directory.join(RUNNING).exists() => Input::PrepareFailed {
            reason: last_words(directory),
        },
        Ok(None) => Input::SupervisorDied {
            reason: "supervisor died".to_owned(),
            cause: ExitCause::ShimDied,
        },
        Err(error) => Input::SupervisorDied {
            reason: format!("its exit record cannot be read: {error}"),
            cause: ExitCause::RecordsUnreadable,
        },
    }
}

/// What a shim wrote before it gave up.
fn last_words(directory: &Path) -> String {
    let log = read_bounded(&directory.join(LOGS).join(SHIM_LOG))
        .ok()
        .flatten()
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&log);
    match text.lines().last() {
        Some(line) => line.chars().take(200).collect(),
        None => "its shim has ended without a word".to_owned(),
    }
}

/// A shim that this agent did not start, pinned.
#[derive(Debug)]
pub(crate) struct AdoptedShim {
    pidfd: AsyncFd<std::os::fd::OwnedFd>,
}

impl AdoptedShim {
    /// Pins a shim; `None` where it is gone, also where it is only waiting to be reaped.
    pub(crate) fn pin(shim: ProcessName) -> Option<Self> {
        let pid = i32::try_from(shim.pid).ok().and_then(Pid::from_raw)?;
        // The pidfd first: it pins the process, so that what is compared next is the same one.
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
        let now = proc::stat(shim.pid)?;
        if now.start_ticks != shim.start_ticks || now.is_over() {
            return None;
        }
        #[expect(
            deprecated,
            reason = "the successor is unsafe; an owned pidfd keeps what it asks for"
        )]
        Some(Self {
            pidfd: AsyncFd::with_interest(pidfd, tokio::io::Interest::READABLE).ok()?,
        })
    }

    /// Waits for its end.
    pub(crate) async fn ended(self) {
        let _ = self.pidfd.readable().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_shim_is_read() {
        let started = Input::Started {
            pid: 17,
            at: WallTime(99),
        };
        assert_eq!(parse_running("running 17 99\n"), Some(started));
        assert_eq!(parse_running("ended\n"), None);
        assert_eq!(parse_running(""), None);
        assert_eq!(parse_running("running x 1\n"), None);
    }
}
