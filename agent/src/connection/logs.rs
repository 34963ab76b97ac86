//! Reading a task's output for somebody far away.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kelson_model::id::TaskId;
use kelson_proto::v1::{AgentMessage, LogChunk, LogFault, LogRequest, agent_message};
use tokio::sync::{Semaphore, mpsc};

use crate::layout::Layout;
use crate::record::EXITED;

/// Bytes in one message.
const PIECE: usize = 64 << 10;
/// Most rotated files that are looked at.
const MAX_FILES: u32 = 32;
/// Between two looks at a file that is followed.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(150);

fn rotated(path: &Path, age: u32) -> PathBuf {
    crate::shim::rotated(path, age)
}

/// Reads rotated files from the oldest to the newest, and goes on as they grow and are rotated.
#[derive(Debug)]
struct LogReader {
    path: PathBuf,
    file: Option<File>,
}

impl LogReader {
    /// Begins at most this many bytes before the end; `None`: at the oldest that is kept.
    fn open(path: PathBuf, tail: Option<u64>) -> Self {
        let mut reader = Self { path, file: None };
        let sizes: Vec<(u32, u64)> = (0..MAX_FILES)
            .map_while(|age| {
                fs::metadata(rotated(&reader.path, age))
                    .ok()
                    .map(|found| (age, found.len()))
            })
            .collect();
        let mut left = tail.unwrap_or(u64::MAX);
        let mut begin = None;
        for (age, size) in sizes {
            begin = Some((age, size.saturating_sub(left)));
            left = left.saturating_sub(size);
            if left == 0 {
                break;
            }
        }
        if let Some((age, offset)) = begin
            && let Ok(mut file) = File::open(rotated(&reader.path, age))
            && file.seek(SeekFrom::Start(offset)).is_ok()
        {
            reader.file = Some(file);
        }
        reader
    }

    /// Gives the next piece; empty where there is none yet.
    fn next(&mut self) -> std::io::Result<Vec<u8>> {
        loop {
            if self.file.is_none() {
                match File::open(&self.path) {
                    Ok(file) => self.file = Some(file),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        return Ok(Vec::new());
                    }
                    Err(error) => return Err(error),
                }
            }
            let Some(file) = &mut self.file else {
                return Ok(Vec::new());
            };
            let mut piece = vec![0u8; PIECE];
            let count = file.read(&mut piece)?;
            if count > 0 {
                piece.truncate(count);
                return Ok(piece);
            }
            let inode = file.metadata()?.ino();
            match self.newer_than(inode) {
                Some(newer) => self.file = Some(newer),
                None => return Ok(Vec::new()),
            }
        }
    }

    /// The file after the one with this inode, where that is not the one that is written.
    fn newer_than(&self, inode: u64) -> Option<File> {
        let mut oldest = None;
        for age in 0..MAX_FILES {
            let path = rotated(&self.path, age);
            let Ok(found) = fs::metadata(&path) else {
                // Rotation renames: for a moment the newest is missing.
                if age == 0 {
                    continue;
                }
                break;
            };
            if found.ino() == inode {
                let newer = age.checked_sub(1)?;
                return File::open(rotated(&self.path, newer)).ok();
            }
            oldest = Some(path);
        }
        // It is not kept any more: go on with the oldest that is.
        File::open(oldest?).ok()
    }
}

/// Where the chunks of one answer go.
#[derive(Debug)]
pub(super) struct Chunks {
    request: u64,
    out: mpsc::Sender<AgentMessage>,
    window: Arc<Semaphore>,
}

impl Chunks {
    /// No more than the window are sent before the client has taken some.
    pub(super) fn new(
        request: u64,
        out: mpsc::Sender<AgentMessage>,
        window: Arc<Semaphore>,
    ) -> Self {
        Self {
            request,
            out,
            window,
        }
    }

    /// Waits for the client and sends; false where there is no session any more.
    async fn data(&self, data: Vec<u8>) -> bool {
        let Ok(permit) = self.window.acquire().await else {
            return false;
        };
        permit.forget();
        self.send(LogChunk {
            data: data.into(),
            ..LogChunk::default()
        })
        .await
    }

    async fn send(&self, chunk: LogChunk) -> bool {
        let chunk = LogChunk {
            request: self.request,
            ..chunk
        };
        let message = Some(agent_message::Message::Log(chunk));
        self.out.send(AgentMessage { message }).await.is_ok()
    }
}

type Refused = (LogFault, String);

fn unreadable(error: impl std::fmt::Display) -> Refused {
    (LogFault::Unreadable, error.to_string())
}

/// Answers one request until its end; the caller aborts it where the client is gone.
pub(super) async fn answer(layout: Layout, request: LogRequest, chunks: Chunks) {
    let (fault, message) = match read(&layout, request, &chunks).await {
        Ok(()) => (LogFault::None, String::new()),
        Err(refused) => refused,
    };
    let last = LogChunk {
        end: true,
        fault: fault.into(),
        message,
        ..LogChunk::default()
    };
    chunks.send(last).await;
}

async fn read(layout: &Layout, request: LogRequest, chunks: &Chunks) -> Result<(), Refused> {
    let task = TaskId(request.task);
    if !matches!(request.stream.as_str(), "stdout" | "stderr") {
        let message = "a stream is stdout or stderr".to_owned();
        return Err((LogFault::NoStream, message));
    }
    let Some(path) = layout.output(task, &request.stream) else {
        let message = format!("the output of {task} is not kept any more");
        return Err((LogFault::NotKept, message));
    };
    let directory = layout.task(task);
    // Found: whoever asks knows, also while there is nothing to read yet.
    if !chunks.send(LogChunk::default()).await {
        return Ok(());
    }
    let tail = match (request.from_end, request.tail_bytes) {
        (true, _) => Some(0),
        (false, 0) => None,
        (false, bytes) => Some(bytes),
    };
    let mut reader = LogReader::open(path, tail);
    loop {
        // Before the reading: what was written before the end is read after it.
        let is_over = directory.join(EXITED).exists() || !directory.exists();
        let (back, piece) = tokio::task::spawn_blocking(move || {
            let piece = reader.next();
            (reader, piece)
        })
        .await
        .map_err(unreadable)?;
        reader = back;
        let piece = piece.map_err(unreadable)?;
        if !piece.is_empty() {
            if !chunks.data(piece).await {
                return Ok(());
            }
        } else if let Some(path) = layout
            .output(task, &request.stream)
            .filter(|path| *path != reader.path)
        {
            // The task has ended, and its output was put where it is kept; the open file is the
            // same.
            reader.path = path;
        } else if !request.follow || is_over {
            return Ok(());
        } else {
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn all(reader: &mut LogReader) -> String {
        let mut out = Vec::new();
        loop {
            let piece = reader.next().unwrap();
            if piece.is_empty() {
                return String::from_utf8(out).unwrap();
            }
            out.extend(piece);
        }
    }

    #[test]
    fn rotated_files_are_read_from_the_oldest_and_a_tail_from_where_it_begins() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stdout.log");
        fs::write(rotated(&path, 1), "aaaa").unwrap();
        fs::write(&path, "bb").unwrap();
        assert_eq!(all(&mut LogReader::open(path.clone(), None)), "aaaabb");
        assert_eq!(all(&mut LogReader::open(path.clone(), Some(3))), "abb");
        assert_eq!(all(&mut LogReader::open(path.clone(), Some(1))), "b");
        assert_eq!(all(&mut LogReader::open(path.clone(), Some(100))), "aaaabb");
        let mut from_end = LogReader::open(path.clone(), Some(0));
        assert_eq!(all(&mut from_end), "");
        fs::write(&path, "bbcc").unwrap();
        assert_eq!(all(&mut from_end), "cc");
    }

    #[test]
    fn a_reader_follows_a_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stdout.log");
        let mut reader = LogReader::open(path.clone(), None);
        assert_eq!(all(&mut reader), "", "nothing is written yet");
        fs::write(&path, "one").unwrap();
        assert_eq!(all(&mut reader), "one");
        fs::rename(&path, rotated(&path, 1)).unwrap();
        fs::rename(rotated(&path, 1), rotated(&path, 2)).unwrap();
        fs::write(rotated(&path, 1), "two").unwrap();
        fs::write(&path, "three").unwrap();
        assert_eq!(all(&mut reader), "twothree");
    }
}
