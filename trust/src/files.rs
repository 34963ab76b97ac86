//! Small files: read up to a limit, written whole and for their owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::error::TrustError;

/// Most bytes of a file that is read.
const MAX_FILE: u64 = 1 << 20;

/// Makes a folder that its owner alone may look into, with those above it.
pub(crate) fn make_folder(path: &Path) -> Result<(), TrustError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(TrustError::io(path))
}

/// Replaces a file in one step; its owner alone may read it.
///
/// *Guarantees*: whoever reads it sees all of the old content or all of the new one, also after a
/// crash, and at no time can another user read it.
pub(crate) fn replace(path: &Path, content: &str) -> Result<(), TrustError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(TrustError::io(path))
}

/// Removes a file, where it is there.
pub(crate) fn remove(path: &Path) -> Result<(), TrustError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(TrustError::io(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Reads a file of text.
pub(crate) fn read(path: &Path) -> Result<String, TrustError> {
    let mut content = String::new();
    File::open(path)
        .and_then(|file| {
            file.take(MAX_FILE.saturating_add(1))
                .read_to_string(&mut content)
        })
        .map_err(TrustError::io(path))?;
    if u64::try_from(content.len()).unwrap_or(u64::MAX) > MAX_FILE {
        let what = path.display().to_string();
        return Err(TrustError::unusable(
            what,
            format!("it has more than {MAX_FILE} bytes"),
        ));
    }
    Ok(content)
}

/// Reads a file of text where it is there.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<String>, TrustError> {
    match read(path) {
        Err(TrustError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_its_owners_alone_whatever_was_there_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        // What a writer that was killed has left.
        fs::write(folder.path().join("key.pem.new"), "half").unwrap();
        replace(&path, "new").unwrap();
        assert_eq!(read(&path).unwrap(), "new");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(read_if_there(&folder.path().join("none")).unwrap(), None);
    }
}
