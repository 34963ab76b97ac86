//! What waits to be written, and what is readable meanwhile: the one state that the store, its
//! readers and its writer share, behind one short lock.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{Notify, oneshot};

use super::error::LogError;
use super::frame::Frame;
use super::index::{Found, Index, Place};
use super::record::{Record, payload_bytes};
use super::recovery::Recovered;
use super::segment::{SegmentHeader, segment_path};
use super::writer::{Completion, Work};
use crate::heart::Hearts;
use crate::metrics::Metrics;
use crate::raft::ClusterId;
use crate::raft::lock::DirectoryLock;
use crate::raft::reserve::Reserve;
use crate::raft::types::{Entry, LogId};

/// How much may wait to be written before an append waits too, in bytes.
const QUEUE_LIMIT: usize = 64 * 1024 * 1024;

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
    /// Where the writer tells how it does.
    pub(crate) hearts: Hearts,
    /// Where it is measured.
    pub(crate) metrics: Metrics,
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

/// What is under the lock.
pub(super) struct State {
    pub(super) index: Index,
    files: BTreeMap<u64, Arc<File>>,
    /// The segment that the next record goes to, and its length once everything that waits is
    /// written.
    current: (u64, u64),
    next_sequence: u64,
    work: Vec<Work>,
    waiting_bytes: usize,
    completions: Vec<Completion>,
    /// Whether the writer has to run now. A commit mark alone can wait for the next entry.
    is_urgent: bool,
    pub(super) is_closing: bool,
    pub(super) failure: Option<Arc<LogError>>,
}

/// What the store, its readers and its writer share.
pub(crate) struct Shared {
    pub(crate) options: LogOptions,
    /// Bytes that were there when the log was opened, and all written since.
    pub(crate) written: AtomicU64,
    state: Mutex<State>,
    wake: Condvar,
    room: Notify,
    pub(super) stopped: Notify,
    pub(super) writer: Mutex<Option<JoinHandle<()>>>,
    /// The lock of the data directory, held for as long as the writer may write.
    pub(super) lock: Mutex<Option<DirectoryLock>>,
}

impl Shared {
    /// Starts from a log as it was found; the caller starts the writer.
    pub(super) fn new(
        options: LogOptions,
        recovered: Recovered,
        current: (u64, u64),
        lock: Option<DirectoryLock>,
    ) -> Self {
        let length = recovered
            .files
            .values()
            .filter_map(|file| file.metadata().ok())
            .map(|found| found.len())
            .sum();
        Self {
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
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
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

    pub(super) fn close(&self) {
        self.state().is_closing = true;
        self.wake.notify_all();
    }

    /// Queues records and follows them in the index; returns once they are readable, not once they
    /// are durable.
    pub(super) fn write(
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

    pub(super) async fn write_durably(&self, record: Record) -> io::Result<()> {
        let (signal, durable) = oneshot::channel();
        self.write([record], Some(Completion::Signal(signal)), true)?;
        durable
            .await
            .unwrap_or_else(|_| Err(LogError::Closed.to_io()))
    }

    pub(super) async fn wait_for_room(&self) {
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

    /// Reads entries, from memory or back from disk; stops after `limit` entries or, once it has
    /// one, after `bytes` bytes.
    pub(super) fn read(
        &self,
        range: (Bound<u64>, Bound<u64>),
        limit: usize,
        bytes: usize,
    ) -> io::Result<Vec<Entry>> {
        let found: Vec<(Found, Option<Arc<File>>)> = {
            // The files are taken under the same lock, so that a purge in between cannot pull an
            // entry away: an unlinked file stays readable.
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

    /// Reads one durable entry. A blocking read of bytes that were just written, so nearly always
    /// from the page cache.
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use std::os::fd::OwnedFd;

    use kelson_model::report::LoopState;

    use super::*;
    use crate::raft::log::recovery::{Torn, recover};
    use crate::raft::log::writer::run_writer;
    use crate::raft::types::vote;

    /// A log without its writer, so that a test can be the writer.
    fn unwritten(directory: &std::path::Path) -> Shared {
        let cluster = ClusterId::from_bytes([1; 16]);
        let mut recovered = recover(directory, cluster, 0, Torn::Cut).unwrap();
        recovered.index.begin_segment(1);
        let reserve = Arc::new(Reserve::open(directory, 0));
        let options = LogOptions {
            directory: directory.to_owned(),
            cluster,
            segment_bytes: 1 << 20,
            cache_bytes: 0,
            reserve,
            hearts: Hearts::default(),
            metrics: Metrics::default(),
        };
        Shared::new(options, recovered, (1, 52), None)
    }

    fn write_vote(shared: &Shared, term: u64) -> oneshot::Receiver<io::Result<()>> {
        let (signal, durable) = oneshot::channel();
        shared
            .write(
                [Record::Vote(vote(term, 1, false))],
                Some(Completion::Signal(signal)),
                true,
            )
            .unwrap();
        durable
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_whose_disk_does_not_answer_is_late_and_one_that_has_failed_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let shared = Arc::new(unwritten(directory.path()));
        let hearts = shared.options.hearts.clone();
        let heart = hearts.start("log");
        // A pipe takes no more than 64 KiB before somebody reads.
        let (mut disk, full) = io::pipe().unwrap();
        let votes: Vec<_> = (1..4_000).map(|term| write_vote(&shared, term)).collect();
        let writing = Arc::clone(&shared);
        let writer = std::thread::spawn(move || {
            let file = Arc::new(File::from(OwnedFd::from(full)));
            run_writer(&writing, &heart, 1, file);
        });
        io::Read::read_exact(&mut disk, &mut [0]).unwrap();
        assert_eq!(hearts.report()[0].doing, "writes to the disk");
        assert!(hearts.late().is_empty());
        tokio::time::advance(std::time::Duration::from_secs(31)).await;
        let late = hearts.late();
        assert_eq!((late.len(), late[0].state), (1, LoopState::Late));
        drop(disk);
        writer.join().unwrap();
        assert_eq!(hearts.late()[0].state, LoopState::Ended);
        drop(votes);
    }

    #[test]
    fn nobody_is_told_before_the_batch_is_durable_and_later_calls_wait_for_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let shared = unwritten(directory.path());
        let (mut first, mut second) = (write_vote(&shared, 1), write_vote(&shared, 2));
        let batch = shared.next_batch().unwrap();
        assert_eq!(
            (batch.work.len(), batch.completions.len()),
            (1, 2),
            "both calls share one write"
        );
        let mut third = write_vote(&shared, 3);
        assert!(first.try_recv().is_err() && second.try_recv().is_err());
        shared.batch_durable(batch.end, batch.completions);
        assert!(first.try_recv().unwrap().is_ok() && second.try_recv().unwrap().is_ok());
        assert!(
            third.try_recv().is_err(),
            "its bytes were not in that batch"
        );
    }

    #[test]
    fn a_failure_reaches_everyone_who_waits_and_everyone_after() {
        let directory = tempfile::tempdir().unwrap();
        let shared = unwritten(directory.path());
        let mut first = write_vote(&shared, 1);
        let batch = shared.next_batch().unwrap();
        let mut second = write_vote(&shared, 2);
        shared.fail(
            LogError::DiskFull {
                action: "writing",
                path: directory.path().to_owned(),
            },
            batch.completions,
        );
        for told in [first.try_recv().unwrap(), second.try_recv().unwrap()] {
            assert_eq!(told.unwrap_err().kind(), io::ErrorKind::StorageFull);
        }
        let refused = shared
            .write([Record::Vote(vote(3, 1, false))], None, true)
            .unwrap_err();
        assert!(refused.to_string().contains("no space left"), "{refused}");
    }

    #[test]
    fn a_commit_mark_alone_wakes_nobody_and_goes_with_the_next_batch() {
        let directory = tempfile::tempdir().unwrap();
        let shared = unwritten(directory.path());
        shared
            .write([Record::Committed(None)], None, false)
            .unwrap();
        assert!(!shared.state().is_urgent);
        drop(write_vote(&shared, 1));
        let batch = shared.next_batch().unwrap();
        assert!(
            matches!(batch.work.as_slice(), [Work::Bytes(bytes)] if bytes.len() > 2 * 20),
            "one write carries both"
        );
    }
}
