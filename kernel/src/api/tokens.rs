//! Tokens over HTTP: made, listed, taken away.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use kelson_kernel_core::command::{Command, CreateToken, RevokeToken};
use kelson_kernel_core::record::TokenRecord;
use kelson_kernel_core::{Reply, State};
use kelson_model::access::Role;
use kelson_model::code::Code;
use kelson_model::id::AgentId;
use kelson_model::principal::Principal;
use kelson_model::request::Refusal;
use kelson_model::time::WallTime;
use kelson_model::token::{RevokeAnswer, RevokeRequest, TokenAnswer, TokenRequest, TokenView};
use kelson_trust::{Token, hash_of, is_same_hash};
use serde::de::DeserializeOwned;

use crate::api::access::{Known, Who};
use crate::api::http::{Answered, Failure, list, reply};
use crate::kernel::Kernel;
use crate::trust::Trust;

/// What a listener over TLS was opened with; a plain one has none.
#[derive(Debug, Clone)]
pub(crate) struct Trusted(pub(crate) Option<Trust>);

/// Whose token a line is, where it is a person's and holds.
pub(super) fn bearer(kernel: &Kernel, state: &State, line: &str) -> Option<Known> {
    let token: Token = line.parse().ok()?;
    let known = state.tokens.get(&token.id)?;
    let holds = is_same_hash(&known.hash, &token.hash())
        && !known.has_expired(kernel.now(), kernel.wall())
        && known.role.is_of_people();
    holds.then(|| Known {
        role: known.role,
        name: known.name.clone(),
        namespace: known.namespace.clone(),
    })
}

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::bad(error.to_string()))
}

fn refuse(message: &str, hint: &str) -> Failure {
    let refusal = Refusal {
        code: Code::TokenRefused.into(),
        message: message.to_owned(),
        hint: hint.to_owned(),
    };
    Failure::of(StatusCode::CONFLICT, refusal)
}

/// Has a command carried out in somebody's name.
pub(super) async fn propose(
    kernel: &Kernel,
    by: Principal,
    command: Command,
) -> Result<Reply, Failure> {
    let proposed = kernel.propose_for(by, command).await;
    match proposed.map_err(|error| Failure::unavailable(error.to_string()))? {
        Reply::Refused(refusal) => Err(Failure::of(StatusCode::CONFLICT, refusal)),
        reply => Ok(reply),
    }
}

fn by(who: &Who) -> Principal {
    who.principal(Principal::new("somebody", "api"))
}

/// Makes a token: a secret of which the log gets the hash, and the answer the rest.
pub(super) async fn create(
    Shared(kernel): Shared<Kernel>,
    Extension(who): Extension<Who>,
    Extension(Trusted(trust)): Extension<Trusted>,
    body: Bytes,
) -> Answered {
    let asked: TokenRequest = parse(&body)?;
    let authority = trust.and_then(|trust| trust.bundle().fingerprints().into_iter().next());
    let Some(authority) = authority else {
        return Err(refuse(
            "this kernel serves its own machine alone, and lets nobody else in",
            "a cluster of several machines is founded by `kelson kernel init`",
        ));
    };
    let secret = Token::new_secret().map_err(|error| Failure::unavailable(error.to_string()))?;
    let command = CreateToken {
        role: asked.role,
        namespace: asked.namespace,
        name: asked.name,
        hash: hash_of(&secret),
        ttl: asked.ttl,
        uses: asked.uses,
    };
    match propose(&kernel, by(&who), Command::CreateToken(command)).await? {
        Reply::TokenCreated { token: id } => {
            let line = Token::new(id, asked.role, secret, authority).to_line();
            reply(TokenAnswer::new(id, line.expose()))
        }
        other => Err(Failure::unavailable(format!("unexpected reply {other:?}"))),
    }
}

/// Lists the tokens that hold.
pub(super) async fn list_tokens(Shared(kernel): Shared<Kernel>) -> Answered {
    let (state, now, wall) = (kernel.state(), kernel.now(), kernel.wall());
    let holding = state.tokens.values();
    let holding = holding.filter(|token| !token.has_expired(now, wall));
    list("TokenList", holding.map(|token| view(token)).collect())
}

fn view(token: &TokenRecord) -> TokenView {
    let joined = token.joined.iter().map(|joined| match token.role {
        Role::Agent => AgentId(joined.id).to_string(),
        _ => joined.id.to_string(),
    });
    TokenView {
        id: token.id.to_string(),
        role: token.role,
        namespace: token.namespace.clone(),
        name: token.name.clone(),
        by: token.by.to_string(),
        created_at: token.made_wall.to_string(),
        expires_at: WallTime(token.made_wall.0.saturating_add(token.ttl.0)).to_string(),
        uses: token.uses,
        joined: joined.collect(),
    }
}

/// Takes a token away.
pub(super) async fn revoke(
    Shared(kernel): Shared<Kernel>,
    Extension(who): Extension<Who>,
    body: Bytes,
) -> Answered {
    let RevokeRequest { token } = parse(&body)?;
    propose(
        &kernel,
        by(&who),
        Command::RevokeToken(RevokeToken { token }),
    )
    .await?;
    reply(RevokeAnswer {
        token: token.to_string(),
    })
}
