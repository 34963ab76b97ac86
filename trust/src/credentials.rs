//! The file that lets a person's client in: where the cluster is, whom to believe, and who asks.

use std::path::Path;

use kelson_model::time::WallTime;
use serde::{Deserialize, Serialize};

use crate::addresses::Addresses;
use crate::bundle::CaBundle;
use crate::error::TrustError;
use crate::files;
use crate::keyed::KeyedCertificate;
use crate::secret::Secret;
use crate::token::Token;

const VERSION: u32 = 1;

/// What shows who somebody is.
#[derive(Debug)]
pub enum Proof {
    /// A certificate of the cluster's CA and its key.
    Certificate(Box<KeyedCertificate>),
    /// A token, which goes with each request.
    Token(Token),
}

/// What a client needs to speak to a cluster.
#[derive(Debug)]
pub struct Credentials {
    /// Where its members are.
    pub addresses: Addresses,
    /// Whom to believe.
    pub bundle: CaBundle,
    /// Who asks.
    pub proof: Proof,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored {
    version: u32,
    addresses: Vec<String>,
    /// PEM.
    authorities: String,
    /// PEM: certificate and key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl Credentials {
    /// Reads a file of credentials.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn load(path: &Path) -> Result<Self, TrustError> {
        let text = Secret::new(files::read(path)?);
        let unusable = |why: String| TrustError::unusable(path.display().to_string(), why);
        // What stands in it is not repeated: it may be secret.
        let stored: Stored = serde_json::from_str(text.expose()).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            unusable(format!(
                "it is no file of credentials (line {line}, column {column})"
            ))
        })?;
        if stored.version != VERSION {
            return Err(unusable(format!(
                "it is of version {}, and this program knows {VERSION}",
                stored.version
            )));
        }
        let addresses =
            Addresses::new(&stored.addresses).map_err(|error| unusable(error.to_string()))?;
        let bundle = CaBundle::from_pem(&stored.authorities)?;
        let proof =
            match (stored.certificate, stored.token) {
                (Some(certificate), None) => {
                    let certificate = KeyedCertificate::from_pem(&Secret::new(certificate))?;
                    if certificate.certified().identity.cluster != bundle.cluster() {
                        return Err(unusable(
                            "certificate and CA are of different clusters".to_owned(),
                        ));
                    }
                    Proof::Certificate(Box::new(certificate))
                }
                (None, Some(token)) => {
                    let token = Secret::new(token);
                    Proof::Token(token.expose().parse().map_err(
                        |error: crate::token::ParseTokenError| unusable(error.to_string()),
                    )?)
                }
                (Some(_), Some(_)) | (None, None) => {
                    return Err(unusable("it holds one of certificate and token".to_owned()));
                }
            };
        Ok(Self {
            addresses,
            bundle,
            proof,
        })
    }

    /// Writes a file of credentials that its owner alone may read.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), TrustError> {
        let (certificate, token) = match &self.proof {
            Proof::Certificate(certificate) => {
                (Some(certificate.to_pem().expose().to_owned()), None)
            }
            Proof::Token(token) => (None, Some(token.to_line().expose().to_owned())),
        };
        let stored = Stored {
            version: VERSION,
            addresses: self.addresses.iter().map(ToString::to_string).collect(),
            authorities: self.bundle.to_pem(),
            certificate,
            token,
        };
        let text = serde_json::to_string_pretty(&stored)
            .map_err(|error| TrustError::unmade("the file of credentials", error))?;
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            files::make_folder(folder)?;
        }
        files::replace(path, Secret::new(format!("{text}\n")).expose())
    }

    /// Whether the certificate has expired at `now`; that of a token is for the cluster to say.
    pub fn has_expired(&self, now: WallTime) -> bool {
        match &self.proof {
            Proof::Certificate(certificate) => !certificate.certified().holds_at(now),
            Proof::Token(_) => false,
        }
    }
}
