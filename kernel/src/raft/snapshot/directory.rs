//! The directory of snapshots: the newest, the one before it, and how a new one takes their place.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use openraft::alias::{SnapshotMetaOf, SnapshotOf};

use super::error::SnapshotError;
use super::format::{
    Checksummed, FOOTER, FormatFault, Header, VERSION, encode_footer, verify_body,
};
use super::incoming::{Incoming, Offered, remove_parts};
use crate::raft::ClusterId;
use crate::raft::identity::sync_directory;
use crate::raft::machine::Encode;
use crate::raft::types::{LogId, TypeConfig};

/// What a snapshot covers: its last entry and the members at that time.
pub(crate) type SnapshotMeta = SnapshotMetaOf<TypeConfig>;
/// A snapshot as openraft hands it around.
pub(crate) type Snapshot = SnapshotOf<TypeConfig, SnapshotFile>;

/// Where a snapshot's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotFile {
    /// The file.
    pub(crate) path: PathBuf,
}

/// One usable snapshot.
#[derive(Debug, Clone)]
struct Kept {
    meta: SnapshotMeta,
    path: PathBuf,
    bytes: u64,
}

/// A snapshot that was looked at: its file, and what it covers with its bytes, or its fault.
pub(crate) type Examined = (PathBuf, Result<(SnapshotMeta, u64), SnapshotError>);

/// How many snapshots stay: the newest, and one to fall back to.
const KEPT: usize = 2;

/// The snapshots of one member.
#[derive(Debug)]
pub(crate) struct SnapshotDirectory {
    path: PathBuf,
    cluster: ClusterId,
    /// The oldest first.
    kept: Mutex<Vec<Kept>>,
}

impl SnapshotDirectory {
    /// Opens or makes the directory: removes what was never finished, sets aside what is damaged.
    /// Blocks on I/O: reads every snapshot once.
    pub(crate) fn open(path: PathBuf, cluster: ClusterId) -> Result<Self, SnapshotError> {
        fs::create_dir_all(&path).map_err(|source| SnapshotError::io("creating", &path, source))?;
        let mut kept = Vec::new();
        for entry in
            fs::read_dir(&path).map_err(|source| SnapshotError::io("listing", &path, source))?
        {
            let file = entry
                .map_err(|source| SnapshotError::io("listing", &path, source))?
                .path();
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("tmp") => fs::remove_file(&file)
                    .map_err(|source| SnapshotError::io("removing", &file, source))?,
                Some("snapshot") => match verify(&file, cluster) {
                    Ok((header, _, bytes)) => kept.push(Kept {
                        meta: header.meta,
                        path: file,
                        bytes,
                    }),
                    Err(error @ SnapshotError::Damaged { .. }) => {
                        let aside = file.with_extension("damaged");
                        tracing::error!(%error, set_aside = %aside.display(), "a snapshot cannot be used");
                        fs::rename(&file, &aside)
                            .map_err(|source| SnapshotError::io("setting aside", &file, source))?;
                    }
                    Err(error) => return Err(error),
                },
                _ => {}
            }
        }
        kept.sort_by_key(|kept| kept.meta.last_log_id);
        let newest = kept.last().and_then(|kept| kept.meta.last_log_id);
        remove_parts(&path, |part| part <= newest.map(|last| last.index))?;
        Ok(Self {
            path,
            cluster,
            kept: Mutex::new(kept),
        })
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at every snapshot of a directory and changes nothing; what cannot be used comes with
    /// its fault, the oldest first. Blocks on I/O: reads every snapshot once.
    pub(crate) fn examine(path: &Path, cluster: ClusterId) -> Result<Vec<Examined>, SnapshotError> {
        let io = |source| SnapshotError::io("listing", path, source);
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(io)? {
            let file = entry.map_err(io)?.path();
            if file
                .extension()
                .is_some_and(|extension| extension == "snapshot")
            {
                let verdict = verify(&file, cluster).map(|(header, _, bytes)| (header.meta, bytes));
                found.push((file, verdict));
            }
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(found)
    }

    /// The newest snapshot.
    pub(crate) fn newest(&self) -> Option<Snapshot> {
        self.kept().last().map(|kept| Snapshot {
            meta: kept.meta.clone(),
            snapshot: SnapshotFile {
                path: kept.path.clone(),
            },
        })
    }

    /// The last entry of the oldest snapshot that is kept beside the newest: the log must reach
    /// back to it.
    pub(crate) fn fallback(&self) -> Option<LogId> {
        let kept = self.kept();
        if kept.len() < KEPT {
            None
        } else {
            kept.first().and_then(|kept| kept.meta.last_log_id)
        }
    }

    /// How many bytes the newest snapshot has; 0 when there is none.
    pub(crate) fn newest_bytes(&self) -> u64 {
        self.kept().last().map_or(0, |kept| kept.bytes)
    }

    /// About how many bytes the next snapshot will take, judged by the last; 0 when there is none.
    pub(crate) fn expected_bytes(&self) -> u64 {
        self.kept()
            .last()
            .map_or(0, |kept| kept.bytes.saturating_add(kept.bytes / 4))
    }

    /// Writes a snapshot of what `encode` gives, of at most `budget` bytes. Blocks on I/O.
    pub(crate) fn write(
        &self,
        meta: &SnapshotMeta,
        departed: BTreeSet<u64>,
        encode: Encode,
        budget: u64,
    ) -> Result<Snapshot, SnapshotError> {
        let header = Header {
            cluster: self.cluster,
            meta: meta.clone(),
            departed,
        };
        let header = header.encode().ok_or(SnapshotError::Nothing)?;
        let path = self.path_of(meta);
        let unfinished = path.with_extension("tmp");
        let written = self
            .write_file(&unfinished, &path, &header, encode, budget)
            .map_err(|source| SnapshotError::io("writing", &unfinished, source));
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        self.keep(meta.clone(), path, written?)
    }

    fn write_file(
        &self,
        unfinished: &Path,
        path: &Path,
        header: &[u8],
        encode: Encode,
        budget: u64,
    ) -> io::Result<u64> {
        let mut out = BufWriter::with_capacity(1 << 18, File::create(unfinished)?);
        out.write_all(header)?;
        let mut body = Checksummed::new(out, budget);
        encode(&mut body)?;
        let (length, checksum) = (body.length, body.checksum);
        let mut out = body.into_inner();
        out.write_all(&encode_footer(length, checksum))?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        fs::rename(unfinished, path)?;
        sync_directory(&self.path)?;
        Ok(bytes)
    }

    /// Opens what has arrived of a snapshot that another member offers. Blocks on I/O.
    pub(crate) fn incoming(&self, offered: &Offered) -> Result<Incoming, SnapshotError> {
        Incoming::open(&self.path, offered)
    }

    /// Checks every byte of a snapshot that has arrived. Blocks on I/O.
    pub(crate) fn inspect(&self, path: &Path) -> Result<Snapshot, SnapshotError> {
        let (header, _, _) = verify(path, self.cluster)?;
        Ok(Snapshot {
            meta: header.meta,
            snapshot: SnapshotFile {
                path: path.to_owned(),
            },
        })
    }

    /// Takes over a snapshot that has arrived and was inspected, unless it is one of ours already;
    /// says where it is now. Blocks on I/O.
    pub(crate) fn adopt(
        &self,
        meta: &SnapshotMeta,
        file: &SnapshotFile,
    ) -> Result<SnapshotFile, SnapshotError> {
        let path = self.path_of(meta);
        if file.path != path {
            let io = |source| SnapshotError::io("taking over", &file.path, source);
            let bytes = fs::metadata(&file.path).map_err(io)?.len();
            fs::rename(&file.path, &path)
                .and_then(|()| sync_directory(&self.path))
                .map_err(io)?;
            self.keep(meta.clone(), path.clone(), bytes)?;
        }
        Ok(SnapshotFile { path })
    }

    /// Opens the machine's bytes of a snapshot, after every byte of it was checked; gives the
    /// departed members too. Blocks on I/O.
    pub(crate) fn open_body(
        &self,
        file: &SnapshotFile,
    ) -> Result<(BTreeSet<u64>, Box<dyn Read + Send>), SnapshotError> {
        let (header, body) = open_checked(&file.path, self.cluster)?;
        Ok((header.departed, Box::new(body)))
    }

    fn path_of(&self, meta: &SnapshotMeta) -> PathBuf {
        match meta.last_log_id {
            Some(last) => self.path.join(format!(
                "{:020}-{:020}.snapshot",
                last.index, last.leader_id.term
            )),
            None => self.path.join("empty.snapshot"),
        }
    }

    fn keep(
        &self,
        meta: SnapshotMeta,
        path: PathBuf,
        bytes: u64,
    ) -> Result<Snapshot, SnapshotError> {
        let snapshot = Snapshot {
            meta: meta.clone(),
            snapshot: SnapshotFile { path: path.clone() },
        };
        let gone = {
            let mut kept = self.kept();
            kept.retain(|other| other.path != path);
            kept.push(Kept { meta, path, bytes });
            kept.sort_by_key(|kept| kept.meta.last_log_id);
            let excess = kept.len().saturating_sub(KEPT);
            kept.drain(..excess).collect::<Vec<_>>()
        };
        for old in gone {
            fs::remove_file(&old.path)
                .map_err(|source| SnapshotError::io("removing", &old.path, source))?;
        }
        // What was on its way to a state that this one is past is of no more use.
        let index = snapshot.meta.last_log_id.map(|last| last.index);
        remove_parts(&self.path, |part| part <= index)?;
        Ok(snapshot)
    }
}

/// Opens the machine's bytes of a snapshot, after every byte of it was checked. Blocks on I/O.
pub(crate) fn body_of(path: &Path, cluster: ClusterId) -> Result<impl Read + use<>, SnapshotError> {
    open_checked(path, cluster).map(|(_, body)| body)
}

fn open_checked(
    path: &Path,
    cluster: ClusterId,
) -> Result<(Header, impl Read + use<>), SnapshotError> {
    let (header, header_bytes, bytes) = verify(path, cluster)?;
    let io = |source| SnapshotError::io("reading", path, source);
    let mut from = BufReader::with_capacity(1 << 18, File::open(path).map_err(io)?);
    io::copy(&mut from.by_ref().take(header_bytes), &mut io::sink()).map_err(io)?;
    let body = from.take(
        bytes
            .saturating_sub(header_bytes)
            .saturating_sub(FOOTER as u64),
    );
    Ok((header, body))
}

/// Checks every byte of a snapshot; gives its header, the header's length and the file's, in bytes.
fn verify(path: &Path, cluster: ClusterId) -> Result<(Header, u64, u64), SnapshotError> {
    let fault = |fault| match fault {
        FormatFault::Damaged(detail) => SnapshotError::Damaged {
            path: path.to_owned(),
            detail,
        },
        FormatFault::Version(found) => SnapshotError::UnknownVersion {
            path: path.to_owned(),
            found,
            supported: VERSION,
        },
        FormatFault::Io(source) => SnapshotError::io("reading", path, source),
    };
    let io = |source| SnapshotError::io("reading", path, source);
    let file = File::open(path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    let mut from = BufReader::with_capacity(1 << 18, file);
    let (header, header_bytes) = Header::read(&mut from).map_err(fault)?;
    if header.cluster != cluster {
        return Err(SnapshotError::WrongCluster {
            path: path.to_owned(),
            found: header.cluster,
            expected: cluster,
        });
    }
    verify_body(&mut from, bytes.saturating_sub(header_bytes)).map_err(fault)?;
    Ok((header, header_bytes, bytes))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::raft::types::log_id;

    const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);

    fn meta(index: u64) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: Some(log_id(1, index)),
            ..SnapshotMeta::default()
        }
    }

    fn write(snapshots: &SnapshotDirectory, index: u64) {
        snapshots
            .write(
                &meta(index),
                BTreeSet::new(),
                Box::new(move |out| write!(out, "state at {index}")),
                u64::MAX,
            )
            .unwrap();
    }

    fn newest(snapshots: &SnapshotDirectory) -> Option<(u64, String)> {
        let newest = snapshots.newest()?;
        let mut text = String::new();
        snapshots
            .open_body(&newest.snapshot)
            .unwrap()
            .1
            .read_to_string(&mut text)
            .unwrap();
        Some((newest.meta.last_log_id?.index, text))
    }

    #[test]
    fn the_newest_two_snapshots_stay() {
        let directory = tempfile::tempdir().unwrap();
        let snapshots = SnapshotDirectory::open(directory.path().into(), CLUSTER).unwrap();
        assert_eq!(snapshots.fallback(), None);
        for index in [10, 20, 30] {
            write(&snapshots, index);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        assert_eq!(snapshots.fallback(), Some(log_id(1, 20)));
        let again = SnapshotDirectory::open(directory.path().into(), CLUSTER).unwrap();
        assert_eq!(newest(&again), Some((30, "state at 30".to_owned())));
    }

    #[test]
    fn a_damaged_newest_snapshot_is_set_aside_for_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let snapshots = SnapshotDirectory::open(directory.path().into(), CLUSTER).unwrap();
        write(&snapshots, 10);
        write(&snapshots, 20);
        let path = snapshots.newest().unwrap().snapshot.path;
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() - 20;
        *bytes.get_mut(middle).unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        let again = SnapshotDirectory::open(directory.path().into(), CLUSTER).unwrap();
        assert_eq!(newest(&again), Some((10, "state at 10".to_owned())));
        assert!(path.with_extension("damaged").exists());
    }

    #[test]
    fn a_failed_snapshot_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let snapshots = SnapshotDirectory::open(directory.path().into(), CLUSTER).unwrap();
        let failed = snapshots
            .write(
                &meta(1),
                BTreeSet::new(),
                Box::new(|_| Err(io::ErrorKind::StorageFull.into())),
                u64::MAX,
            )
            .unwrap_err();
        assert!(matches!(failed, SnapshotError::Io { .. }));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        fs::write(directory.path().join("00000000000000000001-x.tmp"), b"half").unwrap();
        SnapshotDirectory::open(directory.path().into(), CLUSTER).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_snapshot_never_takes_more_than_its_budget() {
        let directory = tempfile::tempdir().unwrap();
        let snapshots = SnapshotDirectory::open(directory.path().into(), CLUSTER).unwrap();
        let of = |bytes: usize| -> Encode { Box::new(move |out| out.write_all(&vec![0; bytes])) };
        snapshots
            .write(&meta(1), BTreeSet::new(), of(1000), 1000)
            .unwrap();
        let failed = snapshots
            .write(&meta(2), BTreeSet::new(), of(1001), 1000)
            .unwrap_err();
        assert!(
            matches!(failed, SnapshotError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
        );
        assert_eq!(snapshots.newest().unwrap().meta, meta(1));
    }

    #[test]
    fn a_snapshot_of_another_cluster_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        write(
            &SnapshotDirectory::open(directory.path().into(), CLUSTER).unwrap(),
            1,
        );
        let refused =
            SnapshotDirectory::open(directory.path().into(), ClusterId::from_bytes([8; 16]))
                .unwrap_err();
        assert!(matches!(refused, SnapshotError::WrongCluster { .. }));
    }
}
