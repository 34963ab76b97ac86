//! A process that `dev` keeps alive.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// The first wait before a new start, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// A process that lived this long begins with the first wait again.
const STABLE: Duration = Duration::from_secs(30);
/// A log that is longer is put aside at the next start.
const LOG_BYTES: u64 = 16 << 20;

/// A process that is started again when it dies.
///
/// *Flow*: [`start`](Self::start), then [`next`](Self::next) in a loop, with [`start`](Self::start)
/// when it is due. *Guarantees*: however `dev` dies, the process reads the end of its stdin. It is
/// in a process group of its own, so that an interrupt from the terminal is `dev`'s alone to
/// answer.
pub(crate) struct Part {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<OsString>,
    log: PathBuf,
    running: Option<Running>,
    started: Instant,
    wait: Duration,
    due: Option<Instant>,
    first_line: watch::Sender<Option<String>>,
    /// Where its further lines go.
    more_lines: Option<mpsc::Sender<String>>,
}

struct Running {
    child: Child,
    /// Its end is how the process notices that we are gone.
    stdin: Option<ChildStdin>,
}

/// What happened to a part.
#[derive(Debug)]
pub(crate) enum Happened {
    /// It has died, and is due again after this time.
    Died(ExitStatus, Duration),
    /// It is time to start it again.
    Due,
}

impl Part {
    /// Describes a process; nothing is started yet.
    pub(crate) fn new(name: &'static str, program: &Path, log: PathBuf) -> Self {
        Self {
            name,
            program: program.to_owned(),
            arguments: Vec::new(),
            log,
            running: None,
            started: Instant::now(),
            wait: BACK_OFF.0,
            due: None,
            first_line: watch::Sender::new(None),
            more_lines: None,
        }
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Sets the arguments of the next start.
    pub(crate) fn with_arguments(&mut self, arguments: Vec<OsString>) {
        self.arguments = arguments;
    }

    /// Sees the first line that the process of the newest start has printed.
    pub(crate) fn first_line(&self) -> watch::Receiver<Option<String>> {
        self.first_line.subscribe()
    }

    /// Hears the lines that it prints after the first, of this start and of all later ones.
    pub(crate) fn more_lines(&mut self) -> mpsc::Receiver<String> {
        let (sender, receiver) = mpsc::channel(64);
        self.more_lines = Some(sender);
        receiver
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the system does not.
    pub(crate) fn start(&mut self) -> Result<()> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(self.open_log()?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start the {}", self.name))?;
        self.first_line.send_replace(None);
        if let Some(stdout) = child.stdout.take() {
            let said = self.first_line.clone();
            let more = self.more_lines.clone();
            // It ends with the process, whose end closes the pipe.
            tokio::spawn(async move {
                let mut lines = BufReader::new(stdout).lines();
                if let Ok(Some(line)) = lines.next_line().await {
                    said.send_replace(Some(line));
                }
                while let Ok(Some(line)) = lines.next_line().await {
                    if let Some(more) = &more {
                        // Nobody listens at the end.
                        drop(more.send(line).await);
                    }
                }
            });
        }
        let stdin = child.stdin.take();
        self.running = Some(Running { child, stdin });
        self.started = Instant::now();
        self.due = None;
        Ok(())
    }

    /// Waits until it dies, or until it is due again after it has died. Cancelling loses nothing.
    pub(crate) async fn next(&mut self) -> Happened {
        if let Some(running) = &mut self.running {
            let status = match running.child.wait().await {
                Ok(status) => status,
                // It cannot be waited for, so nothing is known of how it ended.
                Err(error) => {
                    tracing::warn!(%error, part = self.name, "cannot wait for it");
                    ExitStatus::from_raw(0)
                }
            };
            self.running = None;
            if self.started.elapsed() > STABLE {
                self.wait = BACK_OFF.0;
            }
            let wait = self.wait;
            self.wait = (wait * 2).min(BACK_OFF.1);
            self.due = Some(Instant::now() + wait);
            return Happened::Died(status, wait);
        }
        match self.due {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
        Happened::Due
    }

    /// Sends it a signal; whether there was a process.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        self.running
            .as_ref()
            .and_then(|running| running.child.id())
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
            .is_some_and(|pid| kill_process(pid, signal).is_ok())
    }

    /// Lets go of it: it reads the end of its stdin.
    pub(crate) fn let_go(&mut self) {
        if let Some(running) = &mut self.running {
            running.stdin = None;
        }
    }

    /// Waits until it has ended; it is not started again.
    pub(crate) async fn ended(&mut self) {
        if let Some(running) = &mut self.running
            && let Err(error) = running.child.wait().await
        {
            tracing::warn!(%error, part = self.name, "cannot wait for it");
        }
        self.running = None;
        self.due = None;
    }

    /// Waits until it has ended, and kills it when it takes longer than `patience`.
    pub(crate) async fn ended_within(&mut self, patience: Duration) {
        if tokio::time::timeout(patience, self.ended()).await.is_err() {
            self.signal(Signal::KILL);
            self.ended().await;
        }
    }

    /// The last lines of its log.
    pub(crate) fn last_words(&self, lines: usize) -> String {
        const TAIL: u64 = 8 << 10;
        let read = || -> std::io::Result<Vec<u8>> {
            use std::io::{Read as _, Seek as _, SeekFrom};
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
            let mut bytes = Vec::new();
            file.take(TAIL).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text.lines().collect();
        let from = all.len().saturating_sub(lines);
        all.get(from..).unwrap_or_default().join("\n")
    }

    fn open_log(&self) -> Result<File> {
        let is_long = std::fs::metadata(&self.log).is_ok_and(|known| known.len() > LOG_BYTES);
        if is_long {
            std::fs::rename(&self.log, self.log.with_extension("log.1"))?;
        }
        File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))
    }
}

/// How a process ended, in words.
pub(crate) fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    fn part(folder: &Path, script: &str) -> Part {
        let mut part = Part::new("test", Path::new("/bin/sh"), folder.join("test.log"));
        part.with_arguments(vec!["-c".into(), script.into()]);
        part
    }

    #[tokio::test]
    async fn a_part_that_dies_is_due_again_after_growing_waits() {
        let folder = tempfile::tempdir().unwrap();
        let mut part = part(folder.path(), "echo last words >&2; exit 7");
        let mut waits = Vec::new();
        for _ in 0..3 {
            part.start().unwrap();
            match part.next().await {
                Happened::Died(status, wait) => {
                    assert_eq!(ending(status), "exited with status 7");
                    waits.push(wait);
                }
                Happened::Due => panic!("it was running"),
            }
        }
        assert!(matches!(part.next().await, Happened::Due));
        assert!(waits.is_sorted_by(|a, b| a < b), "{waits:?}");
        assert_eq!(part.last_words(1), "last words");
    }

    #[tokio::test]
    async fn a_part_that_is_let_go_reads_the_end_of_its_stdin() {
        let folder = tempfile::tempdir().unwrap();
        let mut part = part(folder.path(), "echo hello; echo more; cat; exit 3");
        let (mut line, mut more) = (part.first_line(), part.more_lines());
        part.start().unwrap();
        let line = line.wait_for(Option::is_some).await.unwrap().clone();
        assert_eq!(line.as_deref(), Some("hello"));
        assert_eq!(more.recv().await.as_deref(), Some("more"));
        part.let_go();
        assert!(matches!(part.next().await, Happened::Died(status, _) if status.code() == Some(3)));
    }
}
