//! Identities: who a certificate is for.

use kelson_model::access::Role;
use kelson_model::time::WallTime;
use rcgen::{DistinguishedName, DnType};
use x509_parser::prelude::X509Certificate;
use x509_parser::x509::AttributeTypeAndValue;

use crate::error::TrustError;

/// Most bytes of the name in an identity.
const MAX_NAME: usize = 64;

/// Who somebody is: said by a certificate of the cluster's CA, and believed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The cluster.
    pub cluster: String,
    /// What it is to the cluster.
    pub role: Role,
    /// `mbr_1`, `agt_7`, `admin`.
    pub name: String,
}

/// An identity and until when it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// Who.
    pub identity: Identity,
    /// Not before then.
    pub from: WallTime,
    /// Not after then.
    pub until: WallTime,
}

impl Certified {
    /// Reads who a certificate is for. Says nothing about whether its signature holds.
    ///
    /// # Errors
    /// It is no certificate, or not one of a cluster.
    pub fn read(der: &[u8]) -> Result<Self, TrustError> {
        let unusable = |why: String| TrustError::unusable("the certificate", why);
        let (_, parsed) = x509_parser::parse_x509_certificate(der)
            .map_err(|error| unusable(error.to_string()))?;
        let subject = parsed.subject();
        let identity = Identity {
            cluster: only(subject.iter_organization(), "organization")?,
            role: only(subject.iter_organizational_unit(), "unit")?
                .parse()
                .map_err(|error: kelson_model::access::ParseRoleError| {
                    unusable(error.to_string())
                })?,
            name: only(subject.iter_common_name(), "name")?,
        };
        let (from, until) = validity(&parsed);
        Ok(Self {
            identity,
            from,
            until,
        })
    }

    /// Whether it holds at `now`.
    pub fn holds_at(&self, now: WallTime) -> bool {
        (self.from..=self.until).contains(&now)
    }

    /// When it has to be renewed: at two thirds of its life.
    pub fn due(&self) -> WallTime {
        let life = self.until.0.saturating_sub(self.from.0);
        WallTime(self.from.0.saturating_add(life / 3 * 2))
    }
}

/// From when until when a certificate holds.
pub(crate) fn validity(certificate: &X509Certificate<'_>) -> (WallTime, WallTime) {
    let ms = |seconds: i64| WallTime(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
    let validity = certificate.validity();
    (
        ms(validity.not_before.timestamp()),
        ms(validity.not_after.timestamp()),
    )
}

/// The value of a part of the subject that stands there once.
pub(crate) fn only<'a>(
    mut parts: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
    what: &str,
) -> Result<String, TrustError> {
    let unusable = |why: &str| TrustError::unusable("the certificate", format!("its {what} {why}"));
    let (first, second) = (parts.next(), parts.next());
    match (first, second) {
        (Some(one), None) => one
            .as_str()
            .map(str::to_owned)
            .map_err(|_| unusable("is no text")),
        (Some(_), Some(_)) => Err(unusable("stands there twice")),
        (None, _) => Err(unusable("is missing")),
    }
}

impl Identity {
    /// The subject of a certificate for it.
    pub(crate) fn subject(&self) -> Result<DistinguishedName, TrustError> {
        let is_plain = |text: &str| {
            let is_fine = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
            !text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(is_fine)
        };
        if !is_plain(&self.name) || !is_plain(&self.cluster) {
            return Err(TrustError::unmade(
                "the certificate",
                format!("names have 1 to {MAX_NAME} printable characters of ASCII"),
            ));
        }
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, self.cluster.as_str());
        subject.push(DnType::OrganizationalUnitName, self.role.name());
        subject.push(DnType::CommonName, self.name.as_str());
        Ok(subject)
    }
}

/// The host name that all members of a cluster answer to, beside their own: by it they are known,
/// whatever their addresses are.
pub fn member_host(cluster: &str) -> String {
    format!("{cluster}.members.kelson.internal")
}
