//! What the log holds, in memory: the vote, the marks, and where each live entry lies; the newest
//! entries also with their content.
//!
//! The same code follows the log while it is written and while it is read back, so the two cannot
//! disagree.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::record::{Record, payload_bytes};
use crate::raft::types::{Entry, LogId, Vote, log_id};

/// Where a frame lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of the segment.
    pub(crate) segment: u64,
    /// Where in it the frame starts, in bytes.
    pub(crate) offset: u64,
    /// How long the frame is, in bytes.
    pub(crate) length: usize,
}

impl Place {
    /// Where the frame ends: ordered as the stream is.
    fn end(&self) -> (u64, u64) {
        (
            self.segment,
            self.offset
                .saturating_add(u64::try_from(self.length).unwrap_or(u64::MAX)),
        )
    }
}

/// An entry that was asked for.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is in memory.
    Cached(Entry),
    /// It must be read back.
    OnDisk(LogId, Place),
}

/// An entry was to be put where it would leave a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    /// The index that should come next.
    pub(crate) expected: u64,
    /// The index that came.
    pub(crate) found: u64,
}

#[derive(Debug)]
struct Slot {
    term: u64,
    place: Place,
    cached: Option<Entry>,
}

/// The log as it stands after every record so far.
#[derive(Debug)]
pub(crate) struct Index {
    /// The last ballot.
    pub(crate) vote: Option<Vote>,
    /// The commit mark.
    pub(crate) committed: Option<LogId>,
    /// The purge mark.
    pub(crate) purged: Option<LogId>,
    entries: BTreeMap<u64, Slot>,
    /// Live entries per segment; a segment stays here until it is unlinked.
    live: BTreeMap<u64, usize>,
    cached_bytes: usize,
    cache_limit: usize,
    /// No entry below this index is cached.
    cached_from: u64,
}

impl Index {
    /// Starts empty; `cache_limit` bounds the bytes of entries kept in memory once they are
    /// durable.
    pub(crate) fn new(cache_limit: usize) -> Self {
        Self {
            vote: None,
            committed: None,
            purged: None,
            entries: BTreeMap::new(),
            live: BTreeMap::new(),
            cached_bytes: 0,
            cache_limit,
            cached_from: 0,
        }
    }

    /// Notes that records go to this segment from now on.
    pub(crate) fn begin_segment(&mut self, number: u64) {
        self.live.entry(number).or_insert(0);
    }

    /// Follows one record.
    pub(crate) fn follow(&mut self, record: Record, place: Place) -> Result<(), Hole> {
        match record {
            Record::Vote(vote) => self.vote = Some(vote),
            Record::Committed(upto) => self.committed = upto,
            Record::Truncate(after) => self.truncate(after.map(|id| id.index)),
            Record::Purge(upto) => self.purge(upto),
            Record::Entry(entry) => return self.insert(entry, place),
        }
        Ok(())
    }

    /// Says whether an entry may come next. After segments were unlinked an empty log may start
    /// anywhere; the purge mark settles it in the end.
    pub(crate) fn check_next(&self, found: u64) -> Result<(), Hole> {
        match self.entries.last_key_value() {
            Some((last, _)) if found != last + 1 => Err(Hole {
                expected: last + 1,
                found,
            }),
            _ => Ok(()),
        }
    }

    fn insert(&mut self, entry: Entry, place: Place) -> Result<(), Hole> {
        let index = entry.log_id.index;
        self.check_next(index)?;
        self.cached_bytes += payload_bytes(&entry);
        self.cached_from = self.cached_from.min(index);
        *self.live.entry(place.segment).or_insert(0) += 1;
        self.entries.insert(
            index,
            Slot {
                term: entry.log_id.leader_id.term,
                place,
                cached: Some(entry),
            },
        );
        Ok(())
    }

    fn truncate(&mut self, after: Option<u64>) {
        let void = match after {
            Some(last) => self.entries.split_off(&last.saturating_add(1)),
            None => std::mem::take(&mut self.entries),
        };
        self.forget(&void);
    }

    fn purge(&mut self, upto: LogId) {
        let kept = self.entries.split_off(&upto.index.saturating_add(1));
        let gone = std::mem::replace(&mut self.entries, kept);
        self.forget(&gone);
        if self.purged.is_none_or(|before| before.index < upto.index) {
            self.purged = Some(upto);
        }
    }

    fn forget(&mut self, slots: &BTreeMap<u64, Slot>) {
        for slot in slots.values() {
            if let Some(count) = self.live.get_mut(&slot.place.segment) {
                *count = count.saturating_sub(1);
            }
            if let Some(entry) = &slot.cached {
                self.cached_bytes = self.cached_bytes.saturating_sub(payload_bytes(entry));
            }
        }
    }

    /// The last entry there is, or the purge mark when there is none.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.entries
            .last_key_value()
            .map(|(index, slot)| log_id(slot.term, *index))
            .or(self.purged)
    }

    /// The first entry there is.
    pub(crate) fn first_index(&self) -> Option<u64> {
        self.entries.first_key_value().map(|(index, _)| *index)
    }

    /// The first entry of the newest ones that are at most so many, and of at most so many bytes;
    /// `None` when not even the newest is.
    pub(crate) fn tail(&self, entries: usize, bytes: u64) -> Option<u64> {
        let mut first = None;
        let mut left = bytes;
        for (index, slot) in self.entries.iter().rev().take(entries) {
            let length = u64::try_from(slot.place.length).unwrap_or(u64::MAX);
            let Some(rest) = left.checked_sub(length) else {
                break;
            };
            left = rest;
            first = Some(*index);
        }
        first
    }

    /// Finds the entries of a range, at most `limit` of them.
    pub(crate) fn find(&self, range: (Bound<u64>, Bound<u64>), limit: usize) -> Vec<Found> {
        if is_empty(range) {
            return Vec::new();
        }
        self.entries
            .range(range)
            .take(limit)
            .map(|(index, slot)| match &slot.cached {
                Some(entry) => Found::Cached(entry.clone()),
                None => Found::OnDisk(log_id(slot.term, *index), slot.place),
            })
            .collect()
    }

    /// Lets go of the oldest cached entries until the cache is within its limit; only of those that
    /// end before `durable` (segment, offset).
    pub(crate) fn evict(&mut self, durable: (u64, u64)) {
        if self.cached_bytes <= self.cache_limit {
            return;
        }
        for (index, slot) in self.entries.range_mut(self.cached_from..) {
            if self.cached_bytes <= self.cache_limit || slot.place.end() > durable {
                break;
            }
            if let Some(entry) = slot.cached.take() {
                self.cached_bytes = self.cached_bytes.saturating_sub(payload_bytes(&entry));
            }
            self.cached_from = index.saturating_add(1);
        }
    }

    /// Takes the oldest segments of which nothing is live; never the one being written, and never
    /// one behind a segment that is still needed.
    pub(crate) fn take_dead_segments(&mut self) -> Vec<u64> {
        let mut dead = Vec::new();
        while self.live.len() > 1
            && let Some(first) = self.live.first_entry()
            && *first.get() == 0
        {
            dead.push(first.remove_entry().0);
        }
        dead
    }

    /// The records that a new segment starts with, so that it needs no older one to be understood.
    pub(crate) fn preamble(&self) -> Vec<Record> {
        let vote = self.vote.map(Record::Vote);
        let purged = self.purged.map(Record::Purge);
        let committed = self.committed.map(|upto| Record::Committed(Some(upto)));
        vote.into_iter().chain(purged).chain(committed).collect()
    }
}

fn is_empty(range: (Bound<u64>, Bound<u64>)) -> bool {
    let first = match range.0 {
        Bound::Included(first) => Some(first),
        Bound::Excluded(before) => before.checked_add(1),
        Bound::Unbounded => Some(0),
    };
    let past = match range.1 {
        Bound::Included(last) => last.checked_add(1),
        Bound::Excluded(past) => Some(past),
        Bound::Unbounded => None,
    };
    first.is_none_or(|first| past.is_some_and(|past| first >= past))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use bytes::Bytes;
    use openraft::EntryPayload;

    use super::*;
    use crate::raft::types::Payload;

    fn put(index: &mut Index, at: u64, segment: u64) {
        let entry = Entry {
            log_id: log_id(1, at),
            payload: EntryPayload::Normal(Payload(Bytes::from(vec![0; 10]))),
        };
        index.begin_segment(segment);
        index
            .follow(
                Record::Entry(entry),
                Place {
                    segment,
                    offset: at * 10,
                    length: 10,
                },
            )
            .unwrap();
    }

    fn cached(index: &Index) -> usize {
        index
            .find((Bound::Unbounded, Bound::Unbounded), usize::MAX)
            .iter()
            .filter(|found| matches!(found, Found::Cached(_)))
            .count()
    }

    #[test]
    fn the_tail_is_bounded_by_entries_and_by_bytes() {
        let mut index = Index::new(usize::MAX);
        assert_eq!(index.tail(10, 1_000), None);
        for at in 1..=5 {
            put(&mut index, at, 1);
        }
        let length = index.entries.values().next().unwrap().place.length as u64;
        assert_eq!(index.tail(2, u64::MAX), Some(4));
        assert_eq!(index.tail(100, u64::MAX), Some(1));
        assert_eq!(index.tail(100, 3 * length), Some(3));
        assert_eq!(index.tail(100, length - 1), None);
    }

    #[test]
    fn only_durable_entries_leave_the_cache_and_the_oldest_first() {
        let mut index = Index::new(35);
        for at in 0..10 {
            put(&mut index, at, 1);
        }
        index.evict((1, 20));
        assert_eq!(cached(&index), 8, "two entries end before byte 20");
        index.evict((1, 1000));
        assert_eq!(cached(&index), 3, "three entries of ten bytes fit in 35");
        assert!(matches!(
            index
                .find((Bound::Included(0), Bound::Included(0)), 1)
                .first(),
            Some(Found::OnDisk(..))
        ));
    }

    #[test]
    fn segments_die_from_the_front_only_and_never_the_last() {
        let mut index = Index::new(0);
        for at in 0..6 {
            put(&mut index, at, 1 + at / 2);
        }
        index
            .follow(
                Record::Truncate(Some(log_id(1, 1))),
                Place {
                    segment: 3,
                    offset: 0,
                    length: 1,
                },
            )
            .unwrap();
        assert!(
            index.take_dead_segments().is_empty(),
            "segment 1 still has entries, so segment 2 has to stay"
        );
        index
            .follow(
                Record::Purge(log_id(1, 1)),
                Place {
                    segment: 3,
                    offset: 0,
                    length: 1,
                },
            )
            .unwrap();
        assert_eq!(index.take_dead_segments(), [1, 2]);
        assert_eq!(index.last(), Some(log_id(1, 1)));
    }

    #[test]
    fn a_hole_is_refused() {
        let mut index = Index::new(0);
        put(&mut index, 5, 1);
        assert_eq!(
            index.check_next(7),
            Err(Hole {
                expected: 6,
                found: 7
            })
        );
        assert_eq!(index.check_next(6), Ok(()));
    }

    #[test]
    fn ranges_turned_round_find_nothing() {
        let mut index = Index::new(0);
        put(&mut index, 0, 1);
        for range in [
            (Bound::Included(5), Bound::Excluded(2)),
            (Bound::Excluded(u64::MAX), Bound::Unbounded),
            (Bound::Excluded(0), Bound::Excluded(0)),
        ] {
            assert!(index.find(range, 10).is_empty());
        }
    }
}
