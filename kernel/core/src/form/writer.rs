//! Writer: makes the bytes of one piece, an entry, a reply, a chunk of rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use kelson_model::spec::Spec;
use kelson_model::template::TaskTemplate;

use super::error::FormError;

/// The longest text that is told by its number when it comes again, in bytes. What is longer is
/// written out each time, so that few bytes never unfold to much.
pub(super) const LONGEST_NAME: usize = 64;

/// Writes one piece.
#[derive(Debug)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    /// The names so far, by the number under which they are told again.
    names: BTreeMap<String, u64>,
    has_names: bool,
    last: Last,
    level: u32,
    fault: Option<FormError>,
}

/// What is not written again where it comes again at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Last {
    pub(super) spec: Option<Spec>,
    pub(super) template: Option<Arc<TaskTemplate>>,
}

/// A place in a piece to which a writer can go back.
#[derive(Debug)]
pub(super) struct Mark {
    bytes: usize,
    names: u64,
    last: Last,
}

impl Writer {
    /// Starts a piece in the forms that a cluster of this version knows.
    pub(crate) fn new(level: u32) -> Self {
        Self {
            bytes: Vec::new(),
            names: BTreeMap::new(),
            has_names: true,
            last: Last::default(),
            level,
            fault: None,
        }
    }

    /// Starts a piece in which no name is told by its number, which is for hashes and not read
    /// again.
    pub(super) fn without_names(level: u32) -> Self {
        Self {
            has_names: false,
            ..Self::new(level)
        }
    }

    /// What was written.
    pub(super) fn written(&self) -> &[u8] {
        &self.bytes
    }

    /// Starts anew.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.names.clear();
        self.last = Last::default();
        self.fault = None;
    }

    /// Since which cluster version what is written here is known.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "no field has come after the first level yet")
    )]
    pub(super) fn level(&self) -> u32 {
        self.level
    }

    /// Goes on in the forms of another level.
    pub(super) fn set_level(&mut self, level: u32) {
        self.level = level;
    }

    /// Notes that something has no form at this level; the piece is no good then.
    pub(super) fn refuse(&mut self, fault: FormError) {
        self.fault.get_or_insert(fault);
    }

    /// What was written last of its kind.
    pub(super) fn last(&mut self) -> &mut Last {
        &mut self.last
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            bytes: self.bytes.len(),
            names: self.known(),
            last: self.last.clone(),
        }
    }

    /// Takes back what was written after a mark.
    pub(super) fn go_back(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.last = mark.last;
        if self.known() > mark.names {
            self.names.retain(|_, number| *number < mark.names);
        }
    }

    fn known(&self) -> u64 {
        u64::try_from(self.names.len()).unwrap_or(u64::MAX)
    }

    /// The bytes.
    ///
    /// # Errors
    /// Something of it has no form at this level.
    pub(crate) fn finish(self) -> Result<Vec<u8>, FormError> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(self.bytes),
        }
    }

    /// One byte.
    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Bytes as they are; whoever reads them knows how many.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A number: seven bits a byte, the lowest first.
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push((number & 0x7f) as u8);
    }

    /// A number that may be below zero, small where it is near zero.
    pub(super) fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    /// A number by its distance from the one before, which it becomes.
    pub(super) fn step(&mut self, last: &mut u64, number: u64) {
        self.signed(number.wrapping_sub(*last).cast_signed());
        *last = number;
    }

    /// How many items follow.
    pub(super) fn count(&mut self, count: usize) {
        self.number(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Bytes with their length.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    /// A text that hardly comes twice.
    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// A text that may come again: twice its length and itself, or, where it came before, twice its
    /// number and one.
    pub(super) fn name(&mut self, name: &str) {
        if let Some(number) = self.names.get(name) {
            self.number((number << 1) | 1);
            return;
        }
        self.number(u64::try_from(name.len()).unwrap_or(u64::MAX) << 1);
        self.raw(name.as_bytes());
        if self.has_names && (1..=LONGEST_NAME).contains(&name.len()) {
            let number = self.known();
            self.names.insert(name.to_owned(), number);
        }
    }
}
