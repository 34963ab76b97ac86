//! Enrolment: a machine that has a token becomes one that the cluster knows.
//!
//! *Flow:* the token is held against the log, which gives the machine its id once; then this member
//! certifies the machine's key as that id. *Guarantees:* a token that is for one machine lets one
//! in, however many ask at once, and whoever asks again with the same key is told the same.
//! *Assumes:* whoever asks has checked by the token's fingerprint that this is a member.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use kelson_kernel_core::Reply;
use kelson_kernel_core::command::{Command, UseToken};
use kelson_model::access::Role;
use kelson_model::code::Code;
use kelson_model::enrol::{AuthoritiesAnswer, EnrolAnswer, EnrolRequest, RenewRequest};
use kelson_model::id::AgentId;
use kelson_model::principal::Principal;
use kelson_model::request::Refusal;
use kelson_trust::{Authority, Identity, MACHINE_LIFE, Token, key_of_request};

use super::tokens::{Trusted, parse, propose};
use crate::api::access::Who;
use crate::api::http::{Answered, Failure, reply};
use crate::kernel::Kernel;
use crate::trust::Trust;

/// Largest body that somebody may send who is not known yet.
pub(super) const MAX_BODY: usize = 16 << 10;

fn refused(status: StatusCode, message: impl Into<String>) -> Failure {
    let refusal = Refusal {
        code: Code::TokenRefused.into(),
        message: message.into(),
        hint: "see docs/operate/several-machines.md".to_owned(),
    };
    Failure::of(status, refusal)
}

fn of_several(trust: Option<Trust>) -> Result<Trust, Failure> {
    trust.ok_or_else(|| {
        let message = "this kernel serves its own machine alone, and lets nobody else in";
        refused(StatusCode::CONFLICT, message)
    })
}

/// What certifies here. Whoever asks has other members to try.
fn authority(trust: &Trust) -> Result<&Authority, Failure> {
    trust.authority().ok_or_else(|| {
        Failure::unavailable("this member does not hold the key of the cluster's CA")
    })
}

/// Says who a machine is, with a certificate for its key.
fn certify(kernel: &Kernel, trust: &Trust, request: &str, known: (Role, &str)) -> Answered {
    let (role, id) = known;
    let authority = authority(trust)?;
    let identity = Identity {
        cluster: authority.cluster().to_owned(),
        role,
        name: id.to_owned(),
    };
    let certificate = authority
        .certify(request, &identity, &[], kernel.wall(), MACHINE_LIFE)
        .map_err(|error| Failure::bad(error.to_string()))?;
    reply(EnrolAnswer {
        id: id.to_owned(),
        certificate,
        authorities: trust.bundle().to_pem(),
        addresses: vec![trust.address().to_owned()],
    })
}

/// Lets a machine join.
pub(super) async fn enrol(
    Shared(kernel): Shared<Kernel>,
    Extension(Trusted(trust)): Extension<Trusted>,
    body: Bytes,
) -> Answered {
    let trust = of_several(trust)?;
    let asked: EnrolRequest = parse(&body)?;
    // Nothing is used up that cannot be answered.
    authority(&trust)?;
    let key = key_of_request(&asked.request).map_err(|error| Failure::bad(error.to_string()))?;
    let token: Token = asked
        .token
        .parse()
        .map_err(|error: kelson_trust::ParseTokenError| Failure::bad(error.to_string()))?;
    let command = UseToken {
        token: token.id,
        hash: token.hash(),
        role: token.role,
        key,
        directory: asked.directory,
        name: asked.name,
    };
    let by = Principal::new(&token.id.to_string(), "token");
    let id = match propose(&kernel, by, Command::UseToken(command)).await? {
        Reply::Joined { id } => AgentId(id).to_string(),
        other => return Err(Failure::unavailable(format!("unexpected reply {other:?}"))),
    };
    tracing::info!(%id, token = %token.id, "a machine has joined");
    certify(&kernel, &trust, &asked.request, (token.role, &id))
}

/// Certifies a machine anew, as what it is.
pub(super) async fn renew(
    Shared(kernel): Shared<Kernel>,
    Extension(who): Extension<Who>,
    Extension(Trusted(trust)): Extension<Trusted>,
    body: Bytes,
) -> Answered {
    let trust = of_several(trust)?;
    let RenewRequest { request } = parse(&body)?;
    match &who {
        Who::Known(known) if !known.role.is_of_people() => {
            certify(&kernel, &trust, &request, (known.role, &known.name))
        }
        Who::Known(_) | Who::Local | Who::Stranger => {
            let message = "only a machine of the cluster is certified anew";
            Err(refused(StatusCode::FORBIDDEN, message))
        }
    }
}

/// Says whom the cluster believes. It is no secret; whoever asks holds it against a fingerprint.
pub(super) async fn authorities(Extension(Trusted(trust)): Extension<Trusted>) -> Answered {
    let trust = of_several(trust)?;
    reply(AuthoritiesAnswer {
        authorities: trust.bundle().to_pem(),
        addresses: vec![trust.address().to_owned()],
    })
}
