//! Whole members: restarts, crashes, snapshots, full disks.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod changes;
mod cluster;
mod crash;
mod disk_full;
mod harness;
mod life;
mod partitions;
mod proxy;
mod reads;
mod snapshots;
mod transfers;

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;

use super::{Encode, Machine, MachineError, Member, MemberConfig, Position};

/// How long a test waits for anything before it fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// A machine that writes down every payload it was given, and shows the list.
pub(crate) struct Journal {
    lines: Vec<String>,
    is_broken: bool,
    shown: watch::Sender<(Position, Vec<String>)>,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            lines: Vec::new(),
            is_broken: false,
            shown: watch::Sender::new((Position::default(), Vec::new())),
        }
    }
}

impl Machine for Journal {
    fn apply(&mut self, at: Position, payload: &[u8]) -> Result<Vec<u8>, MachineError> {
        let line = String::from_utf8_lossy(payload).into_owned();
        match line.as_str() {
            "unknown" => Err(MachineError::Payload {
                at,
                reason: "command 99 is not known".to_owned(),
            }),
            "panic" => panic!("this machine panics when asked to"),
            noise if noise.starts_with("noise") => Ok(Vec::new()),
            "break snapshots" => {
                self.is_broken = true;
                Ok(Vec::new())
            }
            "mend snapshots" => {
                self.is_broken = false;
                Ok(Vec::new())
            }
            _ => {
                self.lines.push(line);
                Ok(format!("line {}", self.lines.len()).into_bytes())
            }
        }
    }

    fn publish(&mut self, applied: Position) {
        self.shown.send_replace((applied, self.lines.clone()));
    }

    fn snapshot(&self) -> Encode {
        let (lines, is_broken) = (self.lines.clone(), self.is_broken);
        Box::new(move |out: &mut dyn Write| {
            lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
            if is_broken {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(())
            }
        })
    }

    fn restore(&mut self, snapshot: &mut dyn Read) -> Result<(), MachineError> {
        let mut text = String::new();
        snapshot
            .read_to_string(&mut text)
            .map_err(|error| MachineError::Snapshot {
                reason: error.to_string(),
            })?;
        self.lines = text.lines().map(str::to_owned).collect();
        Ok(())
    }
}

/// A member with a journal, and what the journal shows.
struct Running {
    member: Member,
    shown: watch::Receiver<(Position, Vec<String>)>,
}

impl Running {
    fn lines(&self) -> Vec<String> {
        self.shown.borrow().1.clone()
    }

    async fn propose(&self, line: impl Into<String>) -> String {
        let committed = within(self.member.propose(line.into())).await.unwrap();
        String::from_utf8(committed.reply.to_vec()).unwrap()
    }

    async fn shutdown(self) {
        within(self.member.shutdown()).await;
    }
}

fn config(directory: &Path) -> MemberConfig {
    MemberConfig {
        segment_bytes: 4096,
        cache_bytes: 1024,
        kept_entries: 5,
        reserve_bytes: 4096,
        ..MemberConfig::new(1, directory)
    }
}

async fn start_with(config: MemberConfig) -> Result<Running, super::RaftError> {
    let journal = Journal::default();
    let shown = journal.shown.subscribe();
    let member = within(Member::start(config, journal)).await?;
    Ok(Running { member, shown })
}

async fn start(directory: &Path) -> Running {
    start_with(config(directory)).await.unwrap()
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work)
        .await
        .expect("this should take less time")
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}
