//! One process per data directory: two writers to one log would destroy it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::error::RaftError;

/// Holds the directory for as long as it lives; the operating system lets go when the process dies,
/// however it dies.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock, or says which process has it.
    pub(crate) fn acquire(directory: &Path) -> Result<Self, RaftError> {
        fs::create_dir_all(directory)
            .map_err(|source| RaftError::io("creating", directory, source))?;
        let path = directory.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| RaftError::io("opening", &path, source))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let read = Read::by_ref(&mut file).take(32).read_to_string(&mut text);
                let holder = read.ok().and_then(|_| text.trim().parse().ok());
                return Err(RaftError::InUse {
                    directory: directory.to_owned(),
                    holder,
                });
            }
            Err(errno) => return Err(RaftError::io("locking", &path, errno.into())),
        }
        // The process id is for people, so a full disk must not stop a member that could otherwise
        // start.
        if let Err(error) = write_holder(&mut file) {
            tracing::debug!(path = %path.display(), %error, "could not note the process id in the lock file");
        }
        Ok(Self { _file: file })
    }
}

fn write_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let held = DirectoryLock::acquire(directory.path()).unwrap();
        let refused = DirectoryLock::acquire(directory.path()).unwrap_err();
        assert!(
            matches!(refused, RaftError::InUse { holder: Some(pid), .. } if pid == std::process::id()),
            "{refused}"
        );
        drop(held);
        DirectoryLock::acquire(directory.path()).unwrap();
    }
}
