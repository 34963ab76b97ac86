//! A little space kept back for the day when the disk is full.
//!
//! *Flow*: the reserve is a file of real blocks. When a write of the log meets a full disk, the
//! file is removed and the member stops with an error that says so. The next start finds that space
//! free: enough for the vote and the entry of its election, and so for a compaction of what
//! snapshots already cover. *Guarantees*: while the reserve is missing and cannot be made again,
//! [`Reserve::is_missing`] says so and the member takes no proposals, so the space given back is
//! not eaten by the load that filled the disk. *Caveats*: other programs on the same disk can still
//! take it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// The reserve file of one data directory.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    bytes: u64,
    missing: AtomicBool,
}

impl Reserve {
    /// Finds or makes the reserve; a disk too full for it is not an error here.
    pub(crate) fn open(directory: &Path, bytes: u64) -> Self {
        let reserve = Self {
            path: directory.join("reserve"),
            bytes,
            missing: AtomicBool::new(false),
        };
        reserve.ensure();
        reserve
    }

    /// Makes the reserve again if it is gone and the disk has room for it twice over; says whether
    /// it is there now.
    pub(crate) fn ensure(&self) -> bool {
        if self.bytes == 0 {
            return true;
        }
        let present = fs::metadata(&self.path).is_ok_and(|found| found.len() == self.bytes)
            || self.has_room() && self.allocate().is_ok();
        let was_missing = self.missing.swap(!present, Ordering::Relaxed);
        if !present && !was_missing {
            tracing::warn!(path = %self.path.display(), bytes = self.bytes, "the disk is too full for the reserve: no proposals are taken until there is room");
        }
        if present && was_missing {
            tracing::info!(path = %self.path.display(), "the disk has room again");
        }
        present
    }

    /// Gives the space back; called when a write has met a full disk.
    pub(crate) fn release(&self) {
        self.missing.store(true, Ordering::Relaxed);
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "could not give the reserve back");
        }
    }

    /// Says whether the disk was too full when the reserve was last looked at.
    pub(crate) fn is_missing(&self) -> bool {
        self.missing.load(Ordering::Relaxed)
    }

    /// Looks again, and says why no proposals are taken, if so.
    pub(crate) fn fault(&self) -> Option<String> {
        if !self.is_missing() || self.ensure() {
            return None;
        }
        let directory = self.path.parent().unwrap_or(&self.path);
        Some(format!(
            "the disk is full: {} bytes free of the {} needed at {}; nothing is taken until there is room",
            self.available().unwrap_or_default(),
            self.needed(),
            directory.display()
        ))
    }

    /// How many bytes must be free before the reserve is made again.
    fn needed(&self) -> u64 {
        self.bytes.saturating_mul(2)
    }

    /// Says how many bytes an ordinary user may still write to the disk of this directory.
    pub(crate) fn available(&self) -> Option<u64> {
        let found = statvfs(self.path.parent()?).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Says how many bytes a snapshot may take: what is free, without what the log needs meanwhile.
    pub(crate) fn budget(&self) -> u64 {
        self.available().map_or(u64::MAX, |free| {
            free.saturating_sub(self.bytes.min(free / 2))
        })
    }

    fn has_room(&self) -> bool {
        self.available().is_none_or(|free| free >= self.needed())
    }

    fn allocate(&self) -> io::Result<()> {
        let file = File::create(&self.path)?;
        let made = match fallocate(&file, FallocateFlags::empty(), 0, self.bytes) {
            Ok(()) => Ok(()),
            // Some file systems cannot allocate ahead; writing the blocks does the same.
            Err(rustix::io::Errno::OPNOTSUPP) => {
                io::copy(&mut io::Read::take(io::repeat(0), self.bytes), &mut &file).map(|_| ())
            }
            Err(errno) => Err(errno.into()),
        };
        if made.is_err() {
            let _ = fs::remove_file(&self.path);
        }
        made
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_released_reserve_is_gone_until_it_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let reserve = Reserve::open(directory.path(), 64 * 1024);
        assert_eq!(
            fs::metadata(directory.path().join("reserve"))
                .unwrap()
                .len(),
            64 * 1024
        );
        assert!(!reserve.is_missing());
        reserve.release();
        assert!(reserve.is_missing() && !directory.path().join("reserve").exists());
        assert!(reserve.ensure() && !reserve.is_missing());
    }
}
