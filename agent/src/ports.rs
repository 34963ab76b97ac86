//! Ports of a task: claimed on this machine for as long as the task is held, and free when its
//! program starts.
//!
//! To look whether a port is free is no claim: two agents of one machine may look in the same
//! moment. So the shim binds, for each port, a socket whose name says the port; nobody else can
//! then, and the name is free again when the shim has ended, however it ended. Such names, like
//! ports, belong to a network namespace. Nothing is sent to these sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use kelson_model::agent::PortRange;
use kelson_model::task::MAX_TAKEN_PORTS;
use serde::{Deserialize, Serialize};

/// Linux' number of the state in which a socket listens.
const LISTENS: &str = "0A";
/// How the name of a claim begins; the port follows.
const CLAIM: &str = "kelson/port/";

/// The ports that this agent gives, and the address at which its tasks listen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PortGuard {
    pub(crate) address: String,
    pub(crate) range: PortRange,
}

/// Holds the ports of a task: while this lives, no other shim of the machine gets them.
#[derive(Debug)]
pub(crate) struct PortClaims {
    _sockets: Vec<UnixDatagram>,
}

/// Somebody else has a port of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortsTaken {
    /// For people.
    pub(crate) reason: String,
    /// That port, and all others of the range at which somebody listens or which are claimed: the
    /// kernel need not learn them one by one.
    pub(crate) ports: Vec<u16>,
}

impl PortGuard {
    /// Claims every port of a task, and checks that it can be listened at, before its program is
    /// started: a check over the network would otherwise be answered by a stranger.
    pub(crate) fn claim(&self, ports: &BTreeMap<String, u16>) -> Result<PortClaims, PortsTaken> {
        let mut sockets = Vec::with_capacity(ports.len());
        for (name, port) in ports {
            match claim(*port) {
                Ok(socket) => sockets.push(socket),
                Err(ErrorKind::AddrInUse) => {
                    let reason = format!(
                        "another agent of this machine has given its port '{name}', {port}, to a task"
                    );
                    return Err(self.taken(*port, reason));
                }
                // Where there are no such sockets, the look is all there is.
                Err(_) => {}
            }
            if self.is_in_use(*port) {
                let reason =
                    format!("another program of this machine listens at its port '{name}', {port}");
                return Err(self.taken(*port, reason));
            }
        }
        Ok(PortClaims { _sockets: sockets })
    }

    fn taken(&self, port: u16, reason: String) -> PortsTaken {
        let read = |table: &str| fs::read_to_string(table).unwrap_or_default();
        let mut taken: BTreeSet<u16> = ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .flat_map(|table| listening(&read(table)))
            .chain(claimed(&read("/proc/net/unix")))
            .filter(|port| (self.range.first..=self.range.last).contains(port))
            .take(MAX_TAKEN_PORTS - 1)
            .collect();
        taken.insert(port);
        PortsTaken {
            reason,
            ports: taken.into_iter().collect(),
        }
    }

    fn is_in_use(&self, port: u16) -> bool {
        let own = self
            .address
            .parse()
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let look = |address: IpAddr| {
            let bound = TcpListener::bind((address, port));
            bound.map_err(|error| error.kind())
        };
        match look(own) {
            Ok(_) => false,
            // The address may be one that only others see.
            Err(ErrorKind::AddrNotAvailable) => matches!(
                look(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                Err(ErrorKind::AddrInUse)
            ),
            // Whoever may not bind it here (a port below 1024) says so better himself.
            Err(kind) => kind == ErrorKind::AddrInUse,
        }
    }
}

/// Binds the name of a port.
fn claim(port: u16) -> Result<UnixDatagram, ErrorKind> {
    let bind = || {
        let name = SocketAddr::from_abstract_name(format!("{CLAIM}{port}"))?;
        let socket = UnixDatagram::bind_addr(&name)?;
        socket.shutdown(Shutdown::Both)?;
        Ok(socket)
    };
    bind().map_err(|error: std::io::Error| error.kind())
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

/// The ports that are claimed, by /proc/net/unix, where an abstract name begins with an @.
fn claimed(table: &str) -> Vec<u16> {
    let names = table.lines().filter_map(|line| line.rsplit_once(" @"));
    names
        .filter_map(|(_, name)| name.strip_prefix(CLAIM)?.parse().ok())
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

    fn port_of(listener: &TcpListener) -> u16 {
        listener.local_addr().unwrap().port()
    }

    #[test]
    fn a_port_at_which_somebody_listens_is_taken_and_the_others_are_named_with_it() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let (first, second) = (
                TcpListener::bind(address).unwrap(),
                TcpListener::bind(address).unwrap(),
            );
            let taken = guard().claim(&one(port_of(&first))).unwrap_err();
            assert!(taken.ports.contains(&port_of(&first)), "{taken:?}");
            assert!(taken.ports.contains(&port_of(&second)), "{taken:?}");
            let number = port_of(&first);
            drop(first);
            guard().claim(&one(number)).unwrap();
        }
    }

    #[test]
    fn a_port_is_one_claimants_until_it_lets_go_also_while_nobody_listens() {
        let (first, second) = (
            TcpListener::bind("127.0.0.1:0").unwrap(),
            TcpListener::bind("127.0.0.1:0").unwrap(),
        );
        let ports = [port_of(&first), port_of(&second)];
        drop((first, second));
        let [held, other] = ports.map(|port| guard().claim(&one(port)).unwrap());
        let [first, _] = ports;
        let taken = guard().claim(&one(first)).unwrap_err();
        assert!(
            ports.iter().all(|port| taken.ports.contains(port)),
            "{taken:?}"
        );
        drop((held, other));
        for port in ports {
            guard().claim(&one(port)).unwrap();
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
        guard().claim(&one(address.port())).unwrap();
    }

    #[test]
    fn only_who_listens_or_claims_is_read_from_a_table() {
        let table = "  sl  local_address rem_address   st\n   0: 0100007F:4E20 00000000:0000 0A 0:0\n   1: 0100007F:4E21 0100007F:0050 01 0:0\n";
        assert_eq!(listening(table), [20_000]);
        let table = "Num RefCount Protocol Flags Type St Inode Path\n0: 2 0 0 0002 01 7 @kelson/port/20000\n0: 2 0 0 0002 01 8 @other/20001\n0: 2 0 0 0001 01 9 /run/kelson/port/20002\n";
        assert_eq!(claimed(table), [20_000]);
    }
}
