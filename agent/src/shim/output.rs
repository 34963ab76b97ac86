//! A task's output: carried from its pipes into files of bounded size.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::record::LogLimit;

/// Gives the name of the file that was rotated `age` times; 0: the one that is written.
pub(crate) fn rotated(path: &Path, age: u32) -> PathBuf {
    if age == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    PathBuf::from(name)
}

/// A file that is renamed and begun anew when it is full.
#[derive(Debug)]
pub(super) struct RotatedFile {
    path: PathBuf,
    limit: LogLimit,
    file: Option<File>,
    size: u64,
}

impl RotatedFile {
    pub(super) fn new(path: PathBuf, limit: LogLimit) -> Self {
        Self {
            path,
            limit,
            file: None,
            size: 0,
        }
    }

    /// Writes; output that cannot be written (a full disk) is lost, since a task must never wait
    /// for its log.
    pub(super) fn write(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let room = self.limit.bytes.saturating_sub(self.size);
            if room == 0 {
                self.rotate();
                continue;
            }
            let count = data.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            let (now, later) = data.split_at(count);
            if self.file.is_none() {
                self.file = OpenOptions::new()
                    .create(true)
                    .append(true)
                    .mode(0o600)
                    .open(&self.path)
                    .ok();
            }
            if let Some(file) = &mut self.file {
                let _ = file.write_all(now);
            }
            self.size = self.size.saturating_add(now.len() as u64);
            data = later;
        }
    }

    fn rotate(&mut self) {
        self.file = None;
        self.size = 0;
        let kept = self.limit.files.max(1);
        if kept == 1 {
            let _ = fs::remove_file(&self.path);
        }
        for age in (0..kept.saturating_sub(1)).rev() {
            let _ = fs::rename(
                rotated(&self.path, age),
                rotated(&self.path, age.saturating_add(1)),
            );
        }
    }
}

/// One pipe and its file.
#[derive(Debug)]
pub(super) struct Stream<R> {
    pub(super) source: Option<R>,
    file: RotatedFile,
}

impl<R: Read> Stream<R> {
    pub(super) fn new(source: Option<R>, file: RotatedFile) -> Self {
        Self { source, file }
    }

    /// Carries what is there, at most `pieces` at once; forgets the pipe at its end.
    pub(super) fn carry(&mut self, pieces: usize) {
        let mut buffer = [0u8; 64 << 10];
        for _ in 0..pieces {
            let Some(source) = &mut self.source else {
                return;
            };
            match source.read(&mut buffer) {
                Ok(0) => self.source = None,
                Ok(count) => self.file.write(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => self.source = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_file_is_rotated_at_its_limit_and_only_so_many_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stdout.log");
        let mut file = RotatedFile::new(path.clone(), LogLimit { bytes: 4, files: 3 });
        file.write(b"aaaabbbbccccddddee");
        let read = |age| fs::read_to_string(rotated(&path, age)).unwrap();
        assert_eq!(
            (read(0), read(1), read(2)),
            ("ee".to_owned(), "dddd".to_owned(), "cccc".to_owned())
        );
        assert!(!rotated(&path, 3).exists());
    }

    #[test]
    fn one_file_alone_is_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stdout.log");
        let mut file = RotatedFile::new(path.clone(), LogLimit { bytes: 4, files: 1 });
        file.write(b"aaaab");
        assert_eq!(fs::read_to_string(&path).unwrap(), "b");
        assert!(!rotated(&path, 1).exists());
    }
}
