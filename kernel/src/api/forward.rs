//! Requests that only one member can answer, on their way to it.
//!
//! What depends on what the leader remembers (pauses, rounds), on its sandbox, or on its say over
//! the members, is answered there; the output of a task where its agent is attached. A request
//! says how often it was handed on, and nobody hands it on for ever.

use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tonic::client::GrpcService;

use super::http::Failure;
use crate::kernel::Kernel;

/// How often a request was handed on.
const HOPS: HeaderName = HeaderName::from_static("kelson-hops");
/// To the leader, and from there to the member that an agent is attached to.
const MOST_HOPS: u8 = 2;
/// What belongs to one connection.
const OF_CONNECTION: [HeaderName; 5] = [
    header::CONNECTION,
    header::HOST,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Answers here where this member leads, where nobody does, and where whoever asks takes what any
/// member has.
pub(super) async fn to_leader(
    Shared(kernel): Shared<Kernel>,
    request: Request,
    next: Next,
) -> Response {
    let is_stale = request.uri().query().is_some_and(|query| {
        let mut parameters = query.split('&');
        parameters.any(|one| one == "stale=true")
    });
    match kernel.leader_elsewhere() {
        Some((leader, address)) if !is_stale && hops(&request) == 0 => {
            hand_on(&kernel, leader, &address, request)
                .await
                .unwrap_or_else(IntoResponse::into_response)
        }
        Some(_) | None => next.run(request).await,
    }
}

/// How often a request was handed on.
pub(super) fn hops(request: &Request) -> u8 {
    let told = request.headers().get(&HOPS);
    let told = told.and_then(|told| told.to_str().ok());
    told.and_then(|told| told.parse().ok()).unwrap_or(0)
}

/// Whether it may be handed on once more.
pub(super) fn may_go_on(request: &Request) -> bool {
    hops(request) < MOST_HOPS
}

/// Hands a request on to a member, and its answer back.
///
/// # Errors
/// It cannot be reached.
pub(super) async fn hand_on(
    kernel: &Kernel,
    member: u64,
    address: &str,
    request: Request,
) -> Result<Response, Failure> {
    let lost = |why: &dyn std::fmt::Display| {
        Failure::leaderless(format!(
            "member {member} at {address} does not answer: {why}"
        ))
    };
    let mut channel = kernel
        .links()
        .channel(member, address)
        .map_err(|error| lost(&error))?;
    let hops = HeaderValue::from(u16::from(hops(&request)) + 1);
    let (mut parts, body) = request.into_parts();
    for name in &OF_CONNECTION {
        parts.headers.remove(name);
    }
    parts.headers.insert(HOPS, hops);
    parts.version = axum::http::Version::HTTP_2;
    // The connection knows whom it leads to.
    let path = parts.uri.path_and_query().cloned();
    parts.uri = path.map(axum::http::Uri::from).unwrap_or_default();
    parts.extensions.clear();
    let request = axum::http::Request::from_parts(parts, tonic::body::Body::new(body));
    std::future::poll_fn(|context| {
        GrpcService::<tonic::body::Body>::poll_ready(&mut channel, context)
    })
    .await
    .map_err(|error| lost(&error))?;
    let answer = GrpcService::call(&mut channel, request).await;
    Ok(answer.map_err(|error| lost(&error))?.map(Body::new))
}
