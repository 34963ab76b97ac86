//! What a member of a cluster of several machines believes others by, and certifies them with.

use std::sync::Arc;

use kelson_trust::{Authority, CaBundle};

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
