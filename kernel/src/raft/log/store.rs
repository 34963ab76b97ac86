//! The log as openraft sees it: calls change memory and queue bytes; the writer thread makes them durable.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, File};
use std::io;
use std::ops::{Bound, RangeBounds};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use futures_util::{Stream, StreamExt, stream};
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::{Notify, oneshot};

use super::error::LogError;
use super::frame::Frame;
use super::index::{Found, Index, Place};
use super::record::{Record, payload_bytes};
use super::recovery::recover;
use super::segment::{SegmentHeader, segment_path};
use super::writer::{Completion, Work, create_segment, run_writer, unlink_segments};
use crate::raft::ClusterId;
use crate::raft::lock::DirectoryLock;
use crate::raft::reserve::Reserve;
use crate::raft::types::{Entry, LogId, TypeConfig, Vote};

/// How much may wait to be written before an append waits too, in bytes.
const QUEUE_LIMIT: usize = 64 * 1024 * 1024;
/// Most bytes of entries handed out at once for one replication message.
const READ_LIMIT: usize = 1024 * 1024;
/// Entries read at once while a stream of them is applied.
const STREAM_CHUNK: usize = 256;

/// Where a log is and how large its parts are.
#[derive(Debug, Clone)]
pub(crate) struct LogOptions {
    /// The directory of the segments.
    pub(crate) directory: PathBuf,
    /// The cluster that it belongs to.
    pub(crate) cluster: ClusterId,
    /// From which length on a segment is finished, in bytes.
    pub(crate) segment_bytes: u64,
    /// How many bytes of durable entries stay in memory.
    pub(crate) cache_bytes: usize,
    /// What to give back when the disk is full.
    pub(crate) reserve: Arc<Reserve>,
}

/// What waits for the writer, taken at once.
pub(crate) struct Batch {
    /// What to write.
    pub(crate) work: Vec<Work>,
    /// Whom to tell.
    pub(crate) completions: Vec<Completion>,
    /// Where the stream ends with it: segment and offset.
    pub(crate) end: (u64, u64),
}

struct State {
    index: Index,
    files: BTreeMap<u64, Arc<File>>,
    /// The segment that the next record goes to, and its length once everything that waits is written.
    current: (u64, u64),
    next_sequence: u64,
    work: Vec<Work>,
    waiting_bytes: usize,
    completions: Vec<Completion>,
    /// Whether the writer has to run now. A commit mark alone can wait for the next entry.
    is_urgent: bool,
    is_closing: bool,
    failure: Option<Arc<LogError>>,
}

/// What the store, its readers and its writer share.
pub(crate) struct Shared {
    pub(crate) options: LogOptions,
    /// Bytes that were there when the log was opened, and all written since.
    pub(crate) written: AtomicU64,
    state: Mutex<State>,
    wake: Condvar,
    room: Notify,
    stopped: Notify,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// The lock of the data directory, held for as long as the writer may write.
    lock: Mutex<Option<DirectoryLock>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work; `None` when the log is closed and nothing is left.
    pub(crate) fn next_batch(&self) -> Option<Batch> {
        let mut state = self.state();
        while !state.is_urgent && !state.is_closing {
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.work.is_empty() && state.completions.is_empty() && state.is_closing {
            return None;
        }
        state.is_urgent = false;
        state.waiting_bytes = 0;
        let batch = Batch {
            work: std::mem::take(&mut state.work),
            completions: std::mem::take(&mut state.completions),
            end: state.current,
        };
        drop(state);
        self.room.notify_waiters();
        Some(batch)
    }

    /// Notes what is durable now, and tells those who wait for it.
    pub(crate) fn batch_durable(&self, end: (u64, u64), completions: Vec<Completion>) {
        self.state().index.evict(end);
        for completion in completions {
            completion.complete(Ok(()));
        }
    }

    /// Makes a new segment readable.
    pub(crate) fn segment_created(&self, number: u64, file: Arc<File>) {
        self.state().files.insert(number, file);
    }

    /// Ends the log: everything that waits, and everything after, gets this error.
    pub(crate) fn fail(&self, error: LogError, completions: Vec<Completion>) {
        let error = Arc::new(error);
        let mut state = self.state();
        state.failure = Some(Arc::clone(&error));
        state.work.clear();
        let waiting = std::mem::take(&mut state.completions);
        drop(state);
        self.room.notify_waiters();
        self.stopped.notify_waiters();
        for completion in completions.into_iter().chain(waiting) {
            completion.complete(Err(&error));
        }
    }

    fn close(&self) {
        self.state().is_closing = true;
        self.wake.notify_all();
    }

    /// Queues records and follows them in the index; returns once they are readable, not once they are durable.
    fn write(
        &self,
        records: impl IntoIterator<Item = Record>,
        completion: Option<Completion>,
        is_urgent: bool,
    ) -> io::Result<()> {
        let mut state = self.state();
        if let Some(failure) = &state.failure {
            return Err(failure.to_io());
        }
        if state.is_closing {
            return Err(LogError::Closed.to_io());
        }
        for record in records {
            if let Record::Entry(entry) = &record {
                state.index.check_next(entry.log_id.index).map_err(|hole| {
                    io::Error::new(
                        io::ErrorKind::InvalidInput,
                        format!(
                            "entry {} would leave a hole: {} comes next",
                            hole.found, hole.expected
                        ),
                    )
                })?;
            }
            if state.current.1 >= self.options.segment_bytes {
                state.roll(self.options.cluster);
            }
            let place = state.queue(&record);
            let may_unlink = matches!(record, Record::Purge(_));
            // The only failure is a hole, which was ruled out above.
            let _ = state.index.follow(record, place);
            if may_unlink {
                let dead = state.index.take_dead_segments();
                for number in &dead {
                    state.files.remove(number);
                }
                if !dead.is_empty() {
                    state.work.push(Work::Unlink(dead));
                }
            }
        }
        state.completions.extend(completion);
        if is_urgent {
            state.is_urgent = true;
            drop(state);
            self.wake.notify_one();
        }
        Ok(())
    }

    async fn write_durably(&self, record: Record) -> io::Result<()> {
        let (signal, durable) = oneshot::channel();
        self.write([record], Some(Completion::Signal(signal)), true)?;
        durable
            .await
            .unwrap_or_else(|_| Err(LogError::Closed.to_io()))
    }

    async fn wait_for_room(&self) {
        loop {
            let room = self.room.notified();
            let has_room = {
                let state = self.state();
                state.waiting_bytes < QUEUE_LIMIT || state.failure.is_some()
            };
            if has_room {
                return;
            }
            room.await;
        }
    }

    /// Reads entries, from memory or back from disk; stops after `limit` entries or, once it has one, after `bytes` bytes.
    fn read(
        &self,
        range: (Bound<u64>, Bound<u64>),
        limit: usize,
        bytes: usize,
    ) -> io::Result<Vec<Entry>> {
        let found: Vec<(Found, Option<Arc<File>>)> = {
            // The files are taken under the same lock, so that a purge in between cannot pull an entry away: an unlinked file stays readable.
            let state = self.state();
            let found = state.index.find(range, limit);
            let file_of = |found: &Found| match found {
                Found::Cached(_) => None,
                Found::OnDisk(_, place) => state.files.get(&place.segment).cloned(),
            };
            found
                .into_iter()
                .map(|found| {
                    let file = file_of(&found);
                    (found, file)
                })
                .collect()
        };
        let mut entries = Vec::with_capacity(found.len());
        let mut size = 0_usize;
        for (found, file) in found {
            let entry = match found {
                Found::Cached(entry) => entry,
                Found::OnDisk(id, place) => self.read_back(id, place, file)?,
            };
            size = size.saturating_add(payload_bytes(&entry));
            if size > bytes && !entries.is_empty() {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Reads one durable entry. A blocking read of bytes that were just written, so nearly always from the page cache.
    fn read_back(&self, id: LogId, place: Place, file: Option<Arc<File>>) -> io::Result<Entry> {
        let path = segment_path(&self.options.directory, place.segment);
        let damaged = |detail: &str| {
            LogError::Damaged {
                path: path.clone(),
                offset: place.offset,
                detail: detail.to_owned(),
            }
            .to_io()
        };
        let file = file.ok_or_else(|| damaged("the segment of an entry is gone"))?;
        let mut bytes = vec![0; place.length];
        file.read_exact_at(&mut bytes, place.offset)
            .map_err(|source| LogError::io("reading", &path, source).to_io())?;
        let frame = Frame::parse(&bytes).map_err(|fault| damaged(&fault.to_string()))?;
        match Record::parse(&frame) {
            Some(Record::Entry(entry)) if entry.log_id == id => Ok(entry),
            _ => Err(damaged("another record is where an entry was written")),
        }
    }
}

impl State {
    /// Starts the next segment, with all that it needs to be understood alone.
    fn roll(&mut self, cluster: ClusterId) {
        let number = self.current.0 + 1;
        let mut bytes = SegmentHeader {
            cluster,
            number,
            first_sequence: self.next_sequence,
        }
        .encode();
        for record in self.index.preamble() {
            record.append(&mut bytes, self.next_sequence);
            self.next_sequence += 1;
        }
        self.index.begin_segment(number);
        self.current = (number, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.waiting_bytes += bytes.len();
        self.work.push(Work::Roll { number, bytes });
    }

    fn queue(&mut self, record: &Record) -> Place {
        if !matches!(self.work.last(), Some(Work::Bytes(_))) {
            self.work.push(Work::Bytes(Vec::new()));
        }
        let length = match self.work.last_mut() {
            Some(Work::Bytes(bytes)) => {
                let before = bytes.len();
                record.append(bytes, self.next_sequence);
                bytes.len() - before
            }
            Some(Work::Roll { .. } | Work::Unlink(_)) | None => 0,
        };
        let place = Place {
            segment: self.current.0,
            offset: self.current.1,
            length,
        };
        self.next_sequence += 1;
        self.current.1 += u64::try_from(length).unwrap_or(u64::MAX);
        self.waiting_bytes += length;
        place
    }
}

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
        let mut recovered = recover(&directory, options.cluster, options.cache_bytes)?;
        let current = match recovered.current {
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
        // Segments go only behind a purge mark: so a log without one is known to be whole if it starts with the first of all.
        let dead = if recovered.index.purged.is_some() {
            recovered.index.take_dead_segments()
        } else {
            Vec::new()
        };
        for number in &dead {
            recovered.files.remove(number);
        }
        unlink_segments(&directory, &dead)?;
        let path = segment_path(&directory, current.0);
        let file = recovered
            .files
            .get(&current.0)
            .cloned()
            .ok_or(LogError::Closed)?;
        io::Seek::seek(&mut &*file, io::SeekFrom::Start(current.1))
            .map_err(|source| LogError::io("seeking in", &path, source))?;

        let length = recovered
            .files
            .values()
            .filter_map(|file| file.metadata().ok())
            .map(|found| found.len())
            .sum();
        let shared = Arc::new(Shared {
            options,
            written: AtomicU64::new(length),
            state: Mutex::new(State {
                index: recovered.index,
                files: recovered.files,
                current,
                next_sequence: recovered.next_sequence,
                work: Vec::new(),
                waiting_bytes: 0,
                completions: Vec::new(),
                is_urgent: false,
                is_closing: false,
                failure: None,
            }),
            wake: Condvar::new(),
            room: Notify::new(),
            stopped: Notify::new(),
            writer: Mutex::new(None),
            lock: Mutex::new(lock),
        });
        let writing = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("kelson-log".to_owned())
            .spawn(move || run_writer(&writing, current.0, file))
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
        // Rides along with the next batch: a mark that is a little old only means that a little more is applied again after an election.
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
