//! Who may ask for what: the roles that each route wants, and the one function that decides.
//!
//! *Flow:* a connection says who is at its other end; each request is held against the table of
//! routes before its handler sees it; a request that changes something is held against what it
//! changes before it is proposed. *Guarantees:* what is not in the table is refused. *Assumes:* a
//! listener in plain is reached from this machine alone, and whoever is there may do everything.

use axum::extract::{ConnectInfo, Query, Request, State as Shared};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use kelson_kernel_core::State;
use kelson_model::access::Role;
use kelson_model::code::Code;
use kelson_model::id::TaskId;
use kelson_model::object::Namespace;
use kelson_model::principal::Principal;
use kelson_model::request::{self, Refusal};
use serde::Deserialize;
use tonic::Status;

use crate::api::doors::Caller;
use crate::api::http::Failure;
use crate::api::tokens::bearer;
use crate::kernel::Kernel;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    /// Somebody on this machine, at a listener in plain.
    Local,
    /// Nobody that is known.
    Stranger,
    /// Whom a certificate or a token names.
    Known(Known),
}

/// Somebody who is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) role: Role,
    /// `alice`, `agt_7`.
    pub(crate) name: String,
    /// Where the role holds: there and below; absent: everywhere.
    pub(crate) namespace: Option<Namespace>,
}

impl Who {
    /// By whom a request is made: by whom it says on this machine and between members, else by whom
    /// its connection says.
    pub(crate) fn principal(&self, said: Principal) -> Principal {
        match self {
            Self::Local | Self::Stranger => said,
            Self::Known(known) if known.role == Role::Member => said,
            Self::Known(known) => Principal::new(&known.name, &said.via),
        }
    }
}

/// What a question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing that belongs to anybody.
    Nowhere,
    /// One namespace.
    In(Namespace),
    /// Everything.
    Everywhere,
}

/// Decides whether somebody may ask for something: they have one of `roles` where it is, or there
/// are none, and everybody may. A member may ask for everything: it passes on what others ask, and
/// decides itself.
///
/// # Errors
/// Why not.
pub(crate) fn authorise(who: &Who, roles: &[Role], place: &Place) -> Result<(), Refusal> {
    if roles.is_empty() {
        return Ok(());
    }
    let known = match who {
        Who::Local => return Ok(()),
        Who::Stranger => {
            return Err(Refusal {
                code: Code::NotKnown.into(),
                message: "it is not known who asks".to_owned(),
                hint: "show a certificate of this cluster, or a token of it that holds".to_owned(),
            });
        }
        Who::Known(known) if known.role == Role::Member => return Ok(()),
        Who::Known(known) => known,
    };
    let denied = |message: String, hint: &str| {
        Err(Refusal {
            code: Code::Denied.into(),
            message,
            hint: hint.to_owned(),
        })
    };
    let (name, role) = (&known.name, known.role);
    if !roles.iter().any(|needed| role.holds(*needed)) {
        let wanted: Vec<&str> = roles.iter().map(|role| role.name()).collect();
        let wanted = wanted.join(" or ");
        return denied(
            format!("{name} is {role} here, and this wants the role {wanted}"),
            "ask an administrator of the cluster",
        );
    }
    let Some(own) = &known.namespace else {
        return Ok(());
    };
    match place {
        Place::Nowhere => Ok(()),
        Place::In(namespace) if namespace.is_within(own) => Ok(()),
        Place::In(namespace) => denied(
            format!("{name} is {role} in {own}, and this is about {namespace}"),
            "name a namespace of your own with -n",
        ),
        Place::Everywhere => denied(
            format!("{name} is {role} in {own}, and this is about more than that"),
            "name a namespace of your own with -n",
        ),
    }
}

/// Where a route looks, as its address says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// At nothing that belongs to anybody; or the handler asks again, once it has read what is
    /// asked for.
    Nowhere,
    /// At everything.
    Everywhere,
    /// At the namespace that is named, else at everything.
    Namespace,
    /// At an object, in the namespace that is named, else in that without a name.
    Object,
    /// At an object where one is named, else at everything.
    MaybeObject,
    /// At a task.
    Task,
}

/// One route, the roles of which one is wanted, and where it looks.
struct Route {
    path: &'static str,
    roles: &'static [Role],
    /// The same, where it is asked to change something.
    changing: &'static [Role],
    scope: Scope,
}

const fn route(path: &'static str, roles: &'static [Role], scope: Scope) -> Route {
    Route {
        path,
        roles,
        changing: roles,
        scope,
    }
}

const ANYBODY: &[Role] = &[];
const READER: &[Role] = &[Role::Reader];
const OPERATOR: &[Role] = &[Role::Operator];
const ADMIN: &[Role] = &[Role::Admin];
const AGENT: &[Role] = &[Role::Agent];
const MEMBER: &[Role] = &[Role::Member];
/// People who look, and agents, which fetch the files of their tasks.
const READER_OR_AGENT: &[Role] = &[Role::Reader, Role::Agent];

/// All routes of the API, of HTTP and of gRPC.
const ROUTES: &[Route] = &[
    route("/healthz", ANYBODY, Scope::Nowhere),
    route("/readyz", ANYBODY, Scope::Nowhere),
    route("/metrics", READER, Scope::Everywhere),
    route("/v1/status", READER, Scope::Namespace),
    route("/v1/tasks", READER, Scope::Namespace),
    route("/v1/agents", READER, Scope::Everywhere),
    Route {
        path: "/v1/members",
        roles: READER,
        changing: ADMIN,
        scope: Scope::Everywhere,
    },
    route("/v1/frameworks", READER, Scope::Everywhere),
    route("/v1/frameworks/reset", OPERATOR, Scope::Everywhere),
    route("/v1/frameworks/logs", READER, Scope::Everywhere),
    route("/v1/frameworks/query", READER, Scope::Everywhere),
    route("/v1/drift", READER, Scope::Everywhere),
    route("/v1/events", READER, Scope::MaybeObject),
    route("/v1/objects", READER, Scope::Namespace),
    route("/v1/object", READER, Scope::Object),
    route("/v1/why", READER, Scope::Object),
    route("/v1/kinds", READER, Scope::Nowhere),
    route("/v1/client", READER, Scope::Nowhere),
    // What is asked for decides.
    route("/v1/requests", READER, Scope::Nowhere),
    route("/v1/plan", READER, Scope::Everywhere),
    route("/v1/logs", READER, Scope::Task),
    route("/v1/watch", READER, Scope::Everywhere),
    route("/v1/info", READER, Scope::Nowhere),
    route("/v1/authorities", ANYBODY, Scope::Nowhere),
    route("/v1/tokens", ADMIN, Scope::Everywhere),
    route("/v1/tokens/revoke", ADMIN, Scope::Everywhere),
    route("/v1/renew", AGENT, Scope::Nowhere),
    // The token decides.
    route("/v1/enrol", ANYBODY, Scope::Nowhere),
    route("/kelson.v1.Kernel/Begin", READER, Scope::Nowhere),
    // What is asked for decides.
    route("/kelson.v1.Kernel/Submit", READER, Scope::Nowhere),
    route("/kelson.v1.Kernel/Watch", READER, Scope::Everywhere),
    route("/kelson.v1.Kernel/PutBlob", OPERATOR, Scope::Everywhere),
    route(
        "/kelson.v1.Kernel/GetBlob",
        READER_OR_AGENT,
        Scope::Everywhere,
    ),
    route(
        "/kelson.v1.Kernel/MissingBlobs",
        OPERATOR,
        Scope::Everywhere,
    ),
    route("/kelson.v1.Agents/Session", AGENT, Scope::Nowhere),
    route("/kelson.v1.Members/Append", MEMBER, Scope::Everywhere),
    route("/kelson.v1.Members/Beat", MEMBER, Scope::Everywhere),
    route("/kelson.v1.Members/Vote", MEMBER, Scope::Everywhere),
    route("/kelson.v1.Members/PreVote", MEMBER, Scope::Everywhere),
    route("/kelson.v1.Members/HandOver", MEMBER, Scope::Everywhere),
    route("/kelson.v1.Members/ReadIndex", MEMBER, Scope::Everywhere),
    route("/kelson.v1.Members/Greet", MEMBER, Scope::Everywhere),
    route("/kelson.v1.Members/SendSnapshot", MEMBER, Scope::Everywhere),
    route("/kelson.v1.Relay/Propose", MEMBER, Scope::Everywhere),
    route("/kelson.v1.Relay/Hear", MEMBER, Scope::Everywhere),
    // In plain only: over TLS a machine joins by a token.
    route("/kelson.v1.Admission/Admit", MEMBER, Scope::Everywhere),
];

/// What a query may name.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Meant {
    namespace: Option<String>,
    name: Option<String>,
    task: Option<String>,
}

fn place_of(scope: Scope, uri: &Uri, state: &State) -> Place {
    let Ok(Query(meant)) = Query::<Meant>::try_from_uri(uri) else {
        return Place::Everywhere;
    };
    let named = meant.namespace.as_ref().map(|text| text.parse());
    let of = |namespace: Result<Namespace, _>| namespace.map_or(Place::Everywhere, Place::In);
    let object = |named: Option<Result<Namespace, _>>| {
        of(named.unwrap_or_else(|| Ok(Namespace::default_namespace())))
    };
    match scope {
        Scope::Nowhere => Place::Nowhere,
        Scope::Everywhere => Place::Everywhere,
        Scope::Namespace => named.map_or(Place::Everywhere, of),
        Scope::Object => object(named),
        Scope::MaybeObject if meant.name.is_some() => object(named),
        Scope::MaybeObject => Place::Everywhere,
        Scope::Task => {
            let task = meant.task.and_then(|task| task.parse::<TaskId>().ok());
            task_place(task, state)
        }
    }
}

fn task_place(task: Option<TaskId>, state: &State) -> Place {
    let task = task.and_then(|task| state.tasks.get(task));
    task.map_or(Place::Everywhere, |task| {
        Place::In(task.object().namespace.clone())
    })
}

/// The role that a change wants, and where it is made.
pub(crate) fn needed(request: &request::Request, state: &State) -> (Role, Place) {
    use request::Request;
    match request {
        // What git says, which the reconciler beside a member says.
        Request::Stage(_)
        | Request::Accept(_)
        | Request::ReportSource(_)
        | Request::RecordDrift(_) => (Role::Admin, Place::Everywhere),
        Request::SetField(set) => (Role::Operator, Place::In(set.object.namespace.clone())),
        Request::StopTask(stop) => (Role::Operator, task_place(Some(stop.task), state)),
        Request::Confirm(_) => (Role::Operator, Place::Everywhere),
        Request::SetNamespace(_) => (Role::Admin, Place::Everywhere),
    }
}

/// Who is at the other end of a connection.
fn who(kernel: &Kernel, caller: Option<&Caller>, headers: &HeaderMap) -> Who {
    let Some(Caller(peer)) = caller else {
        return Who::Stranger;
    };
    if !peer.is_secure {
        return Who::Local;
    }
    match &peer.certified {
        // A connection may outlive the certificate that it began with.
        Some(certified) if certified.holds_at(kernel.wall()) => Who::Known(Known {
            role: certified.identity.role,
            name: certified.identity.name.clone(),
            namespace: None,
        }),
        Some(_) => Who::Stranger,
        None => shown(kernel, headers).map_or(Who::Stranger, Who::Known),
    }
}

/// Who shows a token that holds.
fn shown(kernel: &Kernel, headers: &HeaderMap) -> Option<Known> {
    let header = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    bearer(kernel, &kernel.state(), header.strip_prefix("Bearer ")?)
}

/// Lets a request through to its handler, with [`Who`] asks, or refuses it.
pub(crate) async fn admit(
    Shared(kernel): Shared<Kernel>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = request.extensions().get::<ConnectInfo<Caller>>();
    let caller = caller.map(|ConnectInfo(caller)| caller);
    let who = who(&kernel, caller, request.headers());
    let path = request.uri().path();
    let found = ROUTES.iter().find(|route| route.path == path);
    let decided = match found {
        Some(route) => {
            let place = place_of(route.scope, request.uri(), &kernel.state());
            let reads = request.method() == Method::GET || request.method() == Method::HEAD;
            let roles = if reads { route.roles } else { route.changing };
            authorise(&who, roles, &place)
        }
        // Nobody has said who may ask for it. What is not there at all is said to whoever may do
        // everything.
        None => authorise(&who, &[Role::Member], &Place::Everywhere),
    };
    match decided {
        Ok(()) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Err(refusal) => {
            tracing::info!(?who, path, %refusal, "refused");
            refused(refusal, request.headers())
        }
    }
}

/// A refusal in the tongue of whoever asked.
fn refused(refusal: Refusal, headers: &HeaderMap) -> Response {
    let is_unknown = refusal.code == Code::NotKnown;
    let is_grpc = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if is_grpc {
        let told = format!("{refusal}; {}", refusal.hint);
        let status = if is_unknown {
            Status::unauthenticated(told)
        } else {
            Status::permission_denied(told)
        };
        return status.into_http();
    }
    let status = if is_unknown {
        StatusCode::UNAUTHORIZED
    } else {
        StatusCode::FORBIDDEN
    };
    Failure::of(status, refusal).into_response()
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
