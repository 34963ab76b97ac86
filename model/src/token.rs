//! Tokens, as people ask for them and see them.

use serde::{Deserialize, Serialize};

use crate::access::Role;
use crate::id::TokenId;
use crate::object::Namespace;
use crate::quantity::Millis;
use crate::report::API_VERSION;

/// Asks for a token, POST /v1/tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenRequest {
    /// What whoever shows it becomes.
    pub role: Role,
    /// Where the role of a person holds; absent: everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Whom it is for; empty: nobody says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// How long it holds.
    pub ttl: Millis,
    /// How many machines may join by it; of a person's 0.
    pub uses: u32,
}

/// A token that was made. This is the only time that it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenAnswer {
    /// Always [`API_VERSION`].
    pub api_version: String,
    /// Always `Token`.
    pub kind: String,
    /// Names it.
    pub id: String,
    /// The line.
    pub token: String,
}

impl TokenAnswer {
    /// Tells a token.
    pub fn new(id: TokenId, token: &str) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: "Token".to_owned(),
            id: id.to_string(),
            token: token.to_owned(),
        }
    }
}

/// A token as it is listed, GET /v1/tokens: without its secret, which nobody has any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenView {
    /// `tok_7`.
    pub id: String,
    /// What whoever shows it becomes.
    pub role: Role,
    /// Where; absent: everywhere.
    pub namespace: Option<Namespace>,
    /// Whom it is for.
    pub name: String,
    /// Who made it.
    pub by: String,
    /// When, RFC 3339.
    pub created_at: String,
    /// Until when it holds, RFC 3339.
    pub expires_at: String,
    /// How many machines may join by it; 0: it is a person's.
    pub uses: u32,
    /// Who has joined by it, `agt_7`.
    pub joined: Vec<String>,
}

/// Takes a token away, POST /v1/tokens/revoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevokeRequest {
    /// Which one.
    pub token: TokenId,
}

/// A token that was taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevokeAnswer {
    /// `tok_7`.
    pub token: String,
}
