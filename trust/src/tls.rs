//! TLS 1.3 as members serve it and as clients ask for it.

use std::sync::{Arc, PoisonError, RwLock};

use kelson_model::id::Digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};

use crate::bundle::CaBundle;
use crate::error::TrustError;
use crate::identity::member_host;
use crate::keyed::KeyedCertificate;

/// What is spoken over a connection; both sides agree on it in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1: a request each.
    Http1,
    /// HTTP/2, as gRPC needs it.
    Http2,
}

impl Protocol {
    fn name(self) -> Vec<u8> {
        match self {
            Self::Http1 => b"http/1.1".to_vec(),
            Self::Http2 => b"h2".to_vec(),
        }
    }
}

/// How a member serves TLS: as whom, and whose certificates it believes.
///
/// Clones are the same one: what is replaced in one counts for the next handshake of all.
#[derive(Debug, Clone)]
pub struct ServerTls {
    config: Arc<RwLock<Arc<ServerConfig>>>,
}

impl ServerTls {
    /// Serves as `identity` and believes what `bundle` certifies. A client may come without a
    /// certificate: what it may ask for then is not decided here.
    ///
    /// # Errors
    /// Certificates that TLS cannot be served with.
    pub fn new(identity: &KeyedCertificate, bundle: &CaBundle) -> Result<Self, TrustError> {
        let config = Arc::new(server_config(identity, bundle)?);
        Ok(Self {
            config: Arc::new(RwLock::new(config)),
        })
    }

    /// Serves as `identity` from the next handshake on, and believes what `bundle` certifies.
    ///
    /// # Errors
    /// See [`ServerTls::new`]; all stays as it was then.
    pub fn replace(
        &self,
        identity: &KeyedCertificate,
        bundle: &CaBundle,
    ) -> Result<(), TrustError> {
        let config = Arc::new(server_config(identity, bundle)?);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&config)
    }
}

/// How a client asks for TLS: whom it believes, and who it says it is.
///
/// Clones are the same one, as those of [`ServerTls`] are.
#[derive(Debug, Clone)]
pub struct ClientTls {
    current: Arc<RwLock<(Arc<ClientConfig>, ServerName<'static>)>>,
    protocol: Protocol,
}

impl ClientTls {
    /// Believes members of the cluster of `bundle` and nobody else; says that it is `identity`,
    /// where there is one.
    ///
    /// # Errors
    /// Certificates that TLS cannot be asked for with.
    pub fn new(
        bundle: &CaBundle,
        identity: Option<&KeyedCertificate>,
        protocol: Protocol,
    ) -> Result<Self, TrustError> {
        Ok(Self {
            current: Arc::new(RwLock::new(trusting(bundle, identity, protocol)?)),
            protocol,
        })
    }

    /// Believes members of the cluster whose CA has this fingerprint, and nobody else; has no
    /// identity. For whoever has a token and nothing more.
    ///
    /// # Errors
    /// The name of members is none, which never happens.
    pub fn pinned(authority: &Digest, protocol: Protocol) -> Result<Self, TrustError> {
        let provider = provider();
        let verifier = PinnedVerifier {
            authority: authority.clone(),
            algorithms: provider.signature_verification_algorithms,
            provider: Arc::clone(&provider),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| TrustError::unmade("TLS", error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        // The verifier finds out the name.
        let host = host_of("any")?;
        Ok(Self {
            current: Arc::new(RwLock::new((Arc::new(finished(config, protocol)), host))),
            protocol,
        })
    }

    /// Is `identity` from the next connection on, and believes what `bundle` certifies.
    ///
    /// # Errors
    /// See [`ClientTls::new`]; all stays as it was then.
    pub fn replace(
        &self,
        bundle: &CaBundle,
        identity: Option<&KeyedCertificate>,
    ) -> Result<(), TrustError> {
        let next = trusting(bundle, identity, self.protocol)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    pub(crate) fn current(&self) -> (Arc<ClientConfig>, ServerName<'static>) {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn server_config(
    identity: &KeyedCertificate,
    bundle: &CaBundle,
) -> Result<ServerConfig, TrustError> {
    let unusable = |error: String| TrustError::unusable("the certificate of this member", error);
    let roots = Arc::new(bundle.roots()?);
    let clients = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| TrustError::unusable("the bundle of CAs", error))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| unusable(error.to_string()))?
        .with_client_cert_verifier(clients)
        // The whole chain: who joins knows the fingerprint of the CA and has to see it.
        .with_single_cert(identity.chain().to_vec(), identity.key().to_der())
        .map_err(|error| unusable(error.to_string()))?;
    config.alpn_protocols = vec![Protocol::Http2.name(), Protocol::Http1.name()];
    // Every connection shows its certificate: who is not believed any more does not come back by
    // a ticket.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn trusting(
    bundle: &CaBundle,
    identity: Option<&KeyedCertificate>,
    protocol: Protocol,
) -> Result<(Arc<ClientConfig>, ServerName<'static>), TrustError> {
    let unusable = |error: rustls::Error| TrustError::unusable("the certificate", error);
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .with_root_certificates(bundle.roots()?);
    let config = match identity {
        Some(identity) => {
            let own = identity.chain().iter().take(1).cloned().collect();
            config
                .with_client_auth_cert(own, identity.key().to_der())
                .map_err(unusable)?
        }
        None => config.with_no_client_auth(),
    };
    let host = host_of(bundle.cluster())?;
    Ok((Arc::new(finished(config, protocol)), host))
}

fn finished(mut config: ClientConfig, protocol: Protocol) -> ClientConfig {
    config.alpn_protocols = vec![protocol.name()];
    config.enable_sni = false;
    config.resumption = rustls::client::Resumption::disabled();
    config
}

fn host_of(cluster: &str) -> Result<ServerName<'static>, TrustError> {
    ServerName::try_from(member_host(cluster))
        .map_err(|error| TrustError::unusable("the name of the cluster", error))
}

/// Believes a server whose chain holds the CA of one fingerprint, where that CA has certified it as
/// a member of its cluster.
#[derive(Debug)]
struct PinnedVerifier {
    authority: Digest,
    algorithms: WebPkiSupportedAlgorithms,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let general = |why: &dyn ToString| rustls::Error::General(why.to_string());
        let is_meant = |der: &&CertificateDer<'_>| Digest::of(der) == self.authority;
        let authority = intermediates
            .iter()
            .find(is_meant)
            .ok_or_else(|| general(&"its CA is not the one that the token names"))?;
        let bundle =
            CaBundle::new(vec![authority.clone().into_owned()]).map_err(|error| general(&error))?;
        let roots = Arc::new(bundle.roots().map_err(|error| general(&error))?);
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider))
                .build()
                .map_err(|error| general(&error))?;
        let host = host_of(bundle.cluster()).map_err(|error| general(&error))?;
        verifier.verify_server_cert(end_entity, &[], &host, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General(
            "TLS 1.2 is not spoken here".to_owned(),
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What a handshake failed for, in words.
pub fn explain(error: &std::io::Error) -> String {
    use rustls::{AlertDescription as Alert, CertificateError as Bad, Error};
    let found = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    let Some(found) = found else {
        return error.to_string();
    };
    let words = match found {
        Error::InvalidCertificate(Bad::UnknownIssuer) => {
            "its certificate is not from the CA of this cluster"
        }
        Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "its certificate has expired, or this machine's clock is wrong"
        }
        Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            "its certificate is not valid yet: this machine's clock is behind"
        }
        Error::InvalidCertificate(
            Bad::NotValidForName
            | Bad::NotValidForNameContext { .. }
            | Bad::InvalidPurpose
            | Bad::InvalidPurposeContext { .. },
        ) => "its certificate is not that of a member of this cluster",
        Error::InvalidMessage(_) => "it does not speak TLS",
        Error::AlertReceived(Alert::UnknownCA | Alert::DecryptError | Alert::BadCertificate) => {
            "it does not believe this certificate: it is of another cluster"
        }
        Error::AlertReceived(Alert::CertificateExpired) => {
            "this certificate has expired, or the clock of the kernel's machine is wrong"
        }
        Error::General(why) => why,
        other => return other.to_string(),
    };
    words.to_owned()
}
