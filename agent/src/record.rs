//! The durable records of one task: what to run, what was started, how it ended.
//!
//! *Guarantees*: a record is there whole or not at all, also after a power cut: it is written under
//! another name, synced, renamed, and the directory synced. `spec.json` stands before the shim is
//! started, `running.json` before the program is, `exited.json` before the shim is gone; the room
//! for it on the disk is taken before the program starts, so that a full disk loses no exit status.
//! `notes.json` is whole too, but outlives the agent only, not the machine.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use kelson_agent_core::{Environment, StopNote, TaskNote, TaskOrder};
use rustix::fs::{FallocateFlags, fallocate};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::isolation::Groups;
use crate::ports::PortGuard;

/// The version of all three records.
pub(crate) const RECORD_VERSION: u32 = 1;
/// The room on the disk that is taken for an exit record, in bytes.
const EXIT_ROOM: u64 = 8192;
/// Largest record, in bytes.
const MAX_RECORD: u64 = 16 << 20;

/// What to run.
pub(crate) const SPEC: &str = "spec.json";
/// What was started.
pub(crate) const RUNNING: &str = "running.json";
/// How it ended.
pub(crate) const EXITED: &str = "exited.json";
/// What a running task's agent leaves to the next one.
pub(crate) const NOTES: &str = "notes.json";
/// Held by the shim while it lives.
pub(crate) const LOCK: &str = "shim.lock";
/// The shim takes commands here.
pub(crate) const CONTROL: &str = "control";
/// The task's own directory.
pub(crate) const WORK: &str = "work";
/// What the task has written.
pub(crate) const LOGS: &str = "logs";

/// A record could not be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("{path}: {source}", path = .path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}: {source}", path = .path.display())]
    Json {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("{path}: larger than {MAX_RECORD} bytes", path = .0.display())]
    TooLarge(PathBuf),
    #[error("{path}: version {found}, and this agent reads version {RECORD_VERSION}", path = .path.display())]
    Version { path: PathBuf, found: u32 },
}

/// `spec.json`: what to run, written by the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SpecRecord {
    pub(crate) version: u32,
    /// For an agent that takes over.
    pub(crate) order: TaskOrder,
    /// For the shim.
    pub(crate) launch: ShimLaunch,
}

/// The part of the specification that the shim needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ShimLaunch {
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Environment,
    /// Relative to the work directory.
    pub(crate) directory: String,
    /// Where the program is placed, empty without cgroups.
    pub(crate) groups: Groups,
    pub(crate) logs: LogLimit,
    /// What the ports of the order are looked at with; absent: an agent that had no such thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ports: Option<PortGuard>,
}

/// How much of a task's output is kept, per stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogLimit {
    /// After which a file is rotated, in bytes.
    pub bytes: u64,
    /// How many files are kept, the one that is written included.
    pub files: u32,
}

impl Default for LogLimit {
    fn default() -> Self {
        Self {
            bytes: 10 << 20,
            files: 3,
        }
    }
}

/// A process, named so that a later one with its number is not taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ProcessName {
    pub(crate) pid: u32,
    /// Field 22 of /proc/PID/stat: clock ticks since the machine's start.
    pub(crate) start_ticks: u64,
}

/// `running.json`: what was started, written by the shim before the gate opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RunningRecord {
    pub(crate) version: u32,
    pub(crate) boot_id: String,
    pub(crate) shim: ProcessName,
    pub(crate) task: ProcessName,
    pub(crate) started_at_ms: u64,
}

/// `exited.json`: how it ended, written by the shim.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ExitedRecord {
    pub(crate) version: u32,
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) oom: bool,
    pub(crate) by_agent: bool,
    /// Why the program could not be started, where it could not.
    pub(crate) not_started: Option<String>,
    /// Ports of the agent's range that others of the machine have, where that is why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) taken_ports: Vec<u16>,
    /// How many processes had to be killed after the program's end.
    pub(crate) orphans: u32,
    /// Processor time of the program and those of its children that it waited for.
    pub(crate) user_ms: u64,
    pub(crate) system_ms: u64,
    /// Highest memory use of the whole task, where a cgroup counts it.
    pub(crate) max_memory_bytes: Option<u64>,
    pub(crate) ended_at_ms: u64,
}

/// `notes.json`: what a running task's agent leaves to the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NotesRecord {
    pub(crate) version: u32,
    /// Its moments are of this start of the machine.
    pub(crate) boot_id: String,
    pub(crate) note: TaskNote,
}

/// Writes a file whole and durably.
pub(crate) fn write_durably(
    directory: &Path,
    name: &str,
    content: &[u8],
) -> Result<(), RecordError> {
    write_whole(directory, name, content)?;
    sync_directory(directory)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), RecordError> {
    let synced = File::open(directory).and_then(|opened| opened.sync_all());
    synced.map_err(|source| RecordError::Io {
        path: directory.to_owned(),
        source,
    })
}

/// Writes a file whole; its content is durable, its name once the directory is synced.
fn write_whole(directory: &Path, name: &str, content: &[u8]) -> Result<(), RecordError> {
    let path = directory.join(name);
    let temporary = temporary(directory, name);
    let write = || -> std::io::Result<()> {
        let mut file = open_temporary(&temporary)?;
        file.set_len(0)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    };
    write().map_err(|source| RecordError::Io { path, source })
}

/// Where a record is written before it has its name.
fn temporary(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!(".{name}.new"))
}

fn open_temporary(path: &Path) -> std::io::Result<File> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Takes the room on the disk that the exit record will need.
pub(crate) fn reserve_exit(directory: &Path) -> Result<(), RecordError> {
    let path = temporary(directory, EXITED);
    let take = || -> std::io::Result<()> {
        let mut file = open_temporary(&path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, EXIT_ROOM) {
            Ok(()) => {}
            // Not every file system can promise room; bytes that are written have theirs.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                let room = usize::try_from(EXIT_ROOM).unwrap_or_default();
                file.write_all(&vec![0u8; room])?;
            }
            Err(error) => return Err(error.into()),
        }
        file.sync_all()
    };
    take().map_err(|source| RecordError::Io { path, source })
}

/// Writes the exit record into the room that was taken for it: whole, durably, and on a full disk
/// too.
pub(crate) fn write_exit(directory: &Path, record: &ExitedRecord) -> Result<(), RecordError> {
    let content = to_json(directory, EXITED, record)?;
    let path = directory.join(EXITED);
    let temporary = temporary(directory, EXITED);
    let write = || -> std::io::Result<()> {
        let mut file = open_temporary(&temporary)?;
        file.write_all(&content)?;
        file.set_len(content.len() as u64)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    };
    write().map_err(|source| RecordError::Io { path, source })?;
    sync_directory(directory)
}

/// Keeps what the next agent must know. It is not synced: where the machine dies, the task dies
/// too.
pub(crate) fn write_notes(
    directory: &Path,
    boot_id: &str,
    note: TaskNote,
) -> Result<(), RecordError> {
    let record = NotesRecord {
        version: RECORD_VERSION,
        boot_id: boot_id.to_owned(),
        note,
    };
    let content = to_json(directory, NOTES, &record)?;
    let (path, temporary) = (directory.join(NOTES), temporary(directory, NOTES));
    let write = || -> std::io::Result<()> {
        let mut file = open_temporary(&temporary)?;
        file.set_len(0)?;
        file.write_all(&content)?;
        fs::rename(&temporary, &path)
    };
    write().map_err(|source| RecordError::Io { path, source })
}

/// Reads what the agent before has noted on this start of the machine; what cannot be read was not
/// noted.
pub(crate) fn read_notes(directory: &Path, boot_id: &str) -> Option<TaskNote> {
    let record = read_record::<NotesRecord>(directory, NOTES).ok()??;
    (record.boot_id == boot_id).then_some(record.note)
}

/// What was noted of a stop, at whichever start of the machine: its moment says nothing, but why
/// it was does.
pub(crate) fn read_stop(directory: &Path) -> Option<StopNote> {
    let record = read_record::<NotesRecord>(directory, NOTES).ok()??;
    record.note.stop
}

/// Writes the first record of a new task directory. The directory's own name is made durable in
/// `tasks`; the record's name is made so together with that of `running.json`, before the program
/// starts.
pub(crate) fn write_first_record<T: Serialize>(
    directory: &Path,
    name: &str,
    record: &T,
) -> Result<(), RecordError> {
    write_whole(directory, name, &to_json(directory, name, record)?)?;
    directory.parent().map_or(Ok(()), sync_directory)
}

/// Writes a record whole and durably.
pub(crate) fn write_record<T: Serialize>(
    directory: &Path,
    name: &str,
    record: &T,
) -> Result<(), RecordError> {
    write_durably(directory, name, &to_json(directory, name, record)?)
}

fn to_json<T: Serialize>(directory: &Path, name: &str, record: &T) -> Result<Vec<u8>, RecordError> {
    serde_json::to_vec(record).map_err(|source| RecordError::Json {
        path: directory.join(name),
        source,
    })
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Reads a record; `None` where there is none.
pub(crate) fn read_record<T: DeserializeOwned>(
    directory: &Path,
    name: &str,
) -> Result<Option<T>, RecordError> {
    let path = directory.join(name);
    let Some(content) = read_bounded(&path)? else {
        return Ok(None);
    };
    let json = |source| RecordError::Json {
        path: path.clone(),
        source,
    };
    let versioned: Versioned = serde_json::from_slice(&content).map_err(json)?;
    if versioned.version != RECORD_VERSION {
        return Err(RecordError::Version {
            path,
            found: versioned.version,
        });
    }
    serde_json::from_slice(&content).map(Some).map_err(json)
}

/// Reads a file of at most 16 MiB; `None` where there is none.
pub(crate) fn read_bounded(path: &Path) -> Result<Option<Vec<u8>>, RecordError> {
    let io = |source| RecordError::Io {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let mut content = Vec::new();
    file.take(MAX_RECORD + 1)
        .read_to_end(&mut content)
        .map_err(io)?;
    if content.len() as u64 > MAX_RECORD {
        return Err(RecordError::TooLarge(path.to_owned()));
    }
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn reads_as_it_was_written<T>(golden: &str, name: &str)
    where
        T: Serialize + DeserializeOwned,
    {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(name), golden).unwrap();
        let record: T = read_record(directory.path(), name).unwrap().unwrap();
        write_record(directory.path(), name, &record).unwrap();
        let written: serde_json::Value =
            serde_json::from_slice(&fs::read(directory.path().join(name)).unwrap()).unwrap();
        assert_eq!(
            written,
            serde_json::from_str::<serde_json::Value>(golden).unwrap()
        );
    }

    #[test]
    fn records_of_version_1_are_read_and_written_as_they_stand_in_the_golden_files() {
        reads_as_it_was_written::<SpecRecord>(include_str!("../golden/spec-1.json"), SPEC);
        reads_as_it_was_written::<SpecRecord>(include_str!("../golden/spec-1-ports.json"), SPEC);
        let ended = include_str!("../golden/exited-1-ports.json");
        reads_as_it_was_written::<ExitedRecord>(ended, EXITED);
        reads_as_it_was_written::<RunningRecord>(include_str!("../golden/running-1.json"), RUNNING);
        reads_as_it_was_written::<ExitedRecord>(include_str!("../golden/exited-1.json"), EXITED);
        reads_as_it_was_written::<NotesRecord>(include_str!("../golden/notes-1.json"), NOTES);
    }

    #[test]
    fn an_exit_record_fits_into_the_room_that_was_taken_for_it_and_is_as_any_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        reserve_exit(path).unwrap();
        assert!(read_record::<ExitedRecord>(path, EXITED).unwrap().is_none());
        let record = ExitedRecord {
            version: RECORD_VERSION,
            not_started: Some("\u{1}".repeat(1000)),
            ..ExitedRecord::default()
        };
        assert!(serde_json::to_vec(&record).unwrap().len() as u64 <= EXIT_ROOM);
        write_exit(path, &record).unwrap();
        assert_eq!(read_record(path, EXITED).unwrap(), Some(record));
    }

    #[test]
    fn notes_of_another_start_of_the_machine_are_none() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read_notes(directory.path(), "a"), None);
        let note = TaskNote::default();
        write_notes(directory.path(), "a", note.clone()).unwrap();
        assert_eq!(read_notes(directory.path(), "a"), Some(note));
        assert_eq!(read_notes(directory.path(), "b"), None);
        fs::write(directory.path().join(NOTES), "{").unwrap();
        assert_eq!(read_notes(directory.path(), "a"), None);
    }

    #[test]
    fn another_version_is_refused_by_its_number() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(
            directory.path().join(EXITED),
            r#"{"version":2,"shape":"new"}"#,
        )
        .unwrap();
        let error = read_record::<ExitedRecord>(directory.path(), EXITED).unwrap_err();
        assert!(
            matches!(error, RecordError::Version { found: 2, .. }),
            "{error}"
        );
        assert!(
            read_record::<ExitedRecord>(directory.path(), SPEC)
                .unwrap()
                .is_none()
        );
    }
}
