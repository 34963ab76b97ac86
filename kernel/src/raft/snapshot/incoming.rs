//! A snapshot on its way from another member: what has arrived of it stays on disk, so that a
//! transfer that was cut off goes on where it was.
//!
//! *Guarantees*: at most one such file; another offer, or a newer snapshot of our own, removes it;
//! it never grows beyond what was offered. *Assumes*: one writer at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::SnapshotError;
use crate::raft::types::LogId;

/// The extension of a file that is on its way.
const PART: &str = "part";
/// How many bytes at the end of a snapshot tell it from another of the same entry.
const TAIL: u64 = 64;

/// What names a snapshot that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offered {
    /// Its last entry.
    pub(crate) last: LogId,
    /// Its length.
    pub(crate) bytes: u64,
    /// See [`name_checksum`].
    pub(crate) checksum: u32,
}

impl Offered {
    fn file_name(&self) -> String {
        format!(
            "{:020}-{:020}-{}-{:08x}.{PART}",
            self.last.index, self.last.leader_id.term, self.bytes, self.checksum
        )
    }
}

/// Sums the end of a snapshot, which holds the checksum of its content.
pub(crate) fn name_checksum(file: &File, bytes: u64) -> io::Result<u32> {
    let length = bytes.min(TAIL);
    let mut tail = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_exact_at(&mut tail, bytes - length)?;
    Ok(crc32c::crc32c(&tail))
}

/// The file of a snapshot that is on its way.
#[derive(Debug)]
pub(crate) struct Incoming {
    path: PathBuf,
    file: File,
    length: u64,
    offered: u64,
}

impl Incoming {
    /// Opens what is there of an offered snapshot, or begins it; removes what was there of others.
    /// Blocks on I/O.
    pub(super) fn open(directory: &Path, offered: &Offered) -> Result<Self, SnapshotError> {
        let path = directory.join(offered.file_name());
        let own = path.clone();
        remove_files(directory, |part| part != own)?;
        let io = |source| SnapshotError::io("opening", &path, source);
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(io)?;
        let mut length = file.metadata().map_err(io)?.len();
        if length > offered.bytes {
            file.set_len(0).map_err(io)?;
            length = 0;
        }
        Ok(Self {
            path,
            file,
            length,
            offered: offered.bytes,
        })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes have arrived.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Says whether all has arrived.
    pub(crate) fn is_complete(&self) -> bool {
        self.length == self.offered
    }

    /// Says whether so many bytes may still come.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        u64::try_from(bytes).is_ok_and(|bytes| bytes <= self.offered - self.length)
    }

    /// Appends what comes next. Blocks on I/O.
    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), SnapshotError> {
        self.file
            .write_all(data)
            .map_err(|source| SnapshotError::io("writing", &self.path, source))?;
        self.length += u64::try_from(data.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Makes it durable. Blocks on I/O.
    pub(crate) fn sync(&self) -> Result<(), SnapshotError> {
        self.file
            .sync_all()
            .map_err(|source| SnapshotError::io("syncing", &self.path, source))
    }

    /// Removes it: it turned out to be of no use.
    pub(crate) fn discard(self) -> Result<(), SnapshotError> {
        fs::remove_file(&self.path)
            .map_err(|source| SnapshotError::io("removing", &self.path, source))
    }
}

/// Removes what was on its way where its last index fits the condition; `None` for what has no
/// index in its name. Blocks on I/O.
pub(super) fn remove_parts(
    directory: &Path,
    is_useless: impl Fn(Option<u64>) -> bool,
) -> Result<(), SnapshotError> {
    let index = |path: &Path| path.file_name()?.to_str()?.get(..20)?.parse().ok();
    remove_files(directory, |path| is_useless(index(path)))
}

fn remove_files(directory: &Path, is_useless: impl Fn(&Path) -> bool) -> Result<(), SnapshotError> {
    let listing = |source| SnapshotError::io("listing", directory, source);
    for entry in fs::read_dir(directory).map_err(listing)? {
        let path = entry.map_err(listing)?.path();
        let is_part = path.extension().is_some_and(|extension| extension == PART);
        if is_part && is_useless(&path) {
            fs::remove_file(&path)
                .map_err(|source| SnapshotError::io("removing", &path, source))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::raft::types::log_id;

    fn offered(index: u64) -> Offered {
        Offered {
            last: log_id(1, index),
            bytes: 10,
            checksum: 7,
        }
    }

    fn count(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn what_has_arrived_stays_until_another_snapshot_is_offered() {
        let directory = tempfile::tempdir().unwrap();
        let mut incoming = Incoming::open(directory.path(), &offered(5)).unwrap();
        incoming.write(b"1234").unwrap();
        drop(incoming);
        let incoming = Incoming::open(directory.path(), &offered(5)).unwrap();
        assert_eq!((incoming.length(), incoming.is_complete()), (4, false));
        assert!(incoming.has_room(6) && !incoming.has_room(7));
        drop(incoming);
        let other = Incoming::open(directory.path(), &offered(6)).unwrap();
        assert_eq!((other.length(), count(directory.path())), (0, 1));
        other.discard().unwrap();
        assert_eq!(count(directory.path()), 0);
    }

    #[test]
    fn what_the_state_is_past_goes() {
        let directory = tempfile::tempdir().unwrap();
        drop(Incoming::open(directory.path(), &offered(5)).unwrap());
        remove_parts(directory.path(), |part| part <= Some(4)).unwrap();
        assert_eq!(count(directory.path()), 1);
        remove_parts(directory.path(), |part| part <= Some(5)).unwrap();
        assert_eq!(count(directory.path()), 0);
    }
}
