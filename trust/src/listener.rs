//! The listener of a member: one port for everybody, handshakes side by side and within limits.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use crate::connection::Connection;
use crate::identity::Certified;
use crate::tls::{ServerTls, explain};

/// After an error of the system that passes, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// How much a listener takes on itself for whoever has not shown who it is.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A handshake that is not over after this time is given up.
    pub handshake: Duration,
    /// Handshakes that may be under way at once.
    pub handshakes: usize,
    /// Where as many are, the oldest is given up for a new one after this time.
    pub turn: Duration,
    /// Connections that may be open without a certificate.
    pub strangers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            handshakes: 1024,
            turn: Duration::from_secs(1),
            strangers: 1024,
        }
    }
}

/// Who is at the other end of a connection that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// From where it came.
    pub address: SocketAddr,
    /// Whether the connection is encrypted.
    pub is_secure: bool,
    /// Who it is, where it has shown a certificate.
    pub certified: Option<Certified>,
}

/// Takes connections, over TLS where it was made with it.
///
/// *Guarantees*: a peer that is slow, silent or speaks something else delays nobody else for longer
/// than [`Limits::turn`], and costs a bounded share of memory. An error never ends it.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    tls: Option<ServerTls>,
    limits: Limits,
    strangers: Arc<Semaphore>,
    handshakes: JoinSet<Option<(Connection, Peer)>>,
    /// The handshakes under way, oldest first, and some that are over.
    ages: VecDeque<(Instant, AbortHandle)>,
}

/// A listener that serves in plain and that other machines can reach.
#[derive(Debug, thiserror::Error)]
#[error("{0} can be reached by other machines, and connections there have to be encrypted")]
pub struct PlainOutsideError(pub SocketAddr);

impl Listener {
    /// Serves TLS.
    pub fn secure(tcp: TcpListener, tls: ServerTls, limits: Limits) -> Self {
        Self::new(tcp, Some(tls), limits)
    }

    /// Serves in plain, on this machine alone.
    ///
    /// # Errors
    /// Other machines can reach it, or it has no address.
    pub fn plain(tcp: TcpListener) -> io::Result<Self> {
        let address = tcp.local_addr()?;
        if !address.ip().is_loopback() {
            return Err(io::Error::other(PlainOutsideError(address)));
        }
        Ok(Self::new(tcp, None, Limits::default()))
    }

    fn new(tcp: TcpListener, tls: Option<ServerTls>, limits: Limits) -> Self {
        Self {
            tcp,
            tls,
            limits,
            strangers: Arc::new(Semaphore::new(limits.strangers)),
            handshakes: JoinSet::new(),
            ages: VecDeque::new(),
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Takes the next connection whose handshake is over. May be dropped and called again at any
    /// time.
    pub async fn accept(&mut self) -> (Connection, Peer) {
        loop {
            self.tidy();
            let is_full = self.handshakes.len() >= self.limits.handshakes;
            let turn = self
                .ages
                .front()
                .map(|(begun, _)| *begun + self.limits.turn);
            tokio::select! {
                Some(over) = self.handshakes.join_next(), if !self.handshakes.is_empty() => {
                    if let Ok(Some(taken)) = over {
                        return taken;
                    }
                }
                accepted = self.tcp.accept(), if !is_full => match accepted {
                    Ok((stream, address)) => {
                        if let Some(taken) = self.begin(stream, address) {
                            return taken;
                        }
                    }
                    Err(error) => rest_after(&error).await,
                },
                () = sleep_until(turn.unwrap_or_else(Instant::now)), if is_full => {
                    if let Some((_, oldest)) = self.ages.pop_front() {
                        oldest.abort();
                    }
                }
            }
        }
    }

    /// Forgets the oldest handshakes that are over.
    fn tidy(&mut self) {
        while self.ages.front().is_some_and(|(_, one)| one.is_finished()) {
            self.ages.pop_front();
        }
        // Those that are over behind one that is not.
        if self.ages.len() > self.limits.handshakes.saturating_mul(2) {
            self.ages.retain(|(_, one)| !one.is_finished());
        }
    }

    /// Begins with a connection; gives it back at once where it is plain.
    fn begin(&mut self, stream: TcpStream, address: SocketAddr) -> Option<(Connection, Peer)> {
        // A small answer must not wait for the acknowledgement of the one before: that costs 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection sends its answers late");
        }
        let Some(tls) = &self.tls else {
            let peer = Peer {
                address,
                is_secure: false,
                certified: None,
            };
            return Some((Connection::plain(stream), peer));
        };
        let acceptor = TlsAcceptor::from(tls.current());
        let strangers = Arc::clone(&self.strangers);
        let patience = self.limits.handshake;
        let work = self.handshakes.spawn(async move {
            match timeout(patience, shake(acceptor, stream, address, strangers)).await {
                Ok(Ok(taken)) => Some(taken),
                Ok(Err(why)) => {
                    tracing::debug!(%address, why, "a handshake has failed");
                    None
                }
                Err(_) => {
                    tracing::debug!(%address, "a handshake has taken too long");
                    None
                }
            }
        });
        self.ages.push_back((Instant::now(), work));
        None
    }
}

async fn shake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    strangers: Arc<Semaphore>,
) -> Result<(Connection, Peer), String> {
    let accepted = acceptor.accept(stream).await;
    let stream = accepted.map_err(|error| explain(&error))?;
    let shown = stream.get_ref().1.peer_certificates();
    let certified = shown
        .and_then(|chain| chain.first())
        .map(|own| Certified::read(own))
        .transpose()
        .map_err(|error| error.to_string())?;
    let place = match &certified {
        Some(_) => None,
        None => Some(
            strangers
                .try_acquire_owned()
                .map_err(|_| "too many connections have shown no certificate".to_owned())?,
        ),
    };
    let peer = Peer {
        address,
        is_secure: true,
        certified,
    };
    Ok((Connection::secure(stream, place), peer))
}

/// What a connection has done that is gone already is no reason to wait; anything else is the
/// system's, and passes.
async fn rest_after(error: &io::Error) {
    let is_of_the_peer = matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    );
    if !is_of_the_peer {
        tracing::warn!(%error, "a connection could not be taken");
        sleep(PAUSE).await;
    }
}
