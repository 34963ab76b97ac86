//! Private keys and what they ask to be signed.

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::error::TrustError;
use crate::secret::Secret;

/// A private key on the curve P-256, of a member, an agent, a person or a CA.
///
/// *Guarantees*: `Debug` shows nothing of it.
pub struct PrivateKey {
    pub(crate) pair: KeyPair,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey(secret)")
    }
}

impl PrivateKey {
    /// A new one.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn generate() -> Result<Self, TrustError> {
        let pair = KeyPair::generate().map_err(|error| TrustError::unmade("a key", error))?;
        Ok(Self { pair })
    }

    /// Reads one.
    ///
    /// # Errors
    /// It is none, or one of another form.
    pub fn from_pem(pem: &Secret) -> Result<Self, TrustError> {
        let pair = KeyPair::from_pem(pem.expose())
            .map_err(|error| TrustError::unusable("the key", error))?;
        Ok(Self { pair })
    }

    /// As PEM.
    pub fn to_pem(&self) -> Secret {
        Secret::new(self.pair.serialize_pem())
    }

    /// A request to sign a certificate for it, as PEM: the public key, and the proof that whoever
    /// asks has the private one. What the certificate says is decided by whoever signs.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn request(&self) -> Result<String, TrustError> {
        let unmade = |error| TrustError::unmade("the request for a certificate", error);
        let request = CertificateParams::default().serialize_request(&self.pair);
        request.map_err(unmade)?.pem().map_err(unmade)
    }

    pub(crate) fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pair.serialize_der()))
    }
}
