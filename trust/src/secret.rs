//! Texts that nobody may see: they show nothing of themselves and are wiped when they go.

use std::fmt;

use rustix::rand::{GetRandomFlags, getrandom};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::error::TrustError;

/// A secret text: a key in PEM, or the secret of a token.
///
/// *Guarantees*: `Debug` shows nothing of it, it has no `Display`, and its memory is wiped when it
/// is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// A new one of `N` random bytes, as hex digits.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn random<const N: usize>() -> Result<Self, TrustError> {
        let bytes = Zeroizing::new(random_bytes::<N>()?);
        Ok(Self(Zeroizing::new(hex(bytes.as_ref()))))
    }

    /// The text itself, for where it has to go; never for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Secret {
    /// Takes the same time wherever the two differ.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Random bytes of the system.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], TrustError> {
    let mut bytes = [0_u8; N];
    let mut filled = 0_usize;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let more = getrandom(rest, GetRandomFlags::empty())
            .map_err(|error| TrustError::Random(error.into()))?;
        filled = filled.saturating_add(more);
    }
    Ok(bytes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        text.push_str(&format!("{byte:02x}"));
        text
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_secret_shows_nothing_of_itself() {
        let secret = Secret::random::<20>().unwrap();
        assert_eq!(
            format!("{secret:?} {:?}", Some(&secret)),
            "(secret) Some((secret))"
        );
        assert_eq!(secret.expose().len(), 40);
        assert_ne!(secret, Secret::random::<20>().unwrap());
        assert_eq!(secret, Secret::new(secret.expose()));
    }
}
