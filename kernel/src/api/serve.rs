//! Serving: both faces of the API on one listener.

use std::future::Future;
use std::io;

use axum::Extension;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use kelson_proto::v1::admission_server::AdmissionServer;
use kelson_proto::v1::agents_server::AgentsServer;
use kelson_proto::v1::kernel_server::KernelServer;
use kelson_proto::v1::relay_server::RelayServer;
use kelson_trust::Listener;
use tokio::net::TcpListener;

use crate::api::doors::{Caller, Doors};
use crate::api::tokens::Trusted;
use crate::api::{access, clients, http, sessions};
use crate::kernel::Kernel;
use crate::metrics::Metrics;
use crate::relay::{AdmissionService, RelayService};
use crate::trust::Trust;

/// Serves the API in plain on a listener of this machine alone, until `shutdown` is done.
///
/// # Errors
/// Other machines can reach the listener, or it failed.
pub async fn run_api(
    kernel: Kernel,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_api(kernel, Listener::plain(listener)?, None, shutdown).await
}

/// Serves the API on a listener until `shutdown` is done. Over TLS, further machines join by what
/// `trust` holds.
///
/// # Errors
/// The listener failed.
pub async fn serve_api(
    kernel: Kernel,
    listener: Listener,
    trust: Option<Trust>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let agents = AgentsServer::new(sessions::AgentService::new(kernel.clone()))
        .max_decoding_message_size(kelson_proto::MAX_MESSAGE)
        .max_encoding_message_size(kelson_proto::MAX_MESSAGE);
    let clients = KernelServer::new(clients::ClientService::new(kernel.clone()))
        .max_decoding_message_size(kelson_proto::MAX_MESSAGE)
        .max_encoding_message_size(kelson_proto::MAX_MESSAGE);
    let relay = RelayServer::new(RelayService::new(kernel.clone()))
        .max_decoding_message_size(kelson_proto::MAX_MESSAGE)
        .max_encoding_message_size(kelson_proto::MAX_MESSAGE);
    let grpc = tonic::service::Routes::new(agents)
        .add_service(clients)
        .add_service(kernel.member().service())
        .add_service(relay)
        .add_service(AdmissionServer::new(AdmissionService::new(kernel.clone())))
        .prepare()
        .into_axum_router();
    let metrics = kernel.metrics().clone();
    let router = http::routes(kernel.clone())
        .merge(grpc)
        .fallback(http::no_such_route)
        .layer(Extension(Trusted(trust)))
        .layer(from_fn_with_state(kernel, access::admit))
        .layer(from_fn_with_state(metrics, count_answer));
    let service = router.into_make_service_with_connect_info::<Caller>();
    axum::serve(Doors(listener), service)
        .with_graceful_shutdown(shutdown)
        .await
}

/// Counts an answer when it begins.
async fn count_answer(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let answer = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    metrics.answered(route, answer.status().as_u16());
    answer
}
