//! Tokens: one line that lets a machine join or a person in.

use std::fmt;
use std::str::FromStr;

use kelson_model::access::Role;
use kelson_model::id::{Digest, TokenId};

use crate::error::TrustError;
use crate::secret::Secret;

/// Random bytes of a token's secret.
const SECRET_BYTES: usize = 20;
const PREFIX: &str = "kjt_";
/// Longest line that is read.
const MAX_LINE: usize = 256;

/// A token: which one it is in the state of the cluster, what it is for, its secret, and the CA of
/// the cluster, so that whoever has it knows whom to believe.
///
/// Its line is `kjt_7.member.SECRET.FINGERPRINT`.
///
/// *Guarantees*: `Debug` shows nothing of the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its number in the state.
    pub id: TokenId,
    /// What whoever shows it becomes.
    pub role: Role,
    /// The fingerprint of the CA.
    pub authority: Digest,
    secret: Secret,
}

impl Token {
    /// A new secret for a token. What the cluster keeps of it is its [`hash_of`].
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn new_secret() -> Result<Secret, TrustError> {
        Secret::random::<SECRET_BYTES>()
    }

    /// Puts a token together.
    pub fn new(id: TokenId, role: Role, secret: Secret, authority: Digest) -> Self {
        Self {
            id,
            role,
            authority,
            secret,
        }
    }

    /// The hash of its secret, which is all that the cluster keeps.
    pub fn hash(&self) -> Digest {
        hash_of(&self.secret)
    }

    /// The line, for whoever may have the secret.
    pub fn to_line(&self) -> Secret {
        Secret::new(format!(
            "{PREFIX}{}.{}.{}.{}",
            self.id.0,
            self.role,
            self.secret.expose(),
            self.authority.hex()
        ))
    }
}

/// The hash of a token's secret. The secret is random and long, so that a plain hash keeps it.
pub fn hash_of(secret: &Secret) -> Digest {
    Digest::of(secret.expose().as_bytes())
}

/// Whether two hashes are the same; takes the same time wherever they differ.
pub fn is_same_hash(one: &Digest, other: &Digest) -> bool {
    use subtle::ConstantTimeEq as _;
    one.hex().as_bytes().ct_eq(other.hex().as_bytes()).into()
}

/// A text that is no token; it says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseTokenError;

impl fmt::Display for ParseTokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is no token: one is a single line that begins with kjt_")
    }
}

impl std::error::Error for ParseTokenError {}

impl FromStr for Token {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.len() > MAX_LINE {
            return Err(ParseTokenError);
        }
        let rest = text.strip_prefix(PREFIX).ok_or(ParseTokenError)?;
        let parts: Vec<&str> = rest.split('.').collect();
        let [id, role, secret, authority] = parts.as_slice() else {
            return Err(ParseTokenError);
        };
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if secret.len() != 2 * SECRET_BYTES || !secret.bytes().all(is_hex) {
            return Err(ParseTokenError);
        }
        Ok(Self {
            id: TokenId(id.parse().map_err(|_| ParseTokenError)?),
            role: role.parse().map_err(|_| ParseTokenError)?,
            authority: format!("sha256:{authority}")
                .parse()
                .map_err(|_| ParseTokenError)?,
            secret: Secret::new(*secret),
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn token() -> Token {
        let secret = Token::new_secret().unwrap();
        Token::new(TokenId(7), Role::Agent, secret, Digest::of(b"ca"))
    }

    #[test]
    fn a_token_is_one_line_that_reads_back_and_shows_no_secret() {
        let token = token();
        let line = token.to_line();
        assert!(line.expose().starts_with("kjt_7.agent."));
        assert!(!line.expose().contains(char::is_whitespace));
        let read: Token = format!(" {}\n", line.expose()).parse().unwrap();
        assert_eq!(read, token);
        assert!(is_same_hash(&read.hash(), &token.hash()));
        let shown = format!("{token:?}");
        assert!(!shown.contains(token.secret.expose()), "{shown}");
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_repeated() {
        let line = token().to_line();
        let line = line.expose();
        let without_end = line.get(..line.len() - 1).unwrap();
        for text in [
            "",
            "kjt_",
            "kjt_7.agent.ab.cd",
            without_end,
            &line.replace("agent", "root"),
        ] {
            assert_eq!(text.parse::<Token>(), Err(ParseTokenError), "{text}");
        }
    }
}
