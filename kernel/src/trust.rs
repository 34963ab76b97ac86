//! What a member of a cluster of several machines believes others by, and certifies them with.

use std::sync::Arc;

use kelson_trust::{Addresses, Authority, CaBundle, ClientTls, ParseAddressError};
use tonic::transport::Channel;

use crate::raft::{DialError, Dialer, Lane, endpoint};

/// The CAs of the cluster, and the key of one of them where this member holds it. Clones are the
/// same one.
#[derive(Debug, Clone)]
pub struct Trust {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bundle: CaBundle,
    authority: Option<Authority>,
    address: String,
}

impl Trust {
    /// Takes what the data directory holds, and the address at which others reach this member.
    pub fn new(bundle: CaBundle, authority: Option<Authority>, address: String) -> Self {
        let inner = Inner {
            bundle,
            authority,
            address,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Whom the cluster believes.
    pub fn bundle(&self) -> &CaBundle {
        &self.inner.bundle
    }

    /// What certifies; `None`: another member has to.
    pub fn authority(&self) -> Option<&Authority> {
        self.inner.authority.as_ref()
    }

    /// Where others reach this member, `host:port`.
    pub fn address(&self) -> &str {
        &self.inner.address
    }
}

/// Reaches other members over TLS: each address has to be answered by the member that is meant.
#[derive(Debug, Clone)]
pub struct SecureDialer {
    tls: ClientTls,
}

impl SecureDialer {
    /// Shows who this member is by `tls`, and believes whom it believes.
    pub fn new(tls: ClientTls) -> Self {
        Self { tls }
    }
}

impl Dialer for SecureDialer {
    fn dial(&self, member: u64, address: &str, _lane: Lane) -> Result<Channel, DialError> {
        let addresses: Addresses =
            address
                .parse()
                .map_err(|error: ParseAddressError| DialError {
                    address: address.to_owned(),
                    reason: error.to_string(),
                })?;
        let name = format!("mbr_{member}");
        let dialer = kelson_trust::Dialer::secure_to(&name, addresses, self.tls.clone());
        Ok(endpoint("http", address)?.connect_with_connector_lazy(dialer))
    }
}
