//! Laying a task's files into its directory: never outside it, never through a symbolic link.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

/// Writes a file at a relative path below `root`, and makes the directories in between.
///
/// Scripts (`#!`) and programs (ELF) become executable, since a commit's blob has no mode.
///
/// # Errors
/// Where a part of the path is a symbolic link, `..`, or something else that is not a directory.
pub(crate) fn lay_file(root: &Path, path: &str, content: &mut impl Read) -> std::io::Result<()> {
    let directory = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let mut at: OwnedFd = openat(CWD, root, directory, Mode::empty())?;
    let mut parts: Vec<&str> = path.split('/').collect();
    let name = parts.pop().unwrap_or_default();
    if name.is_empty()
        || name == "."
        || name == ".."
        || parts.iter().any(|part| matches!(*part, "" | "." | ".."))
    {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "the path leads out of the task's directory",
        ));
    }
    for part in parts {
        match mkdirat(&at, part, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        at = openat(&at, part, directory, Mode::empty())?;
    }
    let mut head = Vec::new();
    content.by_ref().take(4).read_to_end(&mut head)?;
    let is_program = head.starts_with(b"#!") || head.starts_with(b"\x7fELF");
    let mode = if is_program {
        Mode::RWXU
    } else {
        Mode::RUSR | Mode::WUSR
    };
    let create =
        OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(&at, name, create, mode)?);
    file.write_all(&head)?;
    std::io::copy(content, &mut file).map(drop)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_and_their_directories_are_made() {
        let root = tempfile::tempdir().unwrap();
        lay_file(root.path(), "a/b/run.sh", &mut &b"#!/bin/sh\n"[..]).unwrap();
        lay_file(root.path(), "a/index.html", &mut &b"hello"[..]).unwrap();
        let laid = std::fs::read_to_string(root.path().join("a/index.html")).unwrap();
        assert_eq!(laid, "hello");
        let mode = |path: &str| {
            std::fs::metadata(root.path().join(path))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!((mode("a/b/run.sh"), mode("a/index.html")), (0o700, 0o600));
    }

    #[test]
    fn nothing_is_written_outside_and_no_link_is_followed() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("link")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("x"), root.path().join("file")).unwrap();
        for path in ["../x", "/x", "link/x", "file", "a/../../x", "", "a/", "."] {
            assert!(
                lay_file(root.path(), path, &mut &b"x"[..]).is_err(),
                "{path}"
            );
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
