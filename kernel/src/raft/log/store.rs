//! The log as openraft sees it: calls change memory and queue bytes; the writer thread makes them
//! durable.

use std::fmt::Debug;
use std::fs;
use std::io::{self, Write};
use std::ops::{Bound, RangeBounds};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use futures_util::{Stream, StreamExt, stream};
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};

use super::error::LogError;
use super::record::Record;
use super::recovery::{Torn, recover};
use super::segment::{SegmentHeader, segment_path};
use super::shared::{LogOptions, Shared};
use super::writer::{Completion, create_segment, run_writer, unlink_segments};
use crate::raft::lock::DirectoryLock;
use crate::raft::types::{Entry, LogId, TypeConfig, Vote};

/// Most bytes of entries handed out at once for one replication message.
const READ_LIMIT: usize = 1024 * 1024;
/// Entries read at once while a stream of them is applied.
const STREAM_CHUNK: usize = 256;

/// The log; closing it (by dropping it) lets the writer finish what waits.
pub(crate) struct LogStore {
    shared: Arc<Shared>,
}

impl LogStore {
    /// Opens or makes the log of a directory, and starts its writer. Blocks on I/O.
    pub(crate) fn open(options: LogOptions, lock: Option<DirectoryLock>) -> Result<Self, LogError> {
        let directory = options.directory.clone();
        fs::create_dir_all(&directory)
            .map_err(|source| LogError::io("creating", &directory, source))?;
        let mut recovered = recover(&directory, options.cluster, options.cache_bytes, Torn::Cut)?;
        let mut current = match recovered.current {
            Some(current) => current,
            None => {
                let bytes = SegmentHeader {
                    cluster: options.cluster,
                    number: 1,
                    first_sequence: recovered.next_sequence,
                }
                .encode();
                let file = create_segment(&directory, 1, &bytes)?;
                recovered.files.insert(1, Arc::new(file));
                recovered.index.begin_segment(1);
                (1, u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
        };
        let path = segment_path(&directory, current.0);
        let file = recovered
            .files
            .get(&current.0)
            .cloned()
            .ok_or(LogError::Closed)?;
        io::Seek::seek(&mut &*file, io::SeekFrom::Start(current.1))
            .map_err(|source| LogError::io("seeking in", &path, source))?;
        if recovered.files.len() > 1 {
            // A crash may have cut what the last segment starts with, and the older segments that
            // still say it may go at any time from here on.
            let mut bytes = Vec::new();
            for record in recovered.index.preamble() {
                record.append(&mut bytes, recovered.next_sequence);
                recovered.next_sequence += 1;
            }
            let written = (&mut &*file)
                .write_all(&bytes)
                .and_then(|()| file.sync_data());
            written.map_err(|source| LogError::io("writing", &path, source))?;
            current.1 += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        }
        // Segments go only behind a purge mark: so a log without one is known to be whole if it
        // starts with the first of all.
        let dead = if recovered.index.purged.is_some() {
            recovered.index.take_dead_segments()
        } else {
            Vec::new()
        };
        for number in &dead {
            recovered.files.remove(number);
        }
        unlink_segments(&directory, &dead)?;

        let heart = options.hearts.start("log");
        let shared = Arc::new(Shared::new(options, recovered, current, lock));
        let writing = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("kelson-log".to_owned())
            .spawn(move || run_writer(&writing, &heart, current.0, file))
            .map_err(|source| LogError::io("starting the writer of", &directory, source))?;
        *shared.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
        Ok(Self { shared })
    }

    /// Gives a handle that outlives openraft's hold of the log.
    pub(crate) fn watch(&self) -> LogWatch {
        LogWatch {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Drop for LogStore {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// A look at the log from outside openraft.
#[derive(Clone)]
pub(crate) struct LogWatch {
    shared: Arc<Shared>,
}

impl LogWatch {
    /// Bytes that were there when the log was opened, and all written since.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// Says whether nothing was ever stored: no vote and no entry.
    pub(crate) fn is_empty(&self) -> bool {
        let state = self.shared.state();
        let index = &state.index;
        index.vote.is_none() && index.last().is_none() && index.purged.is_none()
    }

    /// The first entry of a tail of the log: at most so many entries, of at most so many bytes.
    pub(crate) fn tail(&self, entries: u64, bytes: u64) -> Option<u64> {
        let entries = usize::try_from(entries).unwrap_or(usize::MAX);
        self.shared.state().index.tail(entries, bytes)
    }

    /// The purge mark.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.shared.state().index.purged
    }

    /// Why the log can never be written again, if so.
    pub(crate) fn failure(&self) -> Option<Arc<LogError>> {
        self.shared.state().failure.clone()
    }

    /// Waits until the log has failed, for good.
    pub(crate) async fn failed(&self) -> Arc<LogError> {
        loop {
            let stopped = self.shared.stopped.notified();
            if let Some(failure) = &self.shared.state().failure {
                return Arc::clone(failure);
            }
            stopped.await;
        }
    }

    /// Closes the log and waits until what was queued is durable. Blocks.
    pub(crate) fn close_and_wait(&self) {
        self.shared.close();
        let writer = self
            .shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the writer of the log panicked");
        }
        drop(
            self.shared
                .lock
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }
}

/// Reads entries and the vote while others write.
#[derive(Clone)]
pub(crate) struct LogReader {
    shared: Arc<Shared>,
}

fn bounds(range: &impl RangeBounds<u64>) -> (Bound<u64>, Bound<u64>) {
    (range.start_bound().cloned(), range.end_bound().cloned())
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        // In chunks, so that applying a long log after a restart does not need all of it in memory.
        let shared = Arc::clone(&self.shared);
        let (start, end) = bounds(&range);
        stream::unfold(Some(start), move |start| {
            let shared = Arc::clone(&shared);
            async move {
                let chunk = shared.read((start?, end), STREAM_CHUNK, READ_LIMIT);
                let (items, next): (Vec<_>, _) = match chunk {
                    Ok(entries) => {
                        let next = entries
                            .last()
                            .map(|entry| Bound::Excluded(entry.log_id.index));
                        (entries.into_iter().map(Ok).collect(), next)
                    }
                    Err(error) => (vec![Err(error)], None),
                };
                Some((stream::iter(items), next))
            }
        })
        .flatten()
    }

    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        self.shared.read(bounds(&range), usize::MAX, usize::MAX)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.shared.state().index.vote)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.shared.read(
            (Bound::Included(start), Bound::Excluded(end)),
            usize::MAX,
            READ_LIMIT,
        )
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let state = self.shared.state();
        Ok(LogState {
            last_purged_log_id: state.index.purged,
            last_log_id: state.index.last(),
        })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader {
            shared: Arc::clone(&self.shared),
        }
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.shared.write_durably(Record::Vote(*vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        // Rides along with the next batch: a mark that is a little old only means that a little
        // more is applied again after an election.
        self.shared
            .write([Record::Committed(committed)], None, false)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.shared.state().index.committed)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        self.shared.wait_for_room().await;
        self.shared.write(
            entries.into_iter().map(Record::Entry),
            Some(Completion::Flushed(callback)),
            true,
        )
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        self.shared
            .write([Record::Truncate(last_log_id)], None, true)
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.shared.write([Record::Purge(log_id)], None, true)
    }
}
