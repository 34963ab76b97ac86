//! Which kernel a client talks to.

use std::fmt;
use std::str::FromStr;

use crate::dev_directory::{self, Ready};
use crate::exit::Failure;

/// Where a kernel listens when nobody says otherwise.
pub(crate) const DEFAULT: &str = "127.0.0.1:7460";

/// `HOST:PORT` of a kernel's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    authority: String,
}

impl Address {
    /// The address for the current directory: what `--addr` or KELSON_ADDR says, else that of the
    /// living `dev` named by KELSON_DATA_DIR, else that of the living `dev` whose repository holds
    /// the directory, else [`DEFAULT`].
    ///
    /// # Errors
    /// When the given text is no address.
    pub(crate) fn resolve(given: Option<&str>) -> Result<Self, Failure> {
        match given.filter(|text| !text.is_empty()) {
            Some(text) => text.parse(),
            None => discovered().as_deref().unwrap_or(DEFAULT).parse(),
        }
    }

    /// `HOST:PORT`.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }
}

fn discovered() -> Option<String> {
    if let Some(folder) = std::env::var_os("KELSON_DATA_DIR").filter(|folder| !folder.is_empty())
        && let Some(ready) = dev_directory::ready_in(folder.as_ref())
    {
        return Some(ready.address);
    }
    let state_home = dev_directory::state_home().ok()?;
    let here = std::env::current_dir().ok()?.canonicalize().ok()?;
    dev_directory::ready_for(&state_home, &here).map(|ready| ready.address)
}

/// The living `dev` that listens at `address`, where its repository holds the current directory.
pub(crate) fn dev_here(address: &Address) -> Option<Ready> {
    let here = std::env::current_dir().ok()?.canonicalize().ok()?;
    let named = std::env::var_os("KELSON_DATA_DIR")
        .and_then(|folder| dev_directory::ready_in(folder.as_ref()));
    let found = || dev_directory::ready_for(&dev_directory::state_home().ok()?, &here);
    let is_it = |ready: &Ready| {
        here.starts_with(&ready.repository)
            && ready
                .address
                .parse::<Address>()
                .is_ok_and(|its| its == *address)
    };
    named.filter(is_it).or_else(|| found().filter(is_it))
}

impl From<std::net::SocketAddr> for Address {
    fn from(address: std::net::SocketAddr) -> Self {
        Self {
            authority: address.to_string(),
        }
    }
}

impl FromStr for Address {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::usage(format!("'{text}' is no address: {why}")).with_hint(format!(
                "write HOST:PORT or http://HOST:PORT, such as {DEFAULT}"
            ))
        };
        if text.starts_with("https://") {
            return Err(wrong("the kernel speaks http here"));
        }
        let authority = text
            .strip_prefix("http://")
            .unwrap_or(text)
            .trim_end_matches('/');
        let (host, port) = authority
            .rsplit_once(':')
            .ok_or_else(|| wrong("it names no port"))?;
        let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
        let is_host = !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
        if !is_port {
            return Err(wrong("its port is no number from 1 to 65535"));
        }
        if !is_host {
            return Err(wrong("it names no host"));
        }
        Ok(Self {
            authority: authority.to_owned(),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_address_may_be_written_with_and_without_http() {
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
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, why) in [
            ("localhost", "names no port"),
            ("localhost:0", "no number from 1 to 65535"),
            ("localhost:http", "no number from 1 to 65535"),
            ("https://localhost:1", "speaks http"),
            (":80", "names no host"),
            ("a b:80", "names no host"),
        ] {
            let failure = text.parse::<Address>().unwrap_err();
            assert!(failure.message.contains(why), "{text}: {failure}");
            assert_eq!(failure.exit, crate::exit::Exit::Usage);
        }
    }

    #[test]
    fn what_is_given_wins() {
        let given = Address::resolve(Some("10.0.0.1:1")).unwrap();
        assert_eq!(given.authority(), "10.0.0.1:1");
    }
}
