//! Dialling: one way to a cluster, for the command line, agents, the reconciler and members.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::addresses::{Address, Addresses};
use crate::connection::Connection;
use crate::identity::Certified;
use crate::tls::{ClientTls, explain};

/// How long one address may take to answer a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// How long it may take for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Why an address was of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    /// Nobody answers.
    Silent(String),
    /// Somebody answers who is not believed, or with whom no handshake comes about.
    Untrusted(String),
    /// It is not of this machine, and the connection would be plain.
    Plain,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(why) | Self::Untrusted(why) => f.write_str(why),
            Self::Plain => f.write_str(
                "other machines are spoken to over TLS only, and that needs credentials",
            ),
        }
    }
}

/// No address of a cluster could be connected to; says of each why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialError {
    attempts: Vec<(Address, Why)>,
}

impl DialError {
    /// Whether somebody was there, and was not believed or spoken to.
    pub fn is_of_trust(&self) -> bool {
        let is_silent = |why: &Why| matches!(why, Why::Silent(_));
        self.attempts.iter().any(|(_, why)| !is_silent(why))
    }
}

impl DialError {
    /// Why, without the address where there is only one.
    pub fn why(&self) -> String {
        match self.attempts.as_slice() {
            [(_, why)] => why.to_string(),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (address, why)) in self.attempts.iter().enumerate() {
            let comma = if at == 0 { "" } else { "; " };
            write!(f, "{comma}{address}: {why}")?;
        }
        Ok(())
    }
}

impl std::error::Error for DialError {}

/// Connects to a cluster: to the address that answered last, else to the others in turn.
///
/// *Guarantees*: with TLS, nothing is ever sent in plain; without it, nothing is sent to another
/// machine. Each attempt has a limit in time. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Dialer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    addresses: Addresses,
    tls: Option<ClientTls>,
    /// Whoever else answers is not spoken to.
    only: Option<String>,
    /// The place of the address that is tried first.
    first: AtomicUsize,
}

impl Dialer {
    /// Speaks TLS.
    pub fn secure(addresses: Addresses, tls: ClientTls) -> Self {
        Self::new(addresses, Some(tls), None)
    }

    /// Speaks TLS, and to the member of this name only: `mbr_2`.
    pub fn secure_to(name: &str, addresses: Addresses, tls: ClientTls) -> Self {
        Self::new(addresses, Some(tls), Some(name.to_owned()))
    }

    /// Speaks in plain, on this machine alone.
    pub fn plain(addresses: Addresses) -> Self {
        Self::new(addresses, None, None)
    }

    fn new(addresses: Addresses, tls: Option<ClientTls>, only: Option<String>) -> Self {
        Self {
            inner: Arc::new(Inner {
                addresses,
                tls,
                only,
                first: AtomicUsize::new(0),
            }),
        }
    }

    /// All addresses.
    pub fn addresses(&self) -> &Addresses {
        &self.inner.addresses
    }

    /// Whether it speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.inner.tls.is_some()
    }

    /// `https` or `http`, for the URIs of requests.
    pub fn scheme(&self) -> &'static str {
        if self.is_secure() { "https" } else { "http" }
    }

    /// The address that is tried first: the one that answered last.
    pub fn preferred(&self) -> Option<&Address> {
        let first = self.inner.first.load(Ordering::Relaxed);
        let count = self.inner.addresses.count().max(1);
        self.inner.addresses.get(first % count)
    }

    /// Lets the next connection begin with the next address: the member behind this one answers
    /// and cannot be used.
    pub fn turn_away(&self) {
        self.inner.first.fetch_add(1, Ordering::Relaxed);
    }

    /// Connects.
    ///
    /// # Errors
    /// No address could be connected to.
    pub async fn connect(&self) -> Result<(Connection, Address), DialError> {
        let count = self.inner.addresses.count();
        let first = self.inner.first.load(Ordering::Relaxed);
        let mut attempts = Vec::new();
        for step in 0..count {
            let place = first.wrapping_add(step) % count.max(1);
            let Some(address) = self.inner.addresses.get(place) else {
                continue;
            };
            match self.connect_to(address).await {
                Ok(connection) => {
                    self.inner.first.store(place, Ordering::Relaxed);
                    return Ok((connection, address.clone()));
                }
                Err(why) => attempts.push((address.clone(), why)),
            }
        }
        Err(DialError { attempts })
    }

    async fn connect_to(&self, address: &Address) -> Result<Connection, Why> {
        let late = |limit: Duration| Why::Silent(format!("no answer within {} s", limit.as_secs()));
        let is_plain = self.inner.tls.is_none();
        let stream = timeout(CONNECT, reach(address, is_plain))
            .await
            .map_err(|_| late(CONNECT))??;
        // Requests are small and somebody waits for each of them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the connection sends late");
        }
        let Some(tls) = &self.inner.tls else {
            return Ok(Connection::plain(stream));
        };
        let (config, host) = tls.current();
        let shaken = timeout(HANDSHAKE, TlsConnector::from(config).connect(host, stream))
            .await
            .map_err(|_| late(HANDSHAKE))?
            .map_err(|error| Why::Untrusted(explain(&error)))?;
        if let Some(only) = &self.inner.only {
            let shown = shaken.get_ref().1.peer_certificates();
            let shown = shown.and_then(|chain| chain.first());
            let name = shown.and_then(|own| Certified::read(own).ok());
            let name = name.map(|certified| certified.identity.name);
            if name.as_ref() != Some(only) {
                let name = name.unwrap_or_default();
                return Err(Why::Untrusted(format!("it is {name}, and not {only}")));
            }
        }
        Ok(Connection::secure(shaken, None))
    }
}

async fn reach(address: &Address, is_plain: bool) -> Result<TcpStream, Why> {
    let silent = |error: io::Error| Why::Silent(error.to_string());
    let found = lookup_host(address.authority()).await.map_err(silent)?;
    let mut last = Why::Silent("the name stands for no address".to_owned());
    for one in found {
        if is_plain && !one.ip().is_loopback() {
            last = Why::Plain;
            continue;
        }
        match TcpStream::connect(one).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = silent(error),
        }
    }
    Err(last)
}

/// As the connector of a channel of gRPC, which needs a URI and gets a connection to the cluster,
/// whatever the URI says.
impl tower_service::Service<http::Uri> for Dialer {
    type Response = TokioIo<Connection>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: http::Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move {
            let (connection, _) = dialer.connect().await?;
            Ok(TokioIo::new(connection))
        })
    }
}
