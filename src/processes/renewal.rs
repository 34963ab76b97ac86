//! Keeping the certificate of a machine new.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use kelson_model::enrol::{EnrolAnswer, RenewRequest};
use kelson_model::time::WallTime;
use kelson_trust::{
    Addresses, Authority, CaBundle, Certified, ClientTls, Credentials, KeyedCertificate,
    MACHINE_LIFE, PrivateKey, Proof, ServerTls, TrustFolder, is_due,
};

use crate::client::{Address, Client};

/// How often it is looked whether the certificate has to be renewed.
const LOOK: Duration = Duration::from_secs(3600);

/// Who makes the new certificate.
pub(super) enum Certifier {
    /// This machine, which holds the key of the CA; and what hosts the certificate names.
    Own(Box<Authority>, Vec<String>),
    /// A member at one of these addresses.
    Members(Addresses),
}

/// Keeps the certificate of a machine new.
pub(super) struct Renewal {
    pub(super) folder: TrustFolder,
    pub(super) certified: Certified,
    pub(super) bundle: CaBundle,
    pub(super) certifier: Certifier,
    /// What it is served with, where it is.
    pub(super) server: Option<ServerTls>,
    /// What it is asked with.
    pub(super) client: ClientTls,
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
            match self.renew().await {
                Ok(()) => {
                    tracing::info!(until = %self.certified.until, "the certificate is renewed")
                }
                Err(error) => tracing::warn!(
                    error = %format!("{error:#}"),
                    until = %self.certified.until,
                    "the certificate could not be renewed"
                ),
            }
        }
    }

    /// Renews the certificate now.
    ///
    /// # Errors
    /// Nobody certifies, or what comes cannot be used or kept; all stays as it was then.
    pub(super) async fn renew(&mut self) -> Result<()> {
        let (identity, bundle) = match &self.certifier {
            Certifier::Own(authority, hosts) => {
                let own = &self.certified.identity;
                let identity = authority.issue(own, hosts, now(), MACHINE_LIFE)?;
                (identity, self.bundle.clone())
            }
            Certifier::Members(addresses) => self.ask(addresses).await?,
        };
        if identity.certified().identity != self.certified.identity {
            anyhow::bail!("the new certificate is for somebody else");
        }
        self.folder.save(&identity, &bundle)?;
        if let Some(server) = &self.server {
            server.replace(&identity, &bundle)?;
        }
        self.client.replace(&bundle, Some(&identity))?;
        self.certified = identity.certified().clone();
        self.bundle = bundle;
        Ok(())
    }

    /// Asks a member for a new certificate.
    async fn ask(&self, addresses: &Addresses) -> Result<(KeyedCertificate, CaBundle)> {
        let kept = self.folder.load()?;
        let (present, bundle) = kept.context("the certificate is not there any more")?;
        let credentials = Credentials {
            addresses: addresses.clone(),
            bundle,
            proof: Proof::Certificate(Box::new(present)),
        };
        let address = Address::secure(&credentials, &self.folder.identity_file(), None)?;
        let key = PrivateKey::generate()?;
        let request = RenewRequest {
            request: key.request()?,
        };
        let client = Client::new(address)?;
        let answer: EnrolAnswer = client.post_as("/v1/renew", &request).await?;
        let identity = KeyedCertificate::new(&answer.certificate, key)?;
        Ok((identity, CaBundle::from_pem(&answer.authorities)?))
    }
}

/// The wall clock.
pub(super) fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.unwrap_or_default().as_millis();
    WallTime(u64::try_from(ms).unwrap_or(u64::MAX))
}
