//! This machine alone: what is plain is neither authenticated nor encrypted, so nothing of it is
//! reachable from another machine.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};

use crate::exit::Failure;

/// Checks that every address behind `HOST:PORT` (with or without `http://`) is this machine's own.
///
/// # Errors
/// It is no address, or one that others can reach.
pub(crate) fn ensure_loopback(address: &str) -> Result<SocketAddr, Failure> {
    let bare = address
        .strip_prefix("http://")
        .unwrap_or(address)
        .trim_end_matches('/');
    let found: Vec<SocketAddr> = bare
        .to_socket_addrs()
        .map(Iterator::collect)
        .unwrap_or_default();
    let Some(first) = found.first() else {
        return Err(Failure::usage(format!("'{address}' is no address"))
            .with_hint("write HOST:PORT; port 0 picks one"));
    };
    if found.iter().all(|address| address.ip().is_loopback()) {
        Ok(*first)
    } else {
        Err(Failure::usage(format!("{address} is not of this machine alone"))
            .with_hint("without certificates, connections are neither authenticated nor encrypted, so it serves and asks on 127.0.0.1 only; `kelson kernel init` founds a cluster of several machines"))
    }
}

/// Where this process reaches its own listener, which may listen everywhere.
pub(crate) fn reachable(listening: SocketAddr) -> SocketAddr {
    let mut address = listening;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_machines_own_addresses_pass() {
        for own in [
            "127.0.0.1:0",
            "http://127.0.0.1:7460",
            "[::1]:7460",
            "localhost:80",
        ] {
            assert!(ensure_loopback(own).is_ok(), "{own}");
        }
        for other in [
            "0.0.0.0:7460",
            "10.0.0.1:7460",
            "[::]:7460",
            "http://192.168.1.1:1",
        ] {
            let error = ensure_loopback(other)
                .map(|_| ())
                .map_err(|failure| failure.to_string());
            assert!(
                error
                    .as_ref()
                    .is_err_and(|text| text.contains("not of this machine")),
                "{other}: {error:?}"
            );
        }
        assert!(ensure_loopback("nonsense").is_err());
    }
}
