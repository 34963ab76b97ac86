//! How a member listens, and how what runs beside it reaches it: in plain on this machine alone, or
//! over TLS where its data directory holds what a cluster of several machines has given it.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};
use kelson_kernel::Trust;
use kelson_trust::{
    Addresses, Authority, ClientTls, Dialer, Limits, Listener, Protocol, ServerTls, TrustFolder,
};
use tokio::net::TcpListener;

use super::founding::Founded;
use super::loopback::{ensure_loopback, reachable};
use super::renewal::{Certifier, Renewal};
use crate::exit::Failure;

/// Where a member listens in plain when nobody says otherwise.
const LISTEN: &str = "127.0.0.1:7460";

/// What a member listens with.
pub(super) struct Doors {
    /// The listener.
    pub(super) listener: Listener,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Where others reach it, `host:port`.
    pub(super) advertised: String,
    /// The way to it, for what runs beside it.
    pub(super) own: Dialer,
    /// What it lets further machines join by, where it is encrypted.
    pub(super) trust: Option<Trust>,
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
            advertised: reachable(address).to_string(),
            own,
            trust: None,
            renewal: None,
        });
    };
    let founded = Founded::load(data_dir)?;
    let authority = Authority::load(&folder.authority_file())?;
    let (tcp, address) = bind(listen.unwrap_or(&founded.listen)).await?;
    let server = ServerTls::new(&identity, &bundle)?;
    let client = ClientTls::new(&bundle, Some(&identity), Protocol::Http2)?;
    let own = Addresses::from(kelson_trust::Address::from(reachable(address)));
    let certifier = match &authority {
        Some(authority) => Certifier::Own(authority.copy()?.into(), founded.hosts()),
        None => Certifier::Members(folder.addresses()?),
    };
    let trust = Trust::new(bundle.clone(), authority, founded.address.clone());
    let renewal = Renewal {
        folder,
        certified: identity.certified().clone(),
        bundle,
        certifier,
        server: Some(server.clone()),
        client: client.clone(),
    };
    Ok(Doors {
        listener: Listener::secure(tcp, server, Limits::default()),
        address,
        advertised: founded.address.clone(),
        own: Dialer::secure(own, client),
        trust: Some(trust),
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
