//! How a machine that has a token becomes one that the cluster knows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A machine joins, POST /v1/enrol.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnrolRequest {
    /// The line of a token.
    pub token: String,
    /// PKCS #10 as PEM: the machine's public key, signed with its private one.
    pub request: String,
    /// Names the machine's data directory, at most 64 bytes.
    pub directory: String,
    /// The machine's name, for people, at most 64 bytes.
    pub name: String,
}

impl fmt::Debug for EnrolRequest {
    /// Shows nothing of the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrolRequest({} at {})", self.name, self.directory)
    }
}

/// What a machine is from now on. Asked again with the same token and key, the answer names the
/// same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrolAnswer {
    /// `agt_7`.
    pub id: String,
    /// The certificate and those behind it, as PEM.
    pub certificate: String,
    /// The CAs of the cluster, as PEM.
    pub authorities: String,
    /// Where members are, `host:port`.
    pub addresses: Vec<String>,
}

/// A machine that is known wants a new certificate, POST /v1/renew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RenewRequest {
    /// As in [`EnrolRequest`].
    pub request: String,
}

/// The CAs of a cluster, GET /v1/authorities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthoritiesAnswer {
    /// As PEM.
    pub authorities: String,
    /// Where members are, `host:port`.
    pub addresses: Vec<String>,
}
