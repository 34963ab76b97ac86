//! The cluster's own CA: it certifies members, agents and people.

use std::net::IpAddr;
use std::path::Path;

use kelson_model::access::Role;
use kelson_model::id::Digest;
use kelson_model::quantity::Millis;
use kelson_model::time::WallTime;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::bundle::CaBundle;
use crate::chain;
use crate::error::TrustError;
use crate::files;
use crate::identity::{Identity, member_host};
use crate::key::PrivateKey;
use crate::keyed::KeyedCertificate;
use crate::secret::{Secret, random_bytes};

const DAY: u64 = 24 * 60 * 60 * 1000;
/// How long a CA lives.
const CA_LIFE: Millis = Millis(3650 * DAY);
/// How long the certificate of a member or an agent lives; it is renewed after two thirds of it.
pub const MACHINE_LIFE: Millis = Millis(90 * DAY);
/// How long the certificate of a person lives.
pub const PERSON_LIFE: Millis = Millis(365 * DAY);
/// How far the clock of another machine may be behind.
const LATE_CLOCKS: Millis = Millis(60 * 60 * 1000);
/// Most bytes of a request for a certificate.
pub const MAX_REQUEST: usize = 4 << 10;
/// Most host names and addresses of one member.
pub const MAX_HOSTS: usize = 8;
const MAX_HOST: usize = 253;

/// The CA of one cluster: its certificate and its private key.
///
/// *Guarantees*: `Debug` shows nothing of the key.
pub struct Authority {
    cluster: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    key: Secret,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({}, secret)", self.cluster)
    }
}

impl Authority {
    /// Makes the CA of a cluster.
    ///
    /// # Errors
    /// There are no random numbers, or the cluster's name fits no certificate.
    pub fn found(cluster: &str, now: WallTime) -> Result<Self, TrustError> {
        let unmade = |error: rcgen::Error| TrustError::unmade("the CA", error);
        // The name is checked as any other is.
        let _is_fine = Identity {
            cluster: cluster.to_owned(),
            role: Role::Member,
            name: "CA".to_owned(),
        }
        .subject()?;
        let key = PrivateKey::generate()?;
        let mut params = params(now, CA_LIFE)?;
        let mut name = DistinguishedName::new();
        name.push(DnType::OrganizationName, cluster);
        // Two CAs of one cluster must not have one name: a verifier looks for issuers by it.
        let serial = random_bytes::<4>()?;
        name.push(
            DnType::CommonName,
            format!("Kelson CA {}", crate::secret::hex(&serial)),
        );
        params.distinguished_name = name;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key.pair).map_err(unmade)?;
        Self::new(certificate.der().clone(), &key.to_pem())
    }

    fn new(certificate: CertificateDer<'static>, key: &Secret) -> Result<Self, TrustError> {
        let unusable = |error: rcgen::Error| TrustError::unusable("the CA", error);
        let bundle = CaBundle::new(vec![certificate.clone()])?;
        let pair = PrivateKey::from_pem(key)?.pair;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate)
            .map_err(|error| TrustError::unusable("the CA", error))?;
        if parsed.public_key().raw != pair.subject_public_key_info().as_slice() {
            return Err(TrustError::unusable(
                "the CA",
                "key and certificate are not a pair",
            ));
        }
        Ok(Self {
            cluster: bundle.cluster().to_owned(),
            issuer: Issuer::from_ca_cert_der(&certificate, pair).map_err(unusable)?,
            certificate,
            key: key.clone(),
        })
    }

    /// Reads a CA: its certificate and its key, in PEM.
    ///
    /// # Errors
    /// One of them cannot be read, or they do not belong together.
    pub fn from_pem(text: &Secret) -> Result<Self, TrustError> {
        let chain = chain::from_pem(text.expose())?;
        let certificate = chain.into_iter().next();
        let certificate =
            certificate.ok_or_else(|| TrustError::unusable("the CA", "it has no certificate"))?;
        Self::new(certificate, &crate::keyed::key_of(text)?)
    }

    /// Certificate and key as PEM: for the one file of a voter, and the one message that it gets.
    pub fn to_pem(&self) -> Secret {
        let certificate = chain::to_pem(&self.certificate);
        Secret::new(format!("{certificate}{}", self.key.expose()))
    }

    /// Reads the CA in a file; `None`: there is no file.
    ///
    /// # Errors
    /// It cannot be read, or is no CA.
    pub fn load(path: &Path) -> Result<Option<Self>, TrustError> {
        files::read_if_there(path)?
            .map(|text| Self::from_pem(&Secret::new(text)))
            .transpose()
    }

    /// Writes the CA to a file that its owner alone may read.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), TrustError> {
        files::replace(path, self.to_pem().expose())
    }

    /// The same CA once more.
    ///
    /// # Errors
    /// Never, of a CA that could be made.
    pub fn copy(&self) -> Result<Self, TrustError> {
        Self::new(self.certificate.clone(), &self.key)
    }

    /// The cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// A bundle of this CA alone.
    ///
    /// # Errors
    /// Never, of a CA that could be made.
    pub fn bundle(&self) -> Result<CaBundle, TrustError> {
        CaBundle::new(vec![self.certificate.clone()])
    }

    /// Certifies whoever has the key of a request ([`PrivateKey::request`]) as `identity`, for
    /// `life` from `now` on; a member also for its hosts, names or addresses, beside the one that
    /// all members have. Gives the chain as PEM: the certificate and that of this CA.
    ///
    /// # Errors
    /// The request is none, or the identity is of another cluster or fits no certificate.
    pub fn certify(
        &self,
        request: &str,
        identity: &Identity,
        hosts: &[String],
        now: WallTime,
        life: Millis,
    ) -> Result<String, TrustError> {
        let request = read_request(request)?;
        self.sign(&request.public_key, identity, hosts, now, life)
    }

    /// Makes a key and certifies it, as [`Authority::certify`] does.
    ///
    /// # Errors
    /// See [`Authority::certify`].
    pub fn issue(
        &self,
        identity: &Identity,
        hosts: &[String],
        now: WallTime,
        life: Millis,
    ) -> Result<KeyedCertificate, TrustError> {
        let key = PrivateKey::generate()?;
        let chain = self.sign(&key.pair, identity, hosts, now, life)?;
        KeyedCertificate::new(&chain, key)
    }

    fn sign(
        &self,
        key: &impl PublicKeyData,
        identity: &Identity,
        hosts: &[String],
        now: WallTime,
        life: Millis,
    ) -> Result<String, TrustError> {
        let what = || format!("the certificate of {}", identity.name);
        let unmade = |error: rcgen::Error| TrustError::unmade(what(), error);
        if identity.cluster != self.cluster {
            return Err(TrustError::unmade(what(), "it is of another cluster"));
        }
        let mut params = params(now, life)?;
        params.distinguished_name = identity.subject()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if identity.role == Role::Member {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
            if hosts.len() > MAX_HOSTS {
                return Err(TrustError::unmade(
                    what(),
                    format!("a member has at most {MAX_HOSTS} hosts"),
                ));
            }
            for host in [member_host(&self.cluster)].iter().chain(hosts) {
                params.subject_alt_names.push(alternative_name(host)?);
            }
        }
        let certificate = params.signed_by(key, &self.issuer).map_err(unmade)?;
        let own = chain::to_pem(certificate.der());
        Ok(format!("{own}{}", chain::to_pem(&self.certificate)))
    }
}

fn read_request(request: &str) -> Result<CertificateSigningRequestParams, TrustError> {
    let unusable = |why: String| TrustError::unusable("the request for a certificate", why);
    if request.len() > MAX_REQUEST {
        return Err(unusable(format!("it has more than {MAX_REQUEST} bytes")));
    }
    CertificateSigningRequestParams::from_pem(request).map_err(|error| unusable(error.to_string()))
}

/// The digest of the key of a request ([`PrivateKey::request`]), by which whoever asks again is
/// known.
///
/// # Errors
/// It is none, or whoever made it does not have the key.
pub fn key_of_request(request: &str) -> Result<Digest, TrustError> {
    let key = read_request(request)?.public_key;
    Ok(Digest::of(&key.subject_public_key_info()))
}

/// Host names and addresses by which a member may be called.
fn alternative_name(host: &str) -> Result<SanType, TrustError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let unusable = || TrustError::unusable(format!("the host '{host}'"), "it is no host name");
    if host.len() > MAX_HOST || !host.split('.').all(is_part) {
        return Err(unusable());
    }
    let name = host.try_into().map_err(|_| unusable())?;
    Ok(SanType::DnsName(name))
}

/// What all certificates have.
fn params(now: WallTime, life: Millis) -> Result<CertificateParams, TrustError> {
    let at = |ms: u64| {
        let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
        OffsetDateTime::from_unix_timestamp(seconds)
            .map_err(|error| TrustError::unmade("a certificate", error))
    };
    let mut params = CertificateParams::default();
    params.not_before = at(now.0.saturating_sub(LATE_CLOCKS.0))?;
    params.not_after = at(now.0.saturating_add(life.0))?;
    let mut serial = random_bytes::<16>()?;
    // A positive number that is not zero.
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}
