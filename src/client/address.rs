//! An address of a kernel.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::dev_directory::{self, Ready};
use crate::exit::Failure;

/// Where a kernel listens when nobody says otherwise.
pub(crate) const DEFAULT: &str = "127.0.0.1:7460";

/// `HOST:PORT` of a kernel's API.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    authority: String,
    /// The process id and data directory of the `dev` that it was found by.
    dev: Option<(u32, PathBuf)>,
}

impl Address {
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

    /// The process id of the `dev` that this was found by, while it lives and says that it is
    /// ready: it starts a kernel that has died again.
    pub(crate) fn living_dev(&self) -> Option<u32> {
        let (pid, data_dir) = self.dev.as_ref()?;
        dev_directory::ready_in(data_dir)
            .is_some_and(|ready| ready.pid == *pid)
            .then_some(*pid)
    }

    /// `HOST:PORT`.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }
}

impl From<std::net::SocketAddr> for Address {
    fn from(address: std::net::SocketAddr) -> Self {
        Self {
            authority: address.to_string(),
            dev: None,
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
            dev: None,
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
}
