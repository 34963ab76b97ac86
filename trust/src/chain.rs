//! Chains of certificates, as files and messages hold them.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::error::TrustError;

/// Most certificates of one chain.
const MAX_CHAIN: usize = 4;

/// One certificate as PEM.
pub(crate) fn to_pem(der: &[u8]) -> String {
    pem::encode(&pem::Pem::new("CERTIFICATE", der))
}

/// The certificates of a text, the first of them being the holder's.
pub(crate) fn from_pem(text: &str) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let unusable = |why: String| TrustError::unusable("the certificate", why);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let chain = chain.map_err(|error| unusable(error.to_string()))?;
    if chain.is_empty() || chain.len() > MAX_CHAIN {
        return Err(unusable(format!("it has {} parts", chain.len())));
    }
    Ok(chain)
}
