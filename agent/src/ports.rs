//! Whether the ports of a task are free on this machine, whoever may use them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, TcpListener};

use kelson_model::agent::PortRange;
use kelson_model::task::MAX_TAKEN_PORTS;

/// Linux' number of the state in which a socket listens.
const LISTENS: &str = "0A";

/// The ports that this agent gives, and the address at which its tasks listen.
#[derive(Debug, Clone)]
pub(crate) struct PortGuard {
    pub(crate) address: String,
    pub(crate) range: PortRange,
}

/// Somebody else listens at a port of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortsTaken {
    /// For people.
    pub(crate) reason: String,
    /// That port, and all others of the range at which somebody listens: the kernel need not learn
    /// them one by one.
    pub(crate) ports: Vec<u16>,
}

impl PortGuard {
    /// Checks that every port of a task can be listened at, before its program is started: a check
    /// over the network would otherwise be answered by a stranger. Blocks for a moment.
    pub(crate) fn ensure_free(&self, ports: &BTreeMap<String, u16>) -> Result<(), PortsTaken> {
        let Some((name, port)) = ports.iter().find(|(_, port)| self.is_taken(**port)) else {
            return Ok(());
        };
        let mut taken: BTreeSet<u16> = ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .flat_map(|table| listening(&fs::read_to_string(table).unwrap_or_default()))
            .filter(|port| (self.range.first..=self.range.last).contains(port))
            .take(MAX_TAKEN_PORTS - 1)
            .collect();
        taken.insert(*port);
        Err(PortsTaken {
            reason: format!("another program of this machine listens at its port '{name}', {port}"),
            ports: taken.into_iter().collect(),
        })
    }

    fn is_taken(&self, port: u16) -> bool {
        let own = self
            .address
            .parse()
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let is_in_use = |address: IpAddr| {
            let bound = TcpListener::bind((address, port));
            bound.map_err(|error| error.kind())
        };
        match is_in_use(own) {
            Ok(_) => false,
            // The address may be one that only others see.
            Err(ErrorKind::AddrNotAvailable) => matches!(
                is_in_use(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                Err(ErrorKind::AddrInUse)
            ),
            // Whoever may not bind it here (a port below 1024) says so better himself.
            Err(kind) => kind == ErrorKind::AddrInUse,
        }
    }
}

/// The ports at which somebody listens, by a table of /proc/net.
fn listening(table: &str) -> Vec<u16> {
    let lines = table.lines().skip(1);
    lines
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (local, state) = (fields.next()?, fields.nth(1)?);
            let port = local.rsplit_once(':')?.1;
            (state == LISTENS).then(|| u16::from_str_radix(port, 16).ok())?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn guard() -> PortGuard {
        PortGuard {
            address: "127.0.0.1".to_owned(),
            range: PortRange {
                first: 1,
                last: 65_535,
            },
        }
    }

    fn one(port: u16) -> BTreeMap<String, u16> {
        [("http".to_owned(), port)].into_iter().collect()
    }

    #[test]
    fn a_port_at_which_somebody_listens_is_taken_and_the_others_are_named_with_it() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let (first, second) = (
                TcpListener::bind(address).unwrap(),
                TcpListener::bind(address).unwrap(),
            );
            let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
            let taken = guard().ensure_free(&one(port(&first))).unwrap_err();
            assert!(taken.ports.contains(&port(&first)), "{taken:?}");
            assert!(taken.ports.contains(&port(&second)), "{taken:?}");
            let number = port(&first);
            drop(first);
            guard().ensure_free(&one(number)).unwrap();
        }
    }

    #[test]
    fn a_connection_that_has_just_ended_does_not_take_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        // The end that is closed first waits for a while.
        drop(listener.accept().unwrap());
        drop((client, listener));
        guard().ensure_free(&one(address.port())).unwrap();
    }

    #[test]
    fn only_who_listens_is_read_from_a_table() {
        let table = "  sl  local_address rem_address   st\n   0: 0100007F:4E20 00000000:0000 0A 0:0\n   1: 0100007F:4E21 0100007F:0050 01 0:0\n";
        assert_eq!(listening(table), [20_000]);
    }
}
