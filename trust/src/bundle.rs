//! The certificates of CAs that a cluster trusts.

use std::collections::BTreeSet;

use kelson_model::id::Digest;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::chain;
use crate::error::TrustError;
use crate::identity::only;

/// Most CAs of one bundle.
const MAX_AUTHORITIES: usize = 8;

/// The certificates of the CAs of one cluster: one, and two or more while a CA is replaced by the
/// next. Whoever is certified by any of them is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaBundle {
    cluster: String,
    authorities: Vec<CertificateDer<'static>>,
}

impl CaBundle {
    /// Takes certificates of CAs in DER.
    ///
    /// # Errors
    /// There is none or too many, one is no CA, or they are of different clusters.
    pub fn from_ders(ders: impl IntoIterator<Item = Vec<u8>>) -> Result<Self, TrustError> {
        let authorities = ders.into_iter().map(CertificateDer::from).collect();
        Self::new(authorities)
    }

    pub(crate) fn new(authorities: Vec<CertificateDer<'static>>) -> Result<Self, TrustError> {
        let unusable = |why: String| TrustError::unusable("the bundle of CAs", why);
        if authorities.len() > MAX_AUTHORITIES {
            return Err(unusable(format!("it has more than {MAX_AUTHORITIES} CAs")));
        }
        let clusters: Result<BTreeSet<String>, TrustError> =
            authorities.iter().map(|der| cluster_of(der)).collect();
        let mut clusters = clusters?.into_iter();
        match (clusters.next(), clusters.next()) {
            (Some(cluster), None) => Ok(Self {
                cluster,
                authorities,
            }),
            (None, _) => Err(unusable("it is empty".to_owned())),
            (Some(_), Some(_)) => Err(unusable("its CAs are of different clusters".to_owned())),
        }
    }

    /// Reads a bundle.
    ///
    /// # Errors
    /// See [`CaBundle::from_ders`].
    pub fn from_pem(text: &str) -> Result<Self, TrustError> {
        let authorities: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        Self::new(authorities.map_err(|error| TrustError::unusable("the bundle of CAs", error))?)
    }

    /// As PEM.
    pub fn to_pem(&self) -> String {
        self.authorities
            .iter()
            .map(|der| chain::to_pem(der))
            .collect()
    }

    /// In DER, as they are sent.
    pub fn to_ders(&self) -> Vec<Vec<u8>> {
        self.authorities.iter().map(|der| der.to_vec()).collect()
    }

    /// The cluster whose CAs these are.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The fingerprints of the CAs: the digests of their certificates.
    pub fn fingerprints(&self) -> Vec<Digest> {
        self.authorities.iter().map(|der| Digest::of(der)).collect()
    }

    /// This bundle and another CA.
    ///
    /// # Errors
    /// See [`CaBundle::from_ders`].
    pub fn with(&self, other: &CaBundle) -> Result<Self, TrustError> {
        let mut authorities = self.authorities.clone();
        for der in &other.authorities {
            if !authorities.contains(der) {
                authorities.push(der.clone());
            }
        }
        Self::new(authorities)
    }

    /// This bundle without a CA.
    ///
    /// # Errors
    /// It was the last one.
    pub fn without(&self, fingerprint: &Digest) -> Result<Self, TrustError> {
        let mut authorities = self.authorities.clone();
        authorities.retain(|der| Digest::of(der) != *fingerprint);
        Self::new(authorities)
    }

    pub(crate) fn roots(&self) -> Result<RootCertStore, TrustError> {
        let mut roots = RootCertStore::empty();
        for der in &self.authorities {
            roots
                .add(der.clone())
                .map_err(|error| TrustError::unusable("the certificate of a CA", error))?;
        }
        Ok(roots)
    }
}

/// The cluster whose CA this is.
fn cluster_of(der: &CertificateDer<'_>) -> Result<String, TrustError> {
    let unusable = |why: String| TrustError::unusable("the certificate of a CA", why);
    let (_, parsed) =
        x509_parser::parse_x509_certificate(der).map_err(|error| unusable(error.to_string()))?;
    if !parsed.is_ca() {
        return Err(unusable("it is not that of a CA".to_owned()));
    }
    only(parsed.subject().iter_organization(), "organization")
}
