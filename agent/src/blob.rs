//! Blobs, fetched from the kernel by digest and kept for the next task that needs them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use kelson_model::id::{Digest, Digester};
use kelson_proto::v1::kernel_client::KernelClient;
use kelson_proto::v1::{BlobChunk, BlobRequest};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::connection::Backoff;

/// Largest file of a task, in bytes.
const MAX_BLOB: u64 = 256 << 20;
/// Most bytes that are kept; the oldest go first.
const MAX_CACHE: u64 = 2 << 30;
/// A blob that cannot be had for this long is given up; the wait for other blobs does not count.
const DEADLINE: Duration = Duration::from_secs(120);
/// A kernel that sends nothing for this long is asked again.
const STALL: Duration = Duration::from_secs(15);
/// Most blobs that are fetched at the same time.
const AT_ONCE: usize = 8;

/// A blob could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    #[error("the kernel does not give {digest}: {message}")]
    Fetch {
        digest: Digest,
        code: Code,
        message: String,
    },
    #[error("{digest} could not be fetched within {} s: {last}", DEADLINE.as_secs())]
    TooLate { digest: Digest, last: String },
    #[error("what the kernel gave for {0} is something else")]
    Mismatch(Digest),
    #[error("{0} is larger than {MAX_BLOB} bytes")]
    TooLarge(Digest),
    #[error("the file cache: {0}")]
    Io(#[from] std::io::Error),
}

impl BlobError {
    /// Whether the same question may be answered later.
    fn is_passing(&self) -> bool {
        match self {
            Self::Fetch { code, .. } => !matches!(
                code,
                Code::NotFound
                    | Code::InvalidArgument
                    | Code::DataLoss
                    | Code::Unimplemented
                    | Code::PermissionDenied
                    | Code::Unauthenticated
            ),
            Self::TooLate { .. } | Self::Mismatch(_) | Self::TooLarge(_) | Self::Io(_) => false,
        }
    }
}

/// The blobs that this agent keeps.
///
/// *Guarantees:* a digest is fetched once at a time, however many tasks wait for it; what is
/// given is what the digest names; while the kernel is away, it is asked again until a deadline.
/// *Caveats:* a blob that is not kept any more stays readable for whoever was given it.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    channel: Channel,
    /// Whose turn it is to fetch a digest.
    turns: Mutex<BTreeMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
    fetches: Semaphore,
    /// Makes the names of temporary files differ.
    next: AtomicU64,
}

impl Blobs {
    pub(crate) fn new(directory: PathBuf, channel: Channel) -> Self {
        drop_temporary(&directory);
        Self {
            inner: Arc::new(Inner {
                directory,
                channel,
                turns: Mutex::default(),
                fetches: Semaphore::new(AT_ONCE),
                next: AtomicU64::new(0),
            }),
        }
    }

    /// Gives the content, from the cache or from the kernel, checked in both cases.
    pub(crate) async fn get(&self, digest: &Digest) -> Result<File, BlobError> {
        let turn = self.turn(digest);
        // Whoever has waited for its turn finds it in the cache.
        let _turn = turn.lock().await;
        let mut backoff = Backoff::default();
        let mut last = "it has not come whole".to_owned();
        let mut left = DEADLINE;
        loop {
            if let Some(file) = self.cached(digest).await {
                return Ok(file);
            }
            let permit = self.inner.fetches.acquire().await;
            // Only from here does time count: before, others were waited for.
            let begun = Instant::now();
            let fetched = timeout(left, self.fetch(digest)).await;
            drop(permit);
            match fetched {
                Ok(Err(error)) if error.is_passing() => {
                    tracing::info!(%error, "a blob could not be fetched; it is asked for again");
                    last = error.to_string();
                    tokio::time::sleep(backoff.pause()).await;
                }
                Ok(fetched) => return fetched,
                Err(_) => {
                    return Err(BlobError::TooLate {
                        digest: digest.clone(),
                        last,
                    });
                }
            }
            left = left.saturating_sub(begun.elapsed());
        }
    }

    fn turn(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let turns = self.inner.turns.lock();
        let mut turns = turns.unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(digest).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(digest.clone(), Arc::downgrade(&turn));
        turn
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.inner.directory.join(digest.hex())
    }

    /// What is kept; something else under this name is deleted.
    async fn cached(&self, digest: &Digest) -> Option<File> {
        let (path, digest) = (self.path(digest), digest.clone());
        let look = move || {
            let mut file = File::open(&path).ok()?;
            if digest_of(&mut file).ok()? == digest {
                return Some(file);
            }
            let _ = fs::remove_file(path);
            None
        };
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }

    /// Asks the kernel once; whoever calls this holds one of the permits.
    async fn fetch(&self, digest: &Digest) -> Result<File, BlobError> {
        let refused = |status: Status| BlobError::Fetch {
            digest: digest.clone(),
            code: status.code(),
            message: status.message().to_owned(),
        };
        let stalled = || {
            let message = format!("nothing came for {} s", STALL.as_secs());
            refused(Status::deadline_exceeded(message))
        };
        let mut client = KernelClient::new(self.inner.channel.clone())
            .max_decoding_message_size(kelson_proto::MAX_MESSAGE);
        let request = BlobRequest {
            digest: digest.to_string(),
        };
        let answer = timeout(STALL, client.get_blob(request)).await;
        let mut stream = answer
            .map_err(|_| stalled())?
            .map_err(refused)?
            .into_inner();
        let temporary = self.temporary(digest)?;
        let mut file = tokio::fs::File::from_std(temporary.file.try_clone()?);
        let (mut size, mut digester) = (0, Digester::default());
        while let Some(chunk) = next(&mut stream)
            .await
            .ok_or_else(stalled)?
            .map_err(refused)?
        {
            size += chunk.data.len() as u64;
            if size > MAX_BLOB {
                return Err(BlobError::TooLarge(digest.clone()));
            }
            digester.update(&chunk.data);
            file.write_all(&chunk.data).await?;
        }
        file.flush().await?;
        if digester.finish() != *digest {
            return Err(BlobError::Mismatch(digest.clone()));
        }
        let (blobs, path) = (self.clone(), self.path(digest));
        let keep = move || {
            blobs.make_room(size);
            temporary.keep(&path)
        };
        let kept = tokio::task::spawn_blocking(keep).await;
        Ok(kept.map_err(std::io::Error::other)??)
    }

    fn temporary(&self, digest: &Digest) -> std::io::Result<Temporary> {
        let directory = &self.inner.directory;
        fs::create_dir_all(directory)?;
        let number = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!(".{}.{number}", digest.hex()));
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Temporary { path, file })
    }

    /// Drops the blobs that were written first, until there is room.
    fn make_room(&self, wanted: u64) {
        let Ok(entries) = fs::read_dir(&self.inner.directory) else {
            return;
        };
        let mut kept: Vec<(SystemTime, u64, PathBuf)> = entries
            .flatten()
            .filter(|entry| !is_temporary(&entry.path()))
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        kept.sort();
        let mut sum: u64 = kept.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in kept {
            if sum.saturating_add(wanted) <= MAX_CACHE {
                return;
            }
            let _ = fs::remove_file(path);
            sum = sum.saturating_sub(size);
        }
    }
}

/// The next chunk of a stream that does not stall.
async fn next(stream: &mut Streaming<BlobChunk>) -> Option<Result<Option<BlobChunk>, Status>> {
    timeout(STALL, stream.message()).await.ok()
}

/// A file under a name of its own, deleted unless it is kept.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    /// Gives it its name, and itself from its beginning.
    fn keep(self, path: &Path) -> std::io::Result<File> {
        fs::rename(&self.path, path)?;
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(file)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Where it was kept, there is nothing under this name any more.
        let _ = fs::remove_file(&self.path);
    }
}

fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_none_or(|name| name.starts_with('.'))
}

/// Deletes what an earlier run had begun to fetch.
fn drop_temporary(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if is_temporary(&entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Hashes a file from where it stands, and goes back to its beginning.
fn digest_of(file: &mut File) -> std::io::Result<Digest> {
    let (mut digester, mut piece) = (Digester::default(), vec![0; 64 << 10]);
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            file.rewind()?;
            return Ok(digester.finish());
        }
        digester.update(piece.get(..count).unwrap_or_default());
    }
}
