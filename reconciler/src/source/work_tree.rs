//! A folder of files as they are on disk: what `validate` and `plan` look at.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use git2::{ObjectType, Oid, Repository};
use kelson_model::id::Revision;

use super::error::SourceError;
use super::ignore::{BadIgnore, FILE_NAME, IgnoreFile, IgnoreStack};
use super::limits::Limits;
use super::listing::{
    Artifact, FaultCause, FileMode, Listing, ManifestSource, TreeFault, TreeFile, is_lfs_pointer,
    shown,
};
use super::object_id::BlobId;
use super::path::{folders_down_to, joined, normalised};
use super::repository::discover;
use super::selection::{USUAL_FOLDER, is_looked_at, is_skipped_folder};

/// Reads the working tree of a repository, or any folder.
///
/// *Guarantees.* It shows what a commit of everything would show: the same rule of selection, the
/// same limits, links not followed; what git ignores is left out unless git tracks it.
/// [`ManifestSource::read`] returns what the latest listing saw, also when the file has changed
/// since.
///
/// *Caveats.* The content is that on disk: where git converts line ends, its blob ids differ from
/// those of the commit.
pub struct WorkTree {
    top: PathBuf,
    repository: Option<Mutex<Repository>>,
    subpath: Option<String>,
    limits: Limits,
    contents: Mutex<HashMap<BlobId, Bytes>>,
}

impl WorkTree {
    /// Opens the work tree that holds `path`, or `path` itself where there is no repository.
    /// `subpath` is the folder of the manifests, from the top.
    ///
    /// # Errors
    /// `BadPath`, `NotOwned`, `Unsupported`; `NotAFile` for a bare repository, which has no work
    /// tree; `Io` if there is no such folder.
    pub fn open(path: &Path, subpath: Option<&str>) -> Result<Self, SourceError> {
        Self::open_with(path, subpath, Limits::default())
    }

    /// Opens a work tree with other limits; see [`open`](Self::open).
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_with(
        path: &Path,
        subpath: Option<&str>,
        limits: Limits,
    ) -> Result<Self, SourceError> {
        let subpath = subpath.map(normalised).transpose()?;
        let (top, repository) = match discover(path) {
            Ok(repository) => match repository.workdir().map(Path::to_owned) {
                Some(top) => (top, Some(Mutex::new(repository))),
                None => {
                    let path = path.display().to_string();
                    return Err(SourceError::NotAFile {
                        path,
                        found: "a bare repository, without a work tree",
                    });
                }
            },
            Err(SourceError::NotFound { .. }) => {
                (path.canonicalize().map_err(SourceError::io(path))?, None)
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            top,
            repository,
            subpath,
            limits,
            contents: Mutex::default(),
        })
    }

    /// Returns the top: what paths are relative to.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// Returns the folder that holds the manifests, from the top.
    pub(super) fn folder(&self) -> &str {
        match &self.subpath {
            Some(path) => path,
            None if is_folder(&self.top.join(USUAL_FOLDER)) => USUAL_FOLDER,
            None => "",
        }
    }

    /// Collects the ignore files from the top down to a folder; `None` where one of them cannot be
    /// used.
    pub(super) fn stack_down_to(
        &self,
        folder: &str,
        faults: &mut Vec<TreeFault>,
    ) -> Option<IgnoreStack> {
        folders_down_to(folder).try_fold(IgnoreStack::default(), |stack, folder| {
            self.stack_of(folder, &stack, faults)
        })
    }

    fn stack_of(
        &self,
        folder: &str,
        above: &IgnoreStack,
        faults: &mut Vec<TreeFault>,
    ) -> Option<IgnoreStack> {
        let path = joined(folder, FILE_NAME);
        let on_disk = self.top.join(&path);
        let parsed = match fs::symlink_metadata(&on_disk) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                return Some(above.clone());
            }
            Err(_) => Err(BadIgnore::whole("it cannot be read")),
            Ok(found) if !found.is_file() => Err(BadIgnore::whole("it is not a file")),
            Ok(found) if found.len() > self.limits.ignore_bytes => {
                Err(BadIgnore::whole("it is larger than 64 KiB"))
            }
            Ok(_) => match read_bounded(&on_disk, self.limits.ignore_bytes) {
                Ok(bytes) => IgnoreFile::parse(&bytes).map(|file| (blob_id(&bytes), file)),
                Err(_) => Err(BadIgnore::whole("it cannot be read")),
            },
        };
        match parsed {
            Ok((Some(blob), file)) => Some(above.with(folder, blob, Arc::new(file))),
            Ok((None, _)) => Some(above.clone()),
            Err(wrong) => {
                faults.push(TreeFault {
                    path: Arc::from(path),
                    cause: wrong.cause(),
                });
                None
            }
        }
    }

    /// Tells whether git would leave this out of a commit of everything.
    fn is_left_out(&self, path: &str, is_folder: bool) -> bool {
        let Some(repository) = &self.repository else {
            return false;
        };
        let repository = repository.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = if is_folder {
            format!("{path}/")
        } else {
            path.to_owned()
        };
        if !repository.is_path_ignored(&asked).unwrap_or(false) {
            return false;
        }
        let tracked = repository.index().is_ok_and(|index| {
            if is_folder {
                index.find_prefix(&asked).is_ok()
            } else {
                index.get_path(Path::new(path), 0).is_some()
            }
        });
        !tracked
    }
}

impl std::fmt::Debug for WorkTree {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("WorkTree")
            .field("top", &self.top)
            .field("subpath", &self.subpath)
            .finish()
    }
}

impl ManifestSource for WorkTree {
    fn revision(&self) -> Option<Revision> {
        None
    }

    fn files(&self) -> Result<Arc<Listing>, SourceError> {
        let folder = self.folder().to_owned();
        if !is_folder(&self.top.join(&folder)) {
            let place = format!("`{}`", self.top.display());
            return Err(SourceError::NoManifestFolder {
                path: folder,
                place,
            });
        }
        let mut walk = Walk {
            tree: self,
            files: Vec::new(),
            faults: Vec::new(),
            contents: HashMap::new(),
            entries: 0,
            total: 0,
        };
        let above = match folder.rsplit_once('/') {
            Some((above, _)) => self.stack_down_to(above, &mut walk.faults),
            None if folder.is_empty() => Some(IgnoreStack::default()),
            None => self.stack_down_to("", &mut walk.faults),
        };
        if let Some(above) = above {
            walk.folder(&folder, &above, 0);
        }
        let listing = Listing::bounded(&folder, walk.files, walk.faults, &self.limits);
        *self.contents.lock().unwrap_or_else(PoisonError::into_inner) = walk.contents;
        Ok(Arc::new(listing))
    }

    fn read(&self, file: &TreeFile) -> Result<Bytes, SourceError> {
        let contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        contents
            .get(&file.blob)
            .cloned()
            .ok_or(SourceError::NoSuchBlob { id: file.blob })
    }

    fn read_at(&self, path: &str) -> Result<Artifact, SourceError> {
        let path = normalised(path)?;
        let no_such = || SourceError::NoSuchPath {
            path: path.clone(),
            place: format!("`{}`", self.top.display()),
        };
        let mut on_disk = self.top.clone();
        let mut found = fs::symlink_metadata(&on_disk).map_err(SourceError::io(&on_disk))?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if !found.is_dir() {
                return Err(no_such());
            }
            on_disk.push(name);
            found = fs::symlink_metadata(&on_disk).map_err(|cause| match cause.kind() {
                std::io::ErrorKind::NotFound => no_such(),
                _ => SourceError::io(&on_disk)(cause),
            })?;
        }
        let kind = found.file_type();
        let what = match () {
            () if kind.is_file() => None,
            () if kind.is_dir() => Some("a folder"),
            () if kind.is_symlink() => Some("a symbolic link"),
            () => Some("a device, a socket or a pipe"),
        };
        if let Some(found) = what {
            return Err(SourceError::NotAFile { path, found });
        }
        let limit = self.limits.artifact_bytes;
        let bytes = read_bounded(&on_disk, limit).map_err(SourceError::io(&on_disk))?;
        let size = found.len().max(bytes.len() as u64);
        if size > limit {
            return Err(SourceError::TooLarge { path, size, limit });
        }
        if is_lfs_pointer(&bytes) {
            return Err(SourceError::LfsPointer { path });
        }
        let blob = blob_id(&bytes).ok_or_else(no_such)?;
        Ok(Artifact {
            blob,
            mode: mode_of(&found),
            bytes,
        })
    }
}

struct Walk<'a> {
    tree: &'a WorkTree,
    files: Vec<TreeFile>,
    faults: Vec<TreeFault>,
    contents: HashMap<BlobId, Bytes>,
    entries: usize,
    total: u64,
}

impl Walk<'_> {
    fn fault(&mut self, path: &str, cause: FaultCause) {
        self.faults.push(TreeFault {
            path: Arc::from(path),
            cause,
        });
    }

    fn unreadable(&mut self, path: &str, cause: &std::io::Error) {
        self.fault(
            path,
            FaultCause::Unreadable {
                reason: cause.to_string(),
            },
        );
    }

    fn folder(&mut self, folder: &str, above: &IgnoreStack, depth: usize) {
        let Some(stack) = self.tree.stack_of(folder, above, &mut self.faults) else {
            // What it would have left out is not known: nothing in here is read.
            return;
        };
        let entries = match fs::read_dir(self.tree.top.join(folder)) {
            Ok(entries) => entries,
            Err(cause) => return self.unreadable(folder, &cause),
        };
        for entry in entries {
            if self.is_full() {
                return;
            }
            self.entries += 1;
            if self.entries > self.tree.limits.entries {
                return self.fault(
                    folder,
                    FaultCause::TooManyEntries {
                        limit: self.tree.limits.entries,
                    },
                );
            }
            match entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?))) {
                Ok((name, kind)) => self.entry(folder, &name, kind, &stack, depth),
                // Gone since the folder was opened.
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
                Err(cause) => self.unreadable(folder, &cause),
            }
        }
    }

    /// Tells whether a limit on the whole is passed, so that more would only be thrown away.
    fn is_full(&self) -> bool {
        let limits = &self.tree.limits;
        self.entries > limits.entries
            || self.files.len() > limits.files
            || self.total > limits.total_bytes
    }

    fn entry(
        &mut self,
        folder: &str,
        name: &OsStr,
        kind: fs::FileType,
        stack: &IgnoreStack,
        depth: usize,
    ) {
        let skipped = if kind.is_dir() {
            is_skipped_folder(name.as_bytes())
        } else {
            !is_looked_at(folder, name.as_bytes(), kind.is_symlink())
        };
        if skipped {
            return;
        }
        let Some(name) = name.to_str() else {
            return self.fault(
                &joined(folder, &shown(name.as_bytes())),
                FaultCause::NameNotUtf8,
            );
        };
        let path = joined(folder, name);
        if stack.ignores(&path, kind.is_dir()) || self.tree.is_left_out(&path, kind.is_dir()) {
            return;
        }
        if kind.is_symlink() {
            self.fault(&path, FaultCause::Symlink);
        } else if kind.is_file() {
            self.file(&path);
        } else if !kind.is_dir() {
            self.fault(&path, FaultCause::NotAFile);
        } else if self.tree.top.join(&path).join(".git").exists() {
            self.fault(&path, FaultCause::OtherRepository);
        } else if depth >= self.tree.limits.depth {
            self.fault(
                &path,
                FaultCause::TooDeep {
                    limit: self.tree.limits.depth,
                },
            );
        } else {
            self.folder(&path, stack, depth + 1);
        }
    }

    fn file(&mut self, path: &str) {
        let on_disk = self.tree.top.join(path);
        let limit = self.tree.limits.manifest_bytes;
        let read = fs::symlink_metadata(&on_disk)
            .and_then(|found| Ok((mode_of(&found), found.len(), read_bounded(&on_disk, limit)?)));
        match read {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
            Err(cause) => self.unreadable(path, &cause),
            Ok((mode, size, bytes)) => {
                let size = size.max(bytes.len() as u64);
                if size > limit {
                    return self.fault(path, FaultCause::TooLarge { size, limit });
                }
                if let Some(blob) = blob_id(&bytes) {
                    let size = bytes.len() as u64;
                    self.total = self.total.saturating_add(size);
                    self.contents.insert(blob, bytes);
                    self.files.push(TreeFile {
                        path: Arc::from(path),
                        blob,
                        size,
                        mode,
                    });
                }
            }
        }
    }
}

fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

fn mode_of(found: &Metadata) -> FileMode {
    if found.permissions().mode() & 0o100 == 0 {
        FileMode::Plain
    } else {
        FileMode::Executable
    }
}

/// Reads at most one byte more than the limit.
fn read_bounded(path: &Path, limit: u64) -> std::io::Result<Bytes> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(Bytes::from(bytes))
}

/// Names a content as git does; git refuses none.
fn blob_id(bytes: &[u8]) -> Option<BlobId> {
    Oid::hash_object(ObjectType::Blob, bytes)
        .ok()
        .map(BlobId::from_oid)
}
