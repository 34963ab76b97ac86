//! Blobs: components and files by sha256, beside the log. A blob is durable before its digest is
//! given.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use kelson_model::id::Digest;

/// Largest blob, in bytes.
pub const MAX_BLOB: u64 = 64 << 20;

/// Makes the names of temporary files differ.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A folder of blobs.
#[derive(Debug, Clone)]
pub struct Blobs {
    folder: PathBuf,
}

/// A blob could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There is none with this digest.
    #[error("blob {0} is not stored")]
    Missing(Digest),
    /// It is too large.
    #[error("a blob has {MAX_BLOB} bytes at the most")]
    TooLarge,
    /// The disk refused.
    #[error("the blob store at {path} failed: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is on disk is not what was stored.
    #[error("blob {0} is damaged on disk")]
    Damaged(Digest),
}

impl Blobs {
    /// Opens a folder of blobs; it is made if it is missing.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(folder: &Path) -> Result<Self, BlobError> {
        fs::create_dir_all(folder).map_err(|source| BlobError::Io {
            path: folder.to_owned(),
            source,
        })?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// Whether a blob is stored.
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Stores a blob, durably; storing it again is cheap.
    ///
    /// # Errors
    /// It is too large, or the disk refused.
    pub fn put(&self, content: &[u8]) -> Result<Digest, BlobError> {
        if u64::try_from(content.len()).is_ok_and(|size| size > MAX_BLOB) {
            return Err(BlobError::TooLarge);
        }
        let digest = Digest::of(content);
        let path = self.path(&digest);
        if path.is_file() {
            return Ok(digest);
        }
        let failed = |source| BlobError::Io {
            path: path.clone(),
            source,
        };
        // Two that store the same content at once don't meet.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!(".{}.{}.{number}", digest.hex(), std::process::id());
        let temporary = self.folder.join(name);
        let write = || -> io::Result<()> {
            let mut file = fs::File::create(&temporary)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            fs::File::open(&self.folder)?.sync_all()
        };
        write()
            .inspect_err(|_| drop(fs::remove_file(&temporary)))
            .map_err(failed)?;
        Ok(digest)
    }

    /// The digests of all blobs that are stored.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> Result<Vec<Digest>, BlobError> {
        let failed = |source| BlobError::Io {
            path: self.folder.clone(),
            source,
        };
        let mut digests = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            // What is being written has a name of another form.
            let digest = name.to_str().map(|hex| format!("sha256:{hex}").parse());
            digests.extend(digest.into_iter().filter_map(Result::ok));
        }
        Ok(digests)
    }

    /// Reads a blob and checks that it is what was stored.
    ///
    /// # Errors
    /// It is not there, cannot be read, or is damaged.
    pub fn get(&self, digest: &Digest) -> Result<Vec<u8>, BlobError> {
        let path = self.path(digest);
        let content = fs::read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => BlobError::Missing(digest.clone()),
            _ => BlobError::Io { path, source },
        })?;
        if Digest::of(&content) == *digest {
            Ok(content)
        } else {
            Err(BlobError::Damaged(digest.clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_same_content_is_stored_by_many_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path()).unwrap();
        let content = vec![7; 1 << 20];
        std::thread::scope(|scope| {
            let storing: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| blobs.put(&content)))
                .collect();
            for one in storing {
                assert_eq!(one.join().unwrap().unwrap(), Digest::of(&content));
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_blob_is_named_and_never_given_out() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path()).unwrap();
        let digest = blobs.put(b"hello").unwrap();
        assert_eq!(blobs.get(&digest).unwrap(), b"hello");
        fs::write(folder.path().join(digest.hex()), b"jello").unwrap();
        assert!(matches!(blobs.get(&digest), Err(BlobError::Damaged(_))));
        assert!(matches!(
            blobs.get(&Digest::of(b"other")),
            Err(BlobError::Missing(_))
        ));
    }
}
