//! Reader: takes one piece apart. It never runs past the end, and never makes room for more than
//! the bytes that are there can hold.

use super::error::FormError;
use super::writer::{LONGEST_NAME, Last};

/// Reads one piece.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    names: Vec<&'a str>,
    last: Last,
    level: u32,
}

impl<'a> Reader<'a> {
    /// Starts at the front of a piece in the forms of this level.
    pub(crate) fn new(bytes: &'a [u8], level: u32) -> Self {
        Self {
            rest: bytes,
            names: Vec::new(),
            last: Last::default(),
            level,
        }
    }

    /// Of which cluster version the forms are.
    pub(super) fn level(&self) -> u32 {
        self.level
    }

    /// Goes on in the forms of another level.
    pub(super) fn set_level(&mut self, level: u32) {
        self.level = level;
    }

    /// What was read last of its kind.
    pub(super) fn last(&mut self) -> &mut Last {
        &mut self.last
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Makes sure that nothing is left.
    pub(crate) fn end(&self) -> Result<(), FormError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(FormError::Trailing(left)),
        }
    }

    /// The next bytes, as they are.
    pub(super) fn raw(&mut self, count: usize) -> Result<&'a [u8], FormError> {
        let (head, tail) = self.rest.split_at_checked(count).ok_or(FormError::Short)?;
        self.rest = tail;
        Ok(head)
    }

    /// The next bytes, as an array.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormError> {
        self.raw(N)?.try_into().map_err(|_| FormError::Short)
    }

    /// One byte.
    pub(super) fn byte(&mut self) -> Result<u8, FormError> {
        self.array().map(|[byte]| byte)
    }

    /// A number in its shortest form.
    pub(super) fn number(&mut self) -> Result<u64, FormError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            // The tenth byte has one bit of room.
            if shift == 63 && part > 1 {
                return Err(FormError::Number);
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                let is_shortest = byte != 0 || shift == 0;
                return if is_shortest {
                    Ok(number)
                } else {
                    Err(FormError::Number)
                };
            }
        }
        Err(FormError::Number)
    }

    /// A number that fits a smaller type.
    pub(super) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, FormError> {
        T::try_from(self.number()?).map_err(|_| FormError::Number)
    }

    /// A number that may be below zero.
    pub(super) fn signed(&mut self) -> Result<i64, FormError> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// A number by its distance from the one before.
    pub(super) fn step(&mut self, last: &mut u64) -> Result<u64, FormError> {
        *last = last.wrapping_add(self.signed()?.cast_unsigned());
        Ok(*last)
    }

    /// How many items follow, each of at least this many bytes.
    pub(super) fn count(&mut self, least: usize) -> Result<usize, FormError> {
        let count = self.number()?;
        let left = self.left();
        let fits = |count: &usize| count.checked_mul(least).is_some_and(|bytes| bytes <= left);
        usize::try_from(count)
            .ok()
            .filter(fits)
            .ok_or(FormError::Count { count, left })
    }

    /// Bytes with their length.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], FormError> {
        let count = self.count(1)?;
        self.raw(count)
    }

    /// A text that hardly comes twice.
    pub(super) fn text(&mut self) -> Result<&'a str, FormError> {
        as_text(self.bytes()?)
    }

    /// A text that may come again.
    pub(super) fn name(&mut self) -> Result<&'a str, FormError> {
        let told = self.number()?;
        let number = usize::try_from(told >> 1).map_err(|_| FormError::Number)?;
        if told & 1 == 1 {
            let known = self.names.get(number).copied();
            return known.ok_or(FormError::Value("a name that came before"));
        }
        let name = as_text(self.raw(number)?)?;
        if (1..=LONGEST_NAME).contains(&name.len()) {
            self.names.push(name);
        }
        Ok(name)
    }
}

fn as_text(bytes: &[u8]) -> Result<&str, FormError> {
    std::str::from_utf8(bytes).map_err(|_| FormError::Text)
}
