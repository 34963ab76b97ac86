//! The thread that writes: everything that waits, one write, one fdatasync, then the callbacks in
//! order.
//!
//! *Flow*: sleep until there is something; take all of it; write; sync; tell. While it syncs, the
//! next batch gathers, so the batch grows with the load and nobody waits for a timer. *Guarantees*:
//! a callback is completed only when its bytes are durable; the first failure fails everything
//! after it, because after a failed sync nobody knows what the disk holds. *Assumes*: it is the
//! only writer of the directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use super::error::LogError;
use super::segment::segment_path;
use super::shared::Shared;
use crate::heart::Heart;
use crate::raft::identity::sync_directory;
use crate::raft::types::TypeConfig;

/// Something to do, in order.
#[derive(Debug)]
pub(crate) enum Work {
    /// Append to the segment being written.
    Bytes(Vec<u8>),
    /// Finish that segment and start the next with these bytes.
    Roll {
        /// The number of the new segment.
        number: u64,
        /// Its header and first records.
        bytes: Vec<u8>,
    },
    /// Unlink segments, once everything before this is durable.
    Unlink(Vec<u64>),
}

/// Someone to tell.
pub(crate) enum Completion {
    /// openraft, about entries.
    Flushed(IOFlushed<TypeConfig>),
    /// A caller of ours.
    Signal(oneshot::Sender<io::Result<()>>),
}

impl Completion {
    /// Tells the outcome.
    pub(crate) fn complete(self, outcome: Result<(), &LogError>) {
        let outcome = outcome.map_err(LogError::to_io);
        match self {
            Self::Flushed(flushed) => flushed.io_completed(outcome),
            // A caller that has gone away needs no answer.
            Self::Signal(signal) => drop(signal.send(outcome)),
        }
    }
}

/// How long one write may take before somebody should look at the disk.
const WRITING: Duration = Duration::from_secs(30);

/// Writes until the log is closed and empty, or until the first failure.
pub(crate) fn run_writer(shared: &Shared, heart: &Heart, mut number: u64, mut file: Arc<File>) {
    loop {
        heart.waits("for something to write", None);
        let Some(batch) = shared.next_batch() else {
            return;
        };
        heart.works("writes to the disk", WRITING);
        let began = Instant::now();
        match write_batch(shared, batch.work, &mut number, &mut file) {
            Ok(()) => {
                shared.options.metrics.log_written(began.elapsed());
                shared.batch_durable(batch.end, batch.completions);
            }
            Err(error) => {
                tracing::error!(%error, "the log cannot be written any more");
                if matches!(error, LogError::DiskFull { .. }) {
                    shared.options.reserve.release();
                }
                shared.fail(error, batch.completions);
                return;
            }
        }
    }
}

fn write_batch(
    shared: &Shared,
    work: Vec<Work>,
    number: &mut u64,
    file: &mut Arc<File>,
) -> Result<(), LogError> {
    let directory = shared.options.directory.as_path();
    let mut unlinked = Vec::new();
    let mut is_dirty = false;
    for step in work {
        match step {
            Work::Bytes(bytes) => {
                (&mut &**file).write_all(&bytes).map_err(|source| {
                    LogError::io("writing", &segment_path(directory, *number), source)
                })?;
                shared.written.fetch_add(
                    u64::try_from(bytes.len()).unwrap_or(u64::MAX),
                    Ordering::Relaxed,
                );
                is_dirty = true;
            }
            Work::Roll {
                number: next,
                bytes,
            } => {
                // The finished segment must be durable before the next one exists: only the last
                // may ever have a torn tail.
                file.sync_data().map_err(|source| {
                    LogError::io("syncing", &segment_path(directory, *number), source)
                })?;
                *file = Arc::new(create_segment(directory, next, &bytes)?);
                *number = next;
                shared.segment_created(next, Arc::clone(file));
                is_dirty = false;
            }
            Work::Unlink(numbers) => unlinked.extend(numbers),
        }
    }
    if is_dirty {
        file.sync_data()
            .map_err(|source| LogError::io("syncing", &segment_path(directory, *number), source))?;
    }
    unlink_segments(directory, &unlinked)
}

/// Makes a segment that is durable, name and all, before it is used.
pub(crate) fn create_segment(
    directory: &Path,
    number: u64,
    bytes: &[u8],
) -> Result<File, LogError> {
    let path = segment_path(directory, number);
    let io = |action| move |source| LogError::io(action, &segment_path(directory, number), source);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(io("creating"))?;
    file.write_all(bytes).map_err(io("writing"))?;
    file.sync_all().map_err(io("syncing"))?;
    sync_directory(directory).map_err(|source| LogError::io("syncing", directory, source))?;
    Ok(file)
}

/// Removes segments, the oldest first, so that a crash in between leaves no gap.
pub(crate) fn unlink_segments(directory: &Path, numbers: &[u64]) -> Result<(), LogError> {
    for number in numbers {
        let path = segment_path(directory, *number);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(LogError::io("removing", &path, source));
            }
            _ => tracing::debug!(path = %path.display(), "removed a segment that is in a snapshot"),
        }
    }
    if numbers.is_empty() {
        return Ok(());
    }
    sync_directory(directory).map_err(|source| LogError::io("syncing", directory, source))
}
