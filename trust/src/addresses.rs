//! Addresses of members: one, or several that are tried in turn.

use std::fmt;
use std::str::FromStr;

/// Most addresses of one list.
const MAX_ADDRESSES: usize = 16;
const MAX_HOST: usize = 253;

/// `HOST:PORT` of a member.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    authority: String,
    port: u16,
}

impl Address {
    /// `HOST:PORT`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// `HOST`, without the brackets of an address of IPv6.
    pub fn host(&self) -> &str {
        let host = self.authority.rsplit_once(':').map_or("", |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// `PORT`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it names this machine alone by what it says: `localhost` or an address of loopback.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

/// A text that is no address, or no list of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no address: {why}")]
pub struct ParseAddressError {
    text: String,
    why: &'static str,
}

impl FromStr for Address {
    type Err = ParseAddressError;

    /// Reads `HOST:PORT`, also with `http://` or `https://` before it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |why| ParseAddressError {
            text: text.chars().take(80).collect(),
            why,
        };
        let bare = text.trim();
        let bare = bare
            .strip_prefix("http://")
            .or_else(|| bare.strip_prefix("https://"))
            .unwrap_or(bare)
            .trim_end_matches('/');
        let (host, port) = bare
            .rsplit_once(':')
            .ok_or_else(|| wrong("it names no port"))?;
        let port = port
            .parse::<u16>()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| wrong("its port is no number from 1 to 65535"))?;
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if host.is_empty() || host.len() > MAX_HOST || !host.bytes().all(is_fine) {
            return Err(wrong("it names no host"));
        }
        Ok(Self {
            authority: format!("{host}:{port}"),
            port,
        })
    }
}

impl From<std::net::SocketAddr> for Address {
    fn from(address: std::net::SocketAddr) -> Self {
        Self {
            authority: address.to_string(),
            port: address.port(),
        }
    }
}

/// One address or more, each once, in the order in which they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses(Vec<Address>);

impl Addresses {
    /// Takes addresses.
    ///
    /// # Errors
    /// There is none or too many, or one is none.
    pub fn new(texts: &[impl AsRef<str>]) -> Result<Self, ParseAddressError> {
        let mut addresses: Vec<Address> = Vec::new();
        for text in texts {
            let address = text.as_ref().parse()?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let wrong = |why| ParseAddressError {
            text: String::new(),
            why,
        };
        match addresses.len() {
            0 => Err(wrong("it is empty")),
            1..=MAX_ADDRESSES => Ok(Self(addresses)),
            _ => Err(wrong("at most 16 addresses are tried")),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Address> {
        self.0.iter()
    }

    /// The first.
    pub fn first(&self) -> Option<&Address> {
        self.0.first()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, at: usize) -> Option<&Address> {
        self.0.get(at)
    }
}

impl From<Address> for Addresses {
    fn from(address: Address) -> Self {
        Self(vec![address])
    }
}

impl FromStr for Addresses {
    type Err = ParseAddressError;

    /// Reads `A,B,C`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .collect();
        Self::new(&parts).map_err(|error| ParseAddressError {
            text: text.chars().take(80).collect(),
            ..error
        })
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, address) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{address}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_list_holds_each_address_once_in_order() {
        let list: Addresses = "b:2, http://a:1/,b:2,[::1]:3".parse().unwrap();
        assert_eq!(list.to_string(), "b:2,a:1,[::1]:3");
        let last = list.iter().last().unwrap();
        assert_eq!((last.host(), last.port()), ("::1", 3));
        assert!(last.is_loopback() && !list.first().unwrap().is_loopback());
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, why) in [
            ("", "it is empty"),
            ("a", "names no port"),
            ("a:0", "no number from 1 to 65535"),
            (":1", "names no host"),
            ("a:1,b c:2", "names no host"),
        ] {
            let error = text.parse::<Addresses>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let many: Vec<String> = (1..=17).map(|port| format!("a:{port}")).collect();
        assert!(many.join(",").parse::<Addresses>().is_err());
    }
}
