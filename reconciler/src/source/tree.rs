//! The manifests of one commit, at the cost of what has changed since the last one.

use std::collections::HashMap;
use std::sync::Arc;

use git2::{ObjectType, Odb, Oid, Repository, Tree};

use super::error::SourceError;
use super::ignore::{BadIgnore, FILE_NAME, IgnoreFile, IgnoreStack};
use super::limits::Limits;
use super::listing::{FaultCause, FileMode, Listing, TreeFault, TreeFile, shown};
use super::object_id::BlobId;
use super::path::{folders_down_to, joined};
use super::selection::{is_looked_at, is_skipped_folder};

const LINK: i32 = 0o120_000;
/// A commit of another repository: a submodule, or one within this one that was added like a file.
const REPOSITORY: i32 = 0o160_000;
const FOLDER: i32 = 0o040_000;
const EXECUTABLE: i32 = 0o100_755;

/// Fixes what a folder lists: its content, where it is, and the ignore files that speak of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct FolderKey {
    tree: Oid,
    path: Arc<str>,
    ignores: Vec<BlobId>,
}

/// Holds what one folder lists, with the folders in it.
#[derive(Debug)]
struct Folder {
    key: FolderKey,
    files: Vec<TreeFile>,
    faults: Vec<TreeFault>,
    folders: Vec<Arc<Folder>>,
    /// Files and folders of any kind, here and below.
    entries: usize,
}

/// Remembers folders and sizes, so that a listing reads what is new.
///
/// *Guarantees.* It holds little more than what the last listing needed: it is swept when it has
/// grown to several times that.
#[derive(Debug, Default)]
pub(super) struct TreeCache {
    folders: HashMap<FolderKey, Arc<Folder>>,
    sizes: HashMap<Oid, u64>,
    last: Option<(FolderKey, Arc<Listing>)>,
    /// Trees read so far: what a test looks at.
    pub(super) trees_read: u64,
}

/// Lists the manifests below one folder of a commit.
pub(super) fn list(
    repository: &Repository,
    cache: &mut TreeCache,
    limits: &Limits,
    top: &Tree<'_>,
    folder: &str,
) -> Result<Arc<Listing>, SourceError> {
    let odb = repository
        .odb()
        .map_err(SourceError::git("to open the object database"))?;
    let mut walk = Walk {
        repository,
        odb,
        limits,
        cache,
        entries: 0,
    };
    let mut stack = IgnoreStack::default();
    let mut start = top.clone();
    let mut faults = Vec::new();
    for path in folders_down_to(folder) {
        if !path.is_empty() {
            let name = path.rsplit('/').next().unwrap_or(path);
            start = walk.subtree(&start, name, path)?;
        }
        if path != folder {
            match walk.stack_of(&start, path, &stack, &mut faults)? {
                Some(with) => stack = with,
                None => {
                    return Ok(Arc::new(Listing::bounded(
                        folder,
                        Vec::new(),
                        faults,
                        limits,
                    )));
                }
            }
        }
    }
    let key = FolderKey {
        tree: start.id(),
        path: Arc::from(folder),
        ignores: stack.names(),
    };
    if let Some((last, listing)) = &walk.cache.last
        && *last == key
        && faults.is_empty()
    {
        return Ok(Arc::clone(listing));
    }
    let root = walk.folder(&start, folder, &stack, 0)?;
    if root.entries > limits.entries {
        let cause = FaultCause::TooManyEntries {
            limit: limits.entries,
        };
        faults.push(TreeFault {
            path: Arc::from(folder),
            cause,
        });
    }
    let listing = Arc::new(collect(&root, folder, limits, faults));
    drop(walk);
    cache.sweep(&root, &listing);
    cache.last = Some((key, Arc::clone(&listing)));
    Ok(listing)
}

impl TreeCache {
    #[cfg(test)]
    pub(super) fn remembered(&self) -> (usize, usize) {
        (self.folders.len(), self.sizes.len())
    }

    fn sweep(&mut self, root: &Arc<Folder>, listing: &Listing) {
        let mut live = Vec::new();
        let mut waiting = vec![root];
        while let Some(folder) = waiting.pop() {
            live.push(folder);
            waiting.extend(&folder.folders);
        }
        if self.folders.len() > 4 * live.len() + 256 {
            self.folders = live
                .into_iter()
                .map(|folder| (folder.key.clone(), Arc::clone(folder)))
                .collect();
        }
        if self.sizes.len() > 4 * listing.files.len() + 256 {
            let oids = listing
                .files
                .iter()
                .filter_map(|file| Some((file.blob.oid().ok()?, file.size)));
            self.sizes = oids.collect();
        }
    }
}

struct Walk<'r, 'c> {
    repository: &'r Repository,
    odb: Odb<'r>,
    limits: &'c Limits,
    cache: &'c mut TreeCache,
    entries: usize,
}

impl<'r> Walk<'r, '_> {
    fn subtree(
        &mut self,
        tree: &Tree<'r>,
        name: &str,
        path: &str,
    ) -> Result<Tree<'r>, SourceError> {
        let found = tree
            .get_name(name)
            .filter(|entry| entry.filemode() == FOLDER)
            .map(|entry| entry.id());
        let id = found.ok_or_else(|| SourceError::NoManifestFolder {
            path: path.to_owned(),
            place: "the commit".to_owned(),
        })?;
        self.tree(id, path)
    }

    fn tree(&mut self, id: Oid, path: &str) -> Result<Tree<'r>, SourceError> {
        self.cache.trees_read += 1;
        self.repository
            .find_tree(id)
            .map_err(SourceError::damaged(format!("the folder `{path}` ({id})")))
    }

    fn size(&mut self, id: Oid, path: &str) -> Result<u64, SourceError> {
        if let Some(size) = self.cache.sizes.get(&id) {
            return Ok(*size);
        }
        let header = self.odb.read_header(id);
        let (size, _) =
            header.map_err(SourceError::damaged(format!("the file `{path}` ({id})")))?;
        let size = size as u64;
        self.cache.sizes.insert(id, size);
        Ok(size)
    }

    /// Adds the folder's own ignore file, if it has one; `None` where that cannot be used.
    fn stack_of(
        &mut self,
        tree: &Tree<'r>,
        path: &str,
        above: &IgnoreStack,
        faults: &mut Vec<TreeFault>,
    ) -> Result<Option<IgnoreStack>, SourceError> {
        let Some(entry) = tree.get_name(FILE_NAME) else {
            return Ok(Some(above.clone()));
        };
        let file = joined(path, FILE_NAME);
        let parsed = if entry.kind() != Some(ObjectType::Blob) || entry.filemode() == LINK {
            Err(BadIgnore::whole("it is not a file"))
        } else if self.size(entry.id(), &file)? > self.limits.ignore_bytes {
            Err(BadIgnore::whole("it is larger than 64 KiB"))
        } else {
            let object = self.odb.read(entry.id());
            let object = object.map_err(SourceError::damaged(format!("the file `{file}`")))?;
            IgnoreFile::parse(object.data())
        };
        match parsed {
            Ok(parsed) => {
                let blob = BlobId::from_oid(entry.id());
                Ok(Some(above.with(path, blob, Arc::new(parsed))))
            }
            Err(wrong) => {
                faults.push(TreeFault {
                    path: Arc::from(file),
                    cause: wrong.cause(),
                });
                Ok(None)
            }
        }
    }

    fn folder(
        &mut self,
        tree: &Tree<'r>,
        path: &str,
        above: &IgnoreStack,
        depth: usize,
    ) -> Result<Arc<Folder>, SourceError> {
        let mut folder = Folder {
            key: FolderKey {
                tree: tree.id(),
                path: Arc::from(path),
                ignores: above.names(),
            },
            files: Vec::new(),
            faults: Vec::new(),
            folders: Vec::new(),
            entries: tree.len(),
        };
        self.entries += tree.len();
        let Some(stack) = self.stack_of(tree, path, above, &mut folder.faults)? else {
            // What it would have left out is not known: nothing in here is read.
            return Ok(Arc::new(folder));
        };
        for entry in tree {
            if self.entries > self.limits.entries {
                break;
            }
            let mode = entry.filemode();
            let skipped = match mode {
                FOLDER => is_skipped_folder(entry.name_bytes()),
                REPOSITORY => false,
                mode => !is_looked_at(path, entry.name_bytes(), mode == LINK),
            };
            if skipped {
                continue;
            }
            let Ok(name) = std::str::from_utf8(entry.name_bytes()) else {
                let path = joined(path, &shown(entry.name_bytes()));
                folder.faults.push(TreeFault {
                    path: Arc::from(path),
                    cause: FaultCause::NameNotUtf8,
                });
                continue;
            };
            let inner = joined(path, name);
            if stack.ignores(&inner, mode == FOLDER || mode == REPOSITORY) {
                continue;
            }
            let fault = match mode {
                FOLDER if depth >= self.limits.depth => Some(FaultCause::TooDeep {
                    limit: self.limits.depth,
                }),
                FOLDER => {
                    let child = self.child(entry.id(), &inner, &stack, depth + 1)?;
                    folder.entries = folder.entries.saturating_add(child.entries);
                    folder.folders.push(child);
                    None
                }
                REPOSITORY => Some(FaultCause::OtherRepository),
                LINK => Some(FaultCause::Symlink),
                mode => {
                    let size = self.size(entry.id(), &inner)?;
                    if size > self.limits.manifest_bytes {
                        Some(FaultCause::TooLarge {
                            size,
                            limit: self.limits.manifest_bytes,
                        })
                    } else {
                        folder.files.push(TreeFile {
                            path: Arc::from(inner.as_str()),
                            blob: BlobId::from_oid(entry.id()),
                            size,
                            mode: file_mode(mode),
                        });
                        None
                    }
                }
            };
            if let Some(cause) = fault {
                folder.faults.push(TreeFault {
                    path: Arc::from(inner),
                    cause,
                });
            }
        }
        let folder = Arc::new(folder);
        if self.entries <= self.limits.entries {
            self.cache
                .folders
                .insert(folder.key.clone(), Arc::clone(&folder));
        }
        Ok(folder)
    }

    fn child(
        &mut self,
        id: Oid,
        path: &str,
        stack: &IgnoreStack,
        depth: usize,
    ) -> Result<Arc<Folder>, SourceError> {
        let key = FolderKey {
            tree: id,
            path: Arc::from(path),
            ignores: stack.names(),
        };
        if let Some(known) = self.cache.folders.get(&key) {
            let known = Arc::clone(known);
            self.entries = self.entries.saturating_add(known.entries);
            return Ok(known);
        }
        let tree = self.tree(id, path)?;
        self.folder(&tree, path, stack, depth)
    }
}

/// Says what a file's mode in a tree means.
pub(super) fn file_mode(mode: i32) -> FileMode {
    if mode == EXECUTABLE {
        FileMode::Executable
    } else {
        FileMode::Plain
    }
}

/// Says why an entry of a tree is no file, if it is none.
pub(super) fn not_a_file(mode: i32) -> Option<&'static str> {
    match mode {
        FOLDER => Some("a folder"),
        LINK => Some("a symbolic link"),
        REPOSITORY => Some("another git repository"),
        _ => None,
    }
}

/// Flattens folders into a listing and holds it to the limits that are about the whole.
fn collect(
    root: &Arc<Folder>,
    folder: &str,
    limits: &Limits,
    mut faults: Vec<TreeFault>,
) -> Listing {
    let mut files = Vec::new();
    let mut waiting = vec![root];
    while let Some(next) = waiting.pop() {
        files.extend_from_slice(&next.files);
        faults.extend_from_slice(&next.faults);
        waiting.extend(&next.folders);
    }
    Listing::bounded(folder, files, faults, limits)
}
