//! The names that git gives to contents and commits.

use std::fmt;
use std::str::FromStr;

use git2::Oid;
use kelson_model::id::Revision;

const BYTES: usize = 20;

/// Reports a text that is not an object id of 40 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an object id has 40 hexadecimal digits")]
pub struct ParseObjectIdError;

fn parse(text: &str) -> Result<[u8; BYTES], ParseObjectIdError> {
    let digits = text.as_bytes();
    if digits.len() != BYTES * 2 {
        return Err(ParseObjectIdError);
    }
    let mut raw = [0; BYTES];
    for (byte, pair) in raw.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = char::from(*digit).to_digit(16).ok_or(ParseObjectIdError)?;
            *byte = (*byte << 4) | u8::try_from(value).map_err(|_| ParseObjectIdError)?;
        }
    }
    Ok(raw)
}

fn write(raw: &[u8], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    raw.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

/// Names the content of a file: two files with one `BlobId` have the same bytes, in any commit and
/// any repository. It prints as 40 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId([u8; BYTES]);

impl BlobId {
    /// Makes an id from its 20 bytes.
    pub const fn from_bytes(raw: [u8; 20]) -> Self {
        Self(raw)
    }

    /// Returns the 20 bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    pub(super) fn from_oid(oid: Oid) -> Self {
        let mut raw = [0; BYTES];
        for (to, from) in raw.iter_mut().zip(oid.as_bytes()) {
            *to = *from;
        }
        Self(raw)
    }

    pub(super) fn oid(self) -> Result<Oid, git2::Error> {
        Oid::from_bytes(&self.0)
    }
}

impl FromStr for BlobId {
    type Err = ParseObjectIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map(Self)
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(&self.0, out)
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(&self.0, out)
    }
}

/// Returns git's name of a revision.
pub(super) fn oid_of(revision: &Revision) -> Result<Oid, git2::Error> {
    Oid::from_str(revision.as_str())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_id_prints_as_it_was_parsed() {
        let text = "00ff0123456789abcdef0123456789abcdefa0b1";
        assert_eq!(text.parse::<BlobId>().unwrap().to_string(), text);
    }

    #[test]
    fn what_is_not_forty_hex_digits_is_refused() {
        for text in [
            "",
            "00ff",
            "zzff0123456789abcdef0123456789abcdefa0b1",
            "+0ff0123456789abcdef0123456789abcdefa0b1",
        ] {
            assert_eq!(text.parse::<BlobId>(), Err(ParseObjectIdError), "{text}");
        }
    }
}
