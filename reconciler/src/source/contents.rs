//! The bytes of a commit's files.

use std::path::Path;

use bytes::Bytes;
use git2::{ErrorCode, ObjectType, Oid, Repository};
use kelson_model::id::Revision;

use super::commits::tree_of;
use super::error::{SourceError, commit_place};
use super::git::GitSource;
use super::listing::{Artifact, is_lfs_pointer};
use super::object_id::BlobId;
use super::path::normalised;
use super::tree::{file_mode, not_a_file};

impl GitSource {
    /// Reads a content by its name, up to the limit of artifacts.
    ///
    /// # Errors
    /// `NoSuchBlob`, `TooLarge`, `Damaged`, `Gone`.
    pub fn blob(&self, id: BlobId) -> Result<Bytes, SourceError> {
        self.read(|repository| {
            let oid = id.oid().map_err(|_| SourceError::NoSuchBlob { id })?;
            self.content(repository, oid, &id.to_string())
                .map(Bytes::from)
        })
    }

    /// Reads any file of a commit, by its path from the top of the repository.
    ///
    /// # Errors
    /// `BadPath`, `NoSuchPath`, `NotAFile`, `TooLarge`, `LfsPointer`, `NoSuchRevision`, `Damaged`,
    /// `Gone`.
    pub fn blob_at(&self, revision: &Revision, path: &str) -> Result<Artifact, SourceError> {
        let path = normalised(path)?;
        self.read(|repository| {
            if path.is_empty() {
                return Err(SourceError::NotAFile {
                    path: ".".to_owned(),
                    found: "a folder",
                });
            }
            let tree = tree_of(repository, revision)?;
            let entry = tree
                .get_path(Path::new(&path))
                .map_err(|cause| match cause.code() {
                    ErrorCode::NotFound => SourceError::NoSuchPath {
                        path: path.clone(),
                        place: commit_place(revision),
                    },
                    _ => SourceError::damaged(format!("the path `{path}` of commit {revision}"))(
                        cause,
                    ),
                })?;
            if let Some(found) = not_a_file(entry.filemode()) {
                return Err(SourceError::NotAFile {
                    path: path.clone(),
                    found,
                });
            }
            let bytes = self.content(repository, entry.id(), &path)?;
            if is_lfs_pointer(&bytes) {
                return Err(SourceError::LfsPointer { path: path.clone() });
            }
            let mode = file_mode(entry.filemode());
            Ok(Artifact {
                blob: BlobId::from_oid(entry.id()),
                mode,
                bytes: Bytes::from(bytes),
            })
        })
    }

    /// Names the contents of files of a commit; `None` for what is no plain path to a file of it.
    ///
    /// # Errors
    /// `NoSuchRevision`, `Damaged`, `Gone`.
    pub fn blob_ids(
        &self,
        revision: &Revision,
        paths: &[&str],
    ) -> Result<Vec<Option<BlobId>>, SourceError> {
        self.read(|repository| {
            let tree = tree_of(repository, revision)?;
            let id_of = |path: &&str| {
                let path = normalised(path).ok().filter(|path| !path.is_empty())?;
                let entry = tree.get_path(Path::new(&path)).ok()?;
                let is_file = not_a_file(entry.filemode()).is_none();
                is_file.then(|| BlobId::from_oid(entry.id()))
            };
            Ok(paths.iter().map(id_of).collect())
        })
    }

    fn content(
        &self,
        repository: &Repository,
        oid: Oid,
        name: &str,
    ) -> Result<Vec<u8>, SourceError> {
        let odb = repository
            .odb()
            .map_err(SourceError::git("to open the object database"))?;
        let missing = |cause: git2::Error| match cause.code() {
            ErrorCode::NotFound => SourceError::NoSuchBlob {
                id: BlobId::from_oid(oid),
            },
            _ => SourceError::damaged(format!("the file `{name}` ({oid})"))(cause),
        };
        let (size, kind) = odb.read_header(oid).map_err(missing)?;
        if kind != ObjectType::Blob {
            return Err(SourceError::NoSuchBlob {
                id: BlobId::from_oid(oid),
            });
        }
        let (size, limit) = (size as u64, self.limits().artifact_bytes);
        if size > limit {
            return Err(SourceError::TooLarge {
                path: name.to_owned(),
                size,
                limit,
            });
        }
        Ok(odb.read(oid).map_err(missing)?.data().to_vec())
    }
}
