//! Reading a log back: what was acknowledged is there, what was half-written goes, what is damaged
//! is said.
//!
//! *Flow*: segments in order; in each, frames in order; each followed by the index. *Guarantees*:
//! bytes are cut in one case only: they are at the end of the last segment, and nothing that could
//! be a frame of ours follows them, so no write after them was ever begun and nobody was told that
//! they are there; and not even then where the caller wants nothing changed. *Assumes*: the caller
//! holds the lock of the data directory.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::error::LogError;
use super::frame::{Frame, find_frame};
use super::index::{Index, Place};
use super::record::Record;
use super::segment::{
    HeaderFault, SEGMENT_HEADER, SegmentHeader, VERSION, list_segments, segment_path,
};
use crate::raft::ClusterId;

/// Longest segment that is believed, in bytes.
const MAX_SEGMENT: u64 = 4 << 30;

/// What becomes of a record that was being written when the member stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Torn {
    /// It is cut off.
    Cut,
    /// It is left as it is: nothing is changed.
    Leave,
}

/// A log as it was found.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// What it holds.
    pub(crate) index: Index,
    /// Its segments, open.
    pub(crate) files: BTreeMap<u64, Arc<File>>,
    /// The last segment and its length in bytes; `None` when there is no segment yet.
    pub(crate) current: Option<(u64, u64)>,
    /// The sequence number of the next frame.
    pub(crate) next_sequence: u64,
    /// What was being written when the member stopped, a sentence each.
    pub(crate) torn: Vec<String>,
}

/// Reads the whole log of a directory.
pub(crate) fn recover(
    directory: &Path,
    cluster: ClusterId,
    cache_limit: usize,
    torn: Torn,
) -> Result<Recovered, LogError> {
    let mut recovered = Recovered {
        index: Index::new(cache_limit),
        files: BTreeMap::new(),
        current: None,
        next_sequence: 1,
        torn: Vec::new(),
    };
    let numbers = list_segments(directory)?;
    let (first, last) = (numbers.first().copied(), numbers.last().copied());
    let mut expected = None;
    for number in numbers {
        if let Some(missing) = expected.filter(|expected| *expected != number) {
            return Err(LogError::MissingSegment {
                path: segment_path(directory, missing),
            });
        }
        expected = number.checked_add(1);
        recovered.read_segment(directory, cluster, number, Some(number) == last, torn)?;
    }
    recovered.check_start(directory, first)?;
    Ok(recovered)
}

impl Recovered {
    fn read_segment(
        &mut self,
        directory: &Path,
        cluster: ClusterId,
        number: u64,
        is_last: bool,
        torn: Torn,
    ) -> Result<(), LogError> {
        let path = segment_path(directory, number);
        let io =
            |action| move |source| LogError::io(action, &segment_path(directory, number), source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(torn == Torn::Cut)
            .open(&path)
            .map_err(io("opening"))?;
        let length = file.metadata().map_err(io("measuring"))?.len();
        let damaged = |offset: usize, detail: &str| LogError::Damaged {
            path: path.clone(),
            offset: u64::try_from(offset).unwrap_or(u64::MAX),
            detail: detail.to_owned(),
        };
        if length > MAX_SEGMENT {
            return Err(damaged(0, "the segment is impossibly long"));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io("reading"))?;

        let header = match SegmentHeader::parse(&bytes) {
            Ok(header) => header,
            Err(HeaderFault::Version(found)) => {
                return Err(LogError::UnknownVersion {
                    path,
                    found,
                    supported: VERSION,
                });
            }
            // A crash while the segment was made: it never held anything.
            Err(HeaderFault::Damaged(detail))
                if is_last
                    && find_frame(&bytes, self.next_sequence).is_none()
                    && bytes.len() <= SEGMENT_HEADER =>
            {
                self.torn
                    .push(format!("{} was never finished: {detail}", path.display()));
                if torn == Torn::Leave {
                    return Ok(());
                }
                tracing::warn!(path = %path.display(), detail, "removing a segment that was never finished");
                return fs::remove_file(&path).map_err(io("removing"));
            }
            Err(HeaderFault::Damaged(detail)) => return Err(damaged(0, detail)),
        };
        if header.cluster != cluster {
            return Err(LogError::WrongCluster {
                path,
                found: header.cluster,
                expected: cluster,
            });
        }
        if header.number != number {
            return Err(damaged(
                32,
                "the segment's name and its header do not agree",
            ));
        }
        if self.current.is_none() {
            self.next_sequence = header.first_sequence;
        } else if header.first_sequence != self.next_sequence {
            return Err(damaged(40, "the segment does not follow the one before it"));
        }
        self.index.begin_segment(number);

        let mut offset = SEGMENT_HEADER;
        while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
            let frame = match Frame::parse(rest) {
                Ok(frame) => frame,
                Err(fault) => {
                    let later = rest.get(1..).unwrap_or_default();
                    if !is_last {
                        return Err(damaged(offset, &fault.to_string()));
                    }
                    if let Some(found) = find_frame(later, self.next_sequence) {
                        return Err(damaged(
                            offset,
                            &format!(
                                "{fault}, but there is a record at byte {}",
                                offset + 1 + found
                            ),
                        ));
                    }
                    self.torn.push(format!(
                        "{} ends at byte {offset} in a record of which {} bytes were written",
                        path.display(),
                        rest.len()
                    ));
                    if torn == Torn::Leave {
                        break;
                    }
                    tracing::warn!(path = %path.display(), offset, bytes = rest.len(), %fault, "cutting the record that was being written when the member stopped");
                    file.set_len(u64::try_from(offset).unwrap_or(u64::MAX))
                        .map_err(io("cutting"))?;
                    file.sync_all().map_err(io("syncing"))?;
                    break;
                }
            };
            if frame.sequence != self.next_sequence {
                return Err(damaged(
                    offset,
                    &format!(
                        "record {} is here, and {} should be",
                        frame.sequence, self.next_sequence
                    ),
                ));
            }
            let record = Record::parse(&frame).ok_or_else(|| {
                damaged(offset, "no version of this program writes such a record")
            })?;
            let place = Place {
                segment: number,
                offset: u64::try_from(offset).unwrap_or(u64::MAX),
                length: frame.length(),
            };
            self.index.follow(record, place).map_err(|hole| {
                damaged(
                    offset,
                    &format!(
                        "entry {} is here, and {} should be",
                        hole.found, hole.expected
                    ),
                )
            })?;
            self.next_sequence += 1;
            offset += frame.length();
        }
        self.files.insert(number, Arc::new(file));
        self.current = Some((number, u64::try_from(offset).unwrap_or(u64::MAX)));
        // Everything read is durable; this keeps the cache within its limit while a long log is
        // read.
        self.index.evict((u64::MAX, u64::MAX));
        Ok(())
    }

    /// The first live entry follows the purge mark; without a mark no segment was ever removed, so
    /// the first of all must be there.
    fn check_start(&self, directory: &Path, first_segment: Option<u64>) -> Result<(), LogError> {
        let Some(purged) = self.index.purged else {
            return match first_segment {
                None | Some(1) => Ok(()),
                Some(_) => Err(LogError::MissingSegment {
                    path: segment_path(directory, 1),
                }),
            };
        };
        match self.index.first_index() {
            Some(found) if found != purged.index + 1 => Err(LogError::MissingEntries {
                path: directory.to_owned(),
                expected: purged.index + 1,
                found,
            }),
            _ => Ok(()),
        }
    }
}
