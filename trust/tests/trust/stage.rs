//! A CA, a member that listens, and clients of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kelson_model::access::Role;
use kelson_model::time::WallTime;
use kelson_trust::{
    Address, Addresses, Authority, CaBundle, ClientTls, Connection, Dialer, Identity,
    KeyedCertificate, Limits, Listener, MACHINE_LIFE, Peer, Protocol, ServerTls,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(crate) const CLUSTER: &str = "0a1b2c3d-0000-0000-0000-00112233aabb";
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    WallTime(u64::try_from(since.as_millis()).unwrap())
}

/// A year ago.
pub(crate) fn long_ago() -> WallTime {
    WallTime(now().0 - 365 * 24 * 3600 * 1000)
}

pub(crate) fn identity(role: Role, name: &str) -> Identity {
    Identity {
        cluster: CLUSTER.to_owned(),
        role,
        name: name.to_owned(),
    }
}

pub(crate) fn authority() -> Authority {
    Authority::found(CLUSTER, long_ago()).unwrap()
}

pub(crate) fn issue(authority: &Authority, role: Role, name: &str) -> KeyedCertificate {
    issue_at(authority, role, name, now())
}

pub(crate) fn issue_at(
    authority: &Authority,
    role: Role,
    name: &str,
    at: WallTime,
) -> KeyedCertificate {
    let identity = identity(role, name);
    authority.issue(&identity, &[], at, MACHINE_LIFE).unwrap()
}

/// A member that says one byte to everybody whose handshake is over.
pub(crate) struct Stage {
    pub(crate) address: Address,
    pub(crate) tls: ServerTls,
    peers: mpsc::UnboundedReceiver<Peer>,
    work: JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl Stage {
    pub(crate) async fn of(authority: &Authority) -> Self {
        let own = issue(authority, Role::Member, "mbr_1");
        Self::new(&own, &authority.bundle().unwrap(), Limits::default()).await
    }

    pub(crate) async fn new(own: &KeyedCertificate, bundle: &CaBundle, limits: Limits) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::from(tcp.local_addr().unwrap());
        let tls = ServerTls::new(own, bundle).unwrap();
        let mut listener = Listener::secure(tcp, tls.clone(), limits);
        let (tell, peers) = mpsc::unbounded_channel();
        let work = tokio::spawn(async move {
            loop {
                let (mut connection, peer) = listener.accept().await;
                let _ = tell.send(peer);
                tokio::spawn(async move {
                    let _ = connection.write_all(b"k").await;
                    let _ = connection.flush().await;
                    let mut rest = [0; 1];
                    let _ = connection.read(&mut rest).await;
                });
            }
        });
        Self {
            address,
            tls,
            peers,
            work,
        }
    }

    pub(crate) fn dialer(&self, tls: ClientTls) -> Dialer {
        Dialer::secure(Addresses::from(self.address.clone()), tls)
    }

    /// Connects, and hears the one byte that says that both sides believe each other.
    pub(crate) async fn reach(&self, tls: ClientTls) -> Result<Connection, String> {
        let connected = self.dialer(tls).connect().await;
        let (mut connection, _) = connected.map_err(|error| error.to_string())?;
        let mut byte = [0; 1];
        match tokio::time::timeout(DEADLINE, connection.read(&mut byte)).await {
            Ok(Ok(1)) => Ok(connection),
            Ok(Ok(_)) => Err("the connection was closed".to_owned()),
            Ok(Err(error)) => Err(kelson_trust::explain(&error)),
            Err(_) => panic!("nothing within {DEADLINE:?}"),
        }
    }

    /// Who came.
    pub(crate) async fn peer(&mut self) -> Peer {
        let peer = tokio::time::timeout(DEADLINE, self.peers.recv()).await;
        peer.expect("somebody comes in time").unwrap()
    }

    /// Whether somebody came who was not asked for yet.
    pub(crate) fn somebody_came(&mut self) -> bool {
        self.peers.try_recv().is_ok()
    }
}

/// TLS of a client that believes a CA.
pub(crate) fn client(authority: &Authority, own: Option<&KeyedCertificate>) -> ClientTls {
    ClientTls::new(&authority.bundle().unwrap(), own, Protocol::Http2).unwrap()
}
