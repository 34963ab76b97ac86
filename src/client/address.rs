//! Where a kernel is, and how it is spoken to.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use kelson_model::id::Digest;
use kelson_model::time::WallTime;
use kelson_trust::{Addresses, ClientTls, Credentials, Dialer, Proof, Protocol, Secret};

use crate::dev_directory::{self, Ready};
use crate::exit::Failure;

/// Where a kernel listens when nobody says otherwise.
pub(crate) const DEFAULT: &str = "127.0.0.1:7460";

/// The API of a kernel: the addresses of its members, and whether they are spoken to in plain or
/// over TLS.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    dialer: Dialer,
    /// Goes with each request.
    bearer: Option<Secret>,
    /// The process id and data directory of the `dev` that it was found by.
    dev: Option<(u32, PathBuf)>,
}

impl Address {
    fn plain(addresses: Addresses) -> Self {
        Self {
            dialer: Dialer::plain(addresses),
            bearer: None,
            dev: None,
        }
    }

    /// That of a `dev` that is ready.
    ///
    /// # Errors
    /// When what it has said is no address.
    pub(crate) fn of_dev(ready: &Ready) -> Result<Self, Failure> {
        let address: Self = ready.address.parse()?;
        Ok(Self {
            dev: Some((ready.pid, ready.data_dir.clone())),
            ..address
        })
    }

    /// That of the cluster which credentials are for, at the addresses in them, or at `others`.
    ///
    /// # Errors
    /// When their certificate has expired, or TLS cannot be spoken with it.
    pub(crate) fn secure(
        credentials: &Credentials,
        file: &Path,
        others: Option<Addresses>,
    ) -> Result<Self, Failure> {
        let unusable = |why: String| {
            Failure::usage(format!("the credentials in {} {why}", file.display()))
                .with_hint("ask an administrator of the cluster for new ones")
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
        if credentials.has_expired(WallTime(now)) {
            return Err(unusable("have expired".to_owned()));
        }
        let (certificate, bearer) = match &credentials.proof {
            Proof::Certificate(certificate) => (Some(&**certificate), None),
            Proof::Token(token) => (None, Some(token.to_line())),
        };
        let tls = ClientTls::new(&credentials.bundle, certificate, Protocol::Http1)
            .map_err(|error| unusable(format!("cannot be used: {error}")))?;
        let addresses = others.unwrap_or_else(|| credentials.addresses.clone());
        Ok(Self {
            dialer: Dialer::secure(addresses, tls),
            bearer,
            dev: None,
        })
    }

    /// That of the cluster whose CA has this fingerprint; who asks is said by a token in what is
    /// asked, or nobody.
    ///
    /// # Errors
    /// TLS cannot be spoken.
    pub(crate) fn pinned(addresses: Addresses, authority: &Digest) -> Result<Self, Failure> {
        let tls = ClientTls::pinned(authority, Protocol::Http1)
            .map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Self {
            dialer: Dialer::secure(addresses, tls),
            bearer: None,
            dev: None,
        })
    }

    /// The process id of the `dev` that this was found by, while it lives and says that it is
    /// ready: it starts a kernel that has died again.
    pub(crate) fn living_dev(&self) -> Option<u32> {
        let (pid, data_dir) = self.dev.as_ref()?;
        dev_directory::ready_in(data_dir)
            .is_some_and(|ready| ready.pid == *pid)
            .then_some(*pid)
    }

    /// `HOST:PORT` of the member that is asked first.
    pub(crate) fn authority(&self) -> &str {
        let preferred = self.dialer.preferred();
        preferred.map_or(DEFAULT, kelson_trust::Address::authority)
    }

    /// The way there.
    pub(super) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// The token that goes with each request, where one is needed.
    pub(super) fn bearer(&self) -> Option<&Secret> {
        self.bearer.as_ref()
    }
}

impl From<std::net::SocketAddr> for Address {
    fn from(address: std::net::SocketAddr) -> Self {
        Self::plain(Addresses::from(kelson_trust::Address::from(address)))
    }
}

/// Reads addresses as they are typed: one, or several with commas between.
///
/// # Errors
/// When one is none.
pub(crate) fn parse_addresses(text: &str) -> Result<Addresses, Failure> {
    text.parse()
        .map_err(|error: kelson_trust::ParseAddressError| {
            Failure::usage(error.to_string()).with_hint(format!(
                "write HOST:PORT, such as {DEFAULT}, or several with commas between"
            ))
        })
}

impl FromStr for Address {
    type Err = Failure;

    /// Reads addresses that are spoken to in plain.
    fn from_str(text: &str) -> Result<Self, Failure> {
        if text.trim_start().starts_with("https://") {
            return Err(Failure::usage(format!("{text} wants credentials"))
                .with_hint("name their file with --credentials or KELSON_CREDENTIALS"));
        }
        parse_addresses(text).map(Self::plain)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.dialer.scheme(), self.dialer.addresses())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_address_may_be_written_with_and_without_http_and_there_may_be_several() {
        for text in [
            "127.0.0.1:7460",
            "http://127.0.0.1:7460",
            "http://127.0.0.1:7460/",
        ] {
            assert_eq!(
                text.parse::<Address>().unwrap().to_string(),
                "http://127.0.0.1:7460"
            );
        }
        assert_eq!(
            "[::1]:80".parse::<Address>().unwrap().authority(),
            "[::1]:80"
        );
        let several = "127.0.0.1:1,localhost:2".parse::<Address>().unwrap();
        assert_eq!(several.to_string(), "http://127.0.0.1:1,localhost:2");
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, why) in [
            ("localhost", "names no port"),
            ("localhost:0", "no number from 1 to 65535"),
            ("localhost:http", "no number from 1 to 65535"),
            ("https://localhost:1", "wants credentials"),
            (":80", "names no host"),
            ("a b:80", "names no host"),
            ("localhost:1,b", "names no port"),
        ] {
            let failure = text.parse::<Address>().unwrap_err();
            assert!(failure.message.contains(why), "{text}: {failure}");
            assert_eq!(failure.exit, crate::exit::Exit::Usage);
        }
    }
}
