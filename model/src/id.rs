//! Ids: newtypes that print with a short prefix, and the digests and revisions that name content.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text was not the id, digest or revision that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {wanted}")]
pub struct ParseIdError {
    /// The text as it was given, cut at 80 characters.
    pub text: String,
    /// What was asked for, with an example.
    pub wanted: &'static str,
}

impl ParseIdError {
    fn new(text: &str, wanted: &'static str) -> Self {
        Self {
            text: text.chars().take(80).collect(),
            wanted,
        }
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $wanted:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.strip_prefix($prefix)
                    .and_then(|digits| digits.parse().ok())
                    .map(Self)
                    .ok_or_else(|| ParseIdError::new(text, $wanted))
            }
        }
    };
}

id!(/// Names one task for ever; a number is never used twice.
    TaskId, "tsk_", "a task id such as tsk_1");
id!(/// Names one agent for ever.
    AgentId, "agt_", "an agent id such as agt_1");
id!(/// Names one token, by which a machine joins or a person is let in, for ever.
    TokenId, "tok_", "a token id such as tok_1");
id!(/// Names one member of the kernel for ever; a number is never used twice.
    MemberId, "mbr_", "a member id such as mbr_1");
id!(/// Names one workload (an object of a framework's kind) from its creation to its removal; a re-created object gets a new one.
    WorkloadId, "wkl_", "a workload id such as wkl_1");

/// The index of an entry in the replicated log, and so of a state.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Index(pub u64);

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Lower-case hex digits.
fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves
        .filter_map(|half| DIGITS.get(usize::from(half)))
        .collect()
}

/// The bytes of as many hex digits as there are.
fn of_hex<const N: usize>(hex: &str) -> [u8; N] {
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        for digit in pair {
            let digit = char::from(*digit).to_digit(16).unwrap_or_default();
            *byte = *byte << 4 | u8::try_from(digit).unwrap_or_default();
        }
    }
    bytes
}

/// The sha256 of some content, 64 lower-case hex digits; prints as `sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// Hashes `content`.
    pub fn of(content: &[u8]) -> Self {
        let mut digester = Digester::default();
        digester.update(content);
        digester.finish()
    }

    /// The 64 hex digits, without the `sha256:` in front.
    pub fn hex(&self) -> &str {
        &self.0
    }

    /// The hash itself.
    pub fn to_bytes(&self) -> [u8; 32] {
        of_hex(&self.0)
    }

    /// The digest of this hash.
    pub fn from_bytes(hash: &[u8; 32]) -> Self {
        Self(to_hex(hash))
    }
}

/// Hashes content that comes in pieces.
#[derive(Debug, Clone, Default)]
pub struct Digester(sha2::Sha256);

impl Digester {
    /// Adds a piece.
    pub fn update(&mut self, piece: &[u8]) {
        sha2::Digest::update(&mut self.0, piece);
    }

    /// The digest of all pieces, one after the other.
    pub fn finish(self) -> Digest {
        Digest(to_hex(&sha2::Digest::finalize(self.0)))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl FromStr for Digest {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("sha256:") {
            Some(hex) if hex.len() == 64 && is_lower_hex(hex) => Ok(Self(hex.to_owned())),
            _ => Err(ParseIdError::new(
                text,
                "a digest: sha256: and 64 lower-case hex digits",
            )),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// A commit id: 40 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision(String);

impl Revision {
    /// The first seven digits, as people write them.
    pub fn short(&self) -> &str {
        self.0.get(..7).unwrap_or(&self.0)
    }

    /// All 40 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id itself.
    pub fn to_bytes(&self) -> [u8; 20] {
        of_hex(&self.0)
    }

    /// The revision of this id.
    pub fn from_bytes(id: &[u8; 20]) -> Self {
        Self(to_hex(id))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Revision {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == 40 && is_lower_hex(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseIdError::new(
                text,
                "a revision of 40 lower-case hex digits",
            ))
        }
    }
}

impl TryFrom<String> for Revision {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> Self {
        revision.0
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn ids_print_with_a_prefix_and_parse_back() {
        assert_eq!(TaskId(7).to_string(), "tsk_7");
        assert_eq!("tsk_7".parse::<TaskId>().unwrap(), TaskId(7));
        assert!("agt_7".parse::<TaskId>().is_err());
    }

    #[test]
    fn digest_of_nothing_is_the_known_one() {
        let known = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), known);
        assert_eq!(known.parse::<Digest>().unwrap(), Digest::of(b""));
    }

    #[test]
    fn digests_and_revisions_are_the_same_as_bytes() {
        let digest = Digest::of(b"");
        let bytes = digest.to_bytes();
        assert_eq!((bytes.first(), bytes.last()), (Some(&0xe3), Some(&0x55)));
        assert_eq!(Digest::from_bytes(&bytes), digest);
        let revision: Revision = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
        assert_eq!(Revision::from_bytes(&revision.to_bytes()), revision);
    }
}
