//! A certificate with its private key, and where a machine keeps its own.

use std::path::{Path, PathBuf};

use kelson_model::time::WallTime;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

use crate::addresses::{Addresses, ParseAddressError};
use crate::bundle::CaBundle;
use crate::chain;
use crate::error::TrustError;
use crate::files;
use crate::identity::Certified;
use crate::key::PrivateKey;
use crate::secret::Secret;

/// A certificate, those that stand behind it, and its private key.
#[derive(Debug)]
pub struct KeyedCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKey,
    certified: Certified,
}

impl KeyedCertificate {
    /// Takes a chain in PEM, the holder's certificate first, and the key that belongs to it.
    ///
    /// # Errors
    /// The chain cannot be read, or belongs to another key.
    pub fn new(pem: &str, key: PrivateKey) -> Result<Self, TrustError> {
        let chain = chain::from_pem(pem)?;
        let own = chain.first().map(|der| der.as_ref()).unwrap_or_default();
        let (_, parsed) = x509_parser::parse_x509_certificate(own)
            .map_err(|error| TrustError::unusable("the certificate", error))?;
        let public = rcgen::PublicKeyData::subject_public_key_info(&key.pair);
        if parsed.public_key().raw != public.as_slice() {
            return Err(TrustError::unusable(
                "the certificate",
                "it belongs to another key",
            ));
        }
        let certified = Certified::read(own)?;
        Ok(Self {
            chain,
            key,
            certified,
        })
    }

    /// Reads a chain and its key, in PEM, from one text.
    ///
    /// # Errors
    /// One of them cannot be read, or they do not belong together.
    pub fn from_pem(text: &Secret) -> Result<Self, TrustError> {
        Self::new(text.expose(), PrivateKey::from_pem(&key_of(text)?)?)
    }

    /// Chain and key as PEM, in one text.
    pub fn to_pem(&self) -> Secret {
        let chain = self.chain_pem();
        Secret::new(format!("{chain}{}", self.key.to_pem().expose()))
    }

    /// The chain as PEM.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|der| chain::to_pem(der)).collect()
    }

    /// The key as PEM.
    pub fn key_pem(&self) -> Secret {
        self.key.to_pem()
    }

    /// Who it is for, and until when.
    pub fn certified(&self) -> &Certified {
        &self.certified
    }

    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(crate) fn key(&self) -> &PrivateKey {
        &self.key
    }
}

/// The private key in a text of PEM.
pub(crate) fn key_of(text: &Secret) -> Result<Secret, TrustError> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(text.expose().as_bytes())
        .map_err(|error| TrustError::unusable("the key", error))?;
    let pem = pem::Pem::new("PRIVATE KEY", der.secret_pkcs8_der());
    Ok(Secret::new(pem::encode(&pem)))
}

/// Where a member or an agent keeps what it is known by: a folder of its data directory, which its
/// owner alone may look into.
#[derive(Debug, Clone)]
pub struct TrustFolder {
    path: PathBuf,
}

impl TrustFolder {
    /// The one in a data directory.
    pub fn of(data_dir: &Path) -> Self {
        Self {
            path: data_dir.join("trust"),
        }
    }

    /// The CAs of the cluster.
    pub fn bundle_file(&self) -> PathBuf {
        self.path.join("ca.pem")
    }

    /// Its own certificate and key.
    pub fn identity_file(&self) -> PathBuf {
        self.path.join("identity.pem")
    }

    /// The CA's certificate and key, where this is a member that has them.
    pub fn authority_file(&self) -> PathBuf {
        self.path.join("authority.pem")
    }

    /// Reads what is there; `None`: this data directory belongs to no cluster with certificates.
    ///
    /// # Errors
    /// Something cannot be read, or is of another cluster than the rest.
    pub fn load(&self) -> Result<Option<(KeyedCertificate, CaBundle)>, TrustError> {
        let Some(identity) = files::read_if_there(&self.identity_file())? else {
            return Ok(None);
        };
        let identity = KeyedCertificate::from_pem(&Secret::new(identity))?;
        let bundle = CaBundle::from_pem(&files::read(&self.bundle_file())?)?;
        if identity.certified.identity.cluster != bundle.cluster() {
            return Err(TrustError::unusable(
                self.path.display().to_string(),
                "the certificate and the CA are of different clusters",
            ));
        }
        Ok(Some((identity, bundle)))
    }

    /// Writes the CAs, and then the identity, which says that all is there.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn save(&self, identity: &KeyedCertificate, bundle: &CaBundle) -> Result<(), TrustError> {
        files::make_folder(&self.path)?;
        files::replace(&self.bundle_file(), &bundle.to_pem())?;
        files::replace(&self.identity_file(), identity.to_pem().expose())
    }

    /// The key with which this machine joins: made once, so that a machine that was cut off asks
    /// again with the same one.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn joining_key(&self) -> Result<PrivateKey, TrustError> {
        let path = self.path.join("joining.pem");
        if let Some(text) = files::read_if_there(&path)? {
            return PrivateKey::from_pem(&Secret::new(text));
        }
        files::make_folder(&self.path)?;
        let key = PrivateKey::generate()?;
        files::replace(&path, key.to_pem().expose())?;
        Ok(key)
    }

    /// Forgets the key with which this machine has joined: it stands with the certificate now.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn drop_joining_key(&self) -> Result<(), TrustError> {
        files::remove(&self.path.join("joining.pem"))
    }

    /// Where members are, as far as this machine was told.
    ///
    /// # Errors
    /// It was not told, or it cannot be read.
    pub fn addresses(&self) -> Result<Addresses, TrustError> {
        let path = self.addresses_file();
        files::read(&path)?
            .trim()
            .parse()
            .map_err(|error: ParseAddressError| {
                TrustError::unusable(path.display().to_string(), error)
            })
    }

    /// Writes where members are.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save_addresses(&self, addresses: &Addresses) -> Result<(), TrustError> {
        files::make_folder(&self.path)?;
        files::replace(&self.addresses_file(), &format!("{addresses}\n"))
    }

    fn addresses_file(&self) -> PathBuf {
        self.path.join("members")
    }

    /// Writes the CA's key.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save_authority(&self, authority: &crate::Authority) -> Result<(), TrustError> {
        files::make_folder(&self.path)?;
        authority.save(&self.authority_file())
    }
}

/// Whether a certificate has to be renewed at `now`.
pub fn is_due(certified: &Certified, now: WallTime) -> bool {
    now >= certified.due()
}
