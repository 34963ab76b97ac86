//! Damaged bytes: whatever is cut off or changed of a golden, reading ends with an answer, and
//! takes no more memory than the bytes can account for.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use kelson_kernel_core::form::{Chunk, Rebuild, TABLES, decode_entry, decode_reply};

/// Counts what is taken at once.
struct Counting;

static TAKEN: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "a test that counts what is allocated")]
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = TAKEN.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        TAKEN.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What reading may take at once: a fixed part, and so much for each byte.
const FIXED: usize = 256 << 10;
const PER_BYTE: usize = 1 << 10;

/// The most that is held while this runs, beside what was held before.
fn most_taken(run: impl FnOnce()) -> usize {
    let before = TAKEN.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    run();
    MOST.load(Ordering::Relaxed).saturating_sub(before)
}

fn unhex(hex: &str) -> Vec<u8> {
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// Reads every truncation, every flip of a bit, every byte set to its highest, and strange ends.
fn damage(good: &[u8], read: impl Fn(&[u8])) {
    let read = |bytes: &[u8]| {
        let taken = most_taken(|| read(bytes));
        let bound = FIXED + PER_BYTE * bytes.len();
        assert!(
            taken <= bound,
            "{taken} bytes of memory for {}",
            bytes.len()
        );
    };
    read(good);
    for cut in 0..good.len() {
        read(&good[..cut]);
    }
    let mut bad = good.to_vec();
    for place in 0..good.len() {
        for bit in 0..8 {
            bad[place] = good[place] ^ (1 << bit);
            read(&bad);
        }
        bad[place] = 0xff;
        read(&bad);
        bad[place] = good[place];
    }
    // A number as large as there is, at every place.
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    for place in 0..good.len() {
        let mut bad = good[..place].to_vec();
        bad.extend(huge);
        bad.extend(&good[place..]);
        read(&bad);
    }
}

/// One test, since what is allocated is counted for the whole process.
#[test]
fn damaged_goldens_are_refused_or_read_without_panic_and_within_bounds() {
    for line in include_str!("kernel/forms/golden/entries.hex").lines() {
        let good = unhex(line.rsplit(' ').next().unwrap());
        decode_entry(&good).unwrap();
        damage(&good, |bytes| drop(decode_entry(bytes)));
        // An entry that ends early or goes on is never one.
        for cut in 0..good.len() {
            assert!(decode_entry(&good[..cut]).is_err(), "{line} cut at {cut}");
        }
    }
    for line in include_str!("kernel/forms/golden/replies.hex").lines() {
        let good = unhex(line.rsplit(' ').next().unwrap());
        decode_reply(&good).unwrap();
        damage(&good, |bytes| drop(decode_reply(bytes)));
    }
    let mut whole: Vec<Chunk> = Vec::new();
    let numbers = TABLES.iter().map(|table| table.form().number);
    for (table, line) in numbers.zip(include_str!("kernel/forms/golden/tables.hex").lines()) {
        let (head, bytes) = line.rsplit_once(':').unwrap();
        let parts: Vec<&str> = head.split(' ').collect();
        whole.push(Chunk {
            table,
            version: parts[1].parse().unwrap(),
            rows: parts[2].parse().unwrap(),
            bytes: unhex(bytes),
        });
    }
    for place in 0..whole.len() {
        let before = &whole[..place];
        // Only what a table refers to has to be there before it.
        let needed: Vec<&Chunk> = before
            .iter()
            .filter(|chunk| matches!(chunk.table, 7 | 10))
            .collect();
        damage(&whole[place].bytes, |bytes| {
            let mut state = Rebuild::default();
            for chunk in &needed {
                state.add(chunk).unwrap();
            }
            let chunk = Chunk {
                bytes: bytes.to_vec(),
                ..whole[place].clone()
            };
            let _ = state.add(&chunk);
        });
    }
}
