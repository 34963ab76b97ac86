//! How a member listens, and how what runs beside it reaches it: in plain on this machine alone, or
//! over TLS where its data directory holds what a cluster of several machines has given it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use kelson_model::time::WallTime;
use kelson_trust::{
    Addresses, Authority, CaBundle, Certified, ClientTls, Dialer, KeyedCertificate, Limits,
    Listener, MACHINE_LIFE, Protocol, ServerTls, TrustFolder, is_due,
};
use tokio::net::TcpListener;

use super::founding::Founded;
use super::loopback::{ensure_loopback, reachable};
use crate::exit::Failure;

/// Where a member listens in plain when nobody says otherwise.
const LISTEN: &str = "127.0.0.1:7460";
/// How often it is looked whether the certificate has to be renewed.
const LOOK: Duration = Duration::from_secs(3600);

/// What a member listens with.
pub(super) struct Doors {
    /// The listener.
    pub(super) listener: Listener,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// The way to it, for what runs beside it.
    pub(super) own: Dialer,
    /// What keeps its certificate new, where it has one.
    pub(super) renewal: Option<Renewal>,
}

/// Opens the listener of the member with this data directory, at `listen` or where it was founded.
///
/// # Errors
/// When the address cannot be listened at, other machines could reach a listener in plain, or the
/// certificate cannot be used.
pub(super) async fn open(data_dir: &Path, listen: Option<&str>) -> Result<Doors> {
    let folder = TrustFolder::of(data_dir);
    let Some((identity, bundle)) = folder.load()? else {
        let listen = listen.unwrap_or(LISTEN);
        ensure_loopback(listen)?;
        let (tcp, address) = bind(listen).await?;
        let own = Dialer::plain(Addresses::from(kelson_trust::Address::from(reachable(
            address,
        ))));
        return Ok(Doors {
            listener: Listener::plain(tcp)?,
            address,
            own,
            renewal: None,
        });
    };
    let founded = Founded::load(data_dir)?;
    let authority = Authority::load(&folder.authority_file())?;
    let (tcp, address) = bind(listen.unwrap_or(&founded.listen)).await?;
    let server = ServerTls::new(&identity, &bundle)?;
    let client = ClientTls::new(&bundle, Some(&identity), Protocol::Http2)?;
    let own = Addresses::from(kelson_trust::Address::from(reachable(address)));
    let renewal = Renewal {
        folder,
        certified: identity.certified().clone(),
        bundle,
        authority,
        hosts: founded.hosts(),
        server: server.clone(),
        client: client.clone(),
    };
    Ok(Doors {
        listener: Listener::secure(tcp, server, Limits::default()),
        address,
        own: Dialer::secure(own, client),
        renewal: Some(renewal),
    })
}

async fn bind(listen: &str) -> Result<(TcpListener, SocketAddr)> {
    let tcp = TcpListener::bind(listen)
        .await
        .map_err(|error| Failure::usage(format!("cannot listen at {listen}: {error}")))?;
    let address = tcp.local_addr().context("the listener has no address")?;
    Ok((tcp, address))
}

/// Keeps the certificate of a member new.
pub(super) struct Renewal {
    folder: TrustFolder,
    certified: Certified,
    bundle: CaBundle,
    authority: Option<Authority>,
    hosts: Vec<String>,
    server: ServerTls,
    client: ClientTls,
}

impl Renewal {
    /// The cluster that the certificate is of.
    pub(super) fn cluster(&self) -> &str {
        &self.certified.identity.cluster
    }

    /// Renews the certificate whenever two thirds of its life are over, for ever.
    ///
    /// *Guarantees*: connections that stand go on; the next handshake has the new certificate. What
    /// fails is said and tried again.
    pub(super) async fn run(mut self) {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            if !is_due(&self.certified, now()) {
                continue;
            }
            match self.renew() {
                Ok(()) => tracing::info!("the certificate of this member is renewed"),
                Err(error) => tracing::warn!(
                    error = %format!("{error:#}"),
                    until = %self.certified.until,
                    "the certificate of this member could not be renewed"
                ),
            }
        }
    }

    fn renew(&mut self) -> Result<()> {
        let authority = self
            .authority
            .as_ref()
            .context("this member does not hold the key of the cluster's CA")?;
        let identity: KeyedCertificate =
            authority.issue(&self.certified.identity, &self.hosts, now(), MACHINE_LIFE)?;
        self.folder.save(&identity, &self.bundle)?;
        self.server.replace(&identity, &self.bundle)?;
        self.client.replace(&self.bundle, Some(&identity))?;
        self.certified = identity.certified().clone();
        Ok(())
    }
}

/// The wall clock.
pub(super) fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.unwrap_or_default().as_millis();
    WallTime(u64::try_from(ms).unwrap_or(u64::MAX))
}
