//! JSON over HTTP: the same nouns for people with curl, for the CLI and for a UI.

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequestParts, Query, Request, State as Shared};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use futures_util::StreamExt;
use kelson_kernel_core::object::Object;
use kelson_kernel_core::{Explanation, State, explain_absent, explain_object, report};
use kelson_model::code::Code;
use kelson_model::id::{AgentId, Index};
use kelson_model::object::{Namespace, ObjectKey};
use kelson_model::preview::PlanRequest;
use kelson_model::report::{LoopReport, LoopState};
use kelson_model::request::{Answer, Refusal};
use kelson_model::view::{ErrorReport, KindView, List, MemberInfo, Readiness, WhyReport};
use serde::Deserialize;
use serde_json::json;
use tokio_stream::wrappers::ReceiverStream;

use crate::api::access::Who;
use crate::api::forward::{hand_on, may_go_on, to_leader};
use crate::api::guard::refuse_foreign;
use crate::api::logs::{LogError, LogQuery, TRAILER, open_log};
use crate::api::reads::{self, Freshness};
use crate::api::{clients, enrolment, frameworks, members, tokens, views, watch};
use crate::kernel::Kernel;
use crate::leader::preview::preview;
use crate::metrics::MEDIA_TYPE;
use crate::sessions::Fault;

/// Largest body of a request: a plan of many objects.
const MAX_BODY: usize = 64 << 20;

/// All routes.
pub(crate) fn routes(kernel: Kernel) -> Router {
    // Whoever asks is not known yet, and has little to say.
    let joining = post(enrolment::enrol).layer(DefaultBodyLimit::max(enrolment::MAX_BODY));
    let of_leader = Router::new()
        .route("/v1/frameworks", get(list_frameworks))
        .route("/v1/frameworks/reset", post(frameworks::reset))
        .route("/v1/frameworks/logs", get(frameworks::logs))
        .route("/v1/frameworks/query", post(frameworks::query))
        .route("/v1/why", get(why))
        .route("/v1/plan", post(plan))
        .route("/v1/members", get(members::list).post(members::change))
        .route_layer(axum::middleware::from_fn_with_state(
            kernel.clone(),
            to_leader,
        ));
    Router::new()
        .merge(of_leader)
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
        .route("/v1/tasks", get(tasks))
        .route("/v1/agents", get(agents))
        .route("/v1/drift", get(drift))
        .route("/v1/events", get(events))
        .route("/v1/objects", get(objects))
        .route("/v1/object", get(object))
        .route("/v1/kinds", get(kinds))
        .route("/v1/client", get(client))
        .route("/v1/requests", post(requests))
        .route("/v1/logs", get(logs))
        .route("/v1/watch", get(watch_rows))
        .route("/v1/info", get(info))
        .route("/v1/authorities", get(enrolment::authorities))
        .route("/v1/tokens", get(tokens::list_tokens).post(tokens::create))
        .route("/v1/tokens/revoke", post(tokens::revoke))
        .route("/v1/renew", post(enrolment::renew))
        .route("/v1/enrol", joining)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn(refuse_foreign))
        .with_state(kernel)
}

/// An answer that is no.
pub(crate) struct Failure(StatusCode, Refusal);

impl Failure {
    pub(crate) fn new(
        status: StatusCode,
        code: Code,
        message: impl Into<String>,
        hint: &str,
    ) -> Self {
        Self(
            status,
            Refusal {
                code: code.into(),
                message: message.into(),
                hint: hint.to_owned(),
            },
        )
    }

    pub(super) fn of(status: StatusCode, refusal: Refusal) -> Self {
        Self(status, refusal)
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            Code::UnreadableRequest,
            message,
            "see docs/reference/http.md",
        )
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::Unavailable,
            message,
            "try again; see the kernel's log",
        )
    }
}

impl Failure {
    /// There is no leader, or there was another one in between.
    pub(super) fn leaderless(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::NoLeader,
            message,
            "ask again, with the same client and sequence; see `kelson members`",
        )
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, axum::Json(ErrorReport { error: self.1 })).into_response()
    }
}

pub(super) type Answered = Result<Response, Failure>;

pub(super) fn reply(value: impl serde::Serialize) -> Answered {
    Ok(axum::Json(value).into_response())
}

/// What may stand behind the question mark; each route reads what it needs.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    namespace: Option<String>,
    kind: Option<String>,
    name: Option<String>,
    all: Option<bool>,
    since: Option<u64>,
    resume: Option<u64>,
    kinds: Option<String>,
    task: Option<String>,
    stream: Option<String>,
    tail: Option<u64>,
    follow: Option<bool>,
    stale: Option<bool>,
    lease: Option<bool>,
    min_index: Option<u64>,
    cluster: Option<String>,
}

impl Asked {
    /// The state, as fresh as whoever asks wants it.
    pub(super) async fn state(&self, kernel: &Kernel) -> Result<State, Failure> {
        let freshness = match (self.stale.unwrap_or(false), self.lease.unwrap_or(false)) {
            (true, true) => return Err(Failure::bad("either `stale` or `lease`, not both")),
            (true, false) => Freshness::Stale(Index(self.min_index.unwrap_or(0))),
            (false, _) if self.min_index.is_some() => {
                return Err(Failure::bad("`min_index` goes with `stale=true`"));
            }
            (false, true) => Freshness::Lease,
            (false, false) => Freshness::Linearizable,
        };
        reads::state(kernel, freshness).await
    }

    fn namespace(&self) -> Result<Option<Namespace>, Failure> {
        let parse = |text: &String| {
            text.parse()
                .map_err(|error: kelson_model::id::ParseIdError| Failure::bad(error.to_string()))
        };
        self.namespace.as_ref().map(parse).transpose()
    }

    /// The object that is asked for; its kind in any case.
    fn object<'a>(&self, state: &'a State) -> Result<&'a Object, Failure> {
        let (Some(kind), Some(name)) = (&self.kind, &self.name) else {
            return Err(Failure::bad(
                "an object is named by kind, namespace and name",
            ));
        };
        let namespace = self
            .namespace()?
            .unwrap_or_else(Namespace::default_namespace);
        let kinds = state
            .kinds()
            .filter(|known| known.eq_ignore_ascii_case(kind));
        let keys = kinds.map(|known| ObjectKey::new(known, namespace.clone(), name));
        let found = keys.filter_map(|key| state.objects.get(&key)).next();
        found.map(AsRef::as_ref).ok_or_else(|| {
            Failure::new(
                StatusCode::NOT_FOUND,
                Code::NoSuchObject,
                format!("there is no {kind} {namespace}/{name}"),
                "see `kelson status -A`",
            )
        })
    }
}

/// Answers what no route is for.
pub(crate) async fn no_such_route(uri: axum::http::Uri) -> Response {
    let message = format!("there is nothing at {}", uri.path());
    Failure::new(
        StatusCode::NOT_FOUND,
        Code::UnreadableRequest,
        message,
        "see docs/reference/http.md",
    )
    .into_response()
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let query = Query::<Asked>::from_request_parts(parts, state).await;
        query
            .map(|Query(asked)| asked)
            .map_err(|error| Failure::bad(error.body_text()))
    }
}

async fn status(Shared(kernel): Shared<Kernel>, asked: Asked) -> Answered {
    let mut status =
        report::status_report(&asked.state(&kernel).await?, asked.namespace()?.as_ref());
    status.late = kernel.hearts().late();
    status.members = members::of_several(&kernel).await;
    reply(status)
}

/// That this process answers, and nothing else.
async fn healthz() -> &'static str {
    "ok\n"
}

/// What is measured of this process, in the OpenMetrics form.
async fn metrics(Shared(kernel): Shared<Kernel>) -> Response {
    let page = kernel.metrics().scrape(&kernel);
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], page).into_response()
}

/// Whether every loop of this member goes on: 200, or 503 with those that are late.
async fn readyz(Shared(kernel): Shared<Kernel>) -> Response {
    let readiness = Readiness::of(kernel.hearts().report());
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, axum::Json(readiness)).into_response()
}

async fn tasks(Shared(kernel): Shared<Kernel>, asked: Asked) -> Answered {
    reply(report::task_list(
        &asked.state(&kernel).await?,
        asked.namespace()?.as_ref(),
        asked.all.unwrap_or(false),
    ))
}

pub(super) fn list<T: serde::Serialize>(kind: &str, items: Vec<T>) -> Answered {
    reply(List::new(kind, items))
}

async fn agents(Shared(kernel): Shared<Kernel>, asked: Asked) -> Answered {
    let state = asked.state(&kernel).await?;
    list(
        "AgentList",
        state
            .agents
            .values()
            .map(|agent| views::agent_view(&state, agent))
            .collect(),
    )
}

async fn list_frameworks(Shared(kernel): Shared<Kernel>, asked: Asked) -> Answered {
    let (state, now) = (asked.state(&kernel).await?, kernel.now());
    let memory = kernel.memory();
    list(
        "FrameworkList",
        state
            .frameworks
            .values()
            .map(|framework| views::framework_view(&state, framework, &memory, now))
            .collect(),
    )
}

async fn drift(Shared(kernel): Shared<Kernel>, asked: Asked) -> Answered {
    reply(report::drift_report(&asked.state(&kernel).await?))
}

async fn events(Shared(kernel): Shared<Kernel>, asked: Asked) -> Answered {
    let state = asked.state(&kernel).await?;
    let wanted = if asked.name.is_some() {
        Some(asked.object(&state)?.key.clone())
    } else {
        None
    };
    let since = asked.since.unwrap_or(0);
    let is_meant = |event: &&std::sync::Arc<kelson_model::event::Event>| {
        event.index.0 > since && (wanted.is_none() || event.object == wanted)
    };
    list(
        "EventList",
        state
            .events
            .iter()
            .filter(is_meant)
            .map(|event| views::event_view(event))
            .collect(),
    )
}

async fn objects(Shared(kernel): Shared<Kernel>, asked: Asked) -> Answered {
    let (state, namespace) = (asked.state(&kernel).await?, asked.namespace()?);
    let is_meant = |object: &&std::sync::Arc<Object>| {
        namespace
            .as_ref()
            .is_none_or(|wanted| object.key.namespace == *wanted)
    };
    list(
        "ObjectList",
        state
            .objects
            .values()
            .filter(is_meant)
            .map(|object| views::object_view(&state, object))
            .collect(),
    )
}

async fn object(Shared(kernel): Shared<Kernel>, asked: Asked) -> Answered {
    let state = asked.state(&kernel).await?;
    reply(views::object_view(&state, asked.object(&state)?))
}

/// What keeps the kernel from doing anything about any object.
fn blocked(kernel: &Kernel) -> impl Iterator<Item = Explanation> {
    let late = kernel.hearts().late().into_iter();
    let is_blocked = |one: &LoopReport| one.state == LoopState::Blocked;
    late.filter(is_blocked).map(|one| Explanation {
        reason: "KernelBlocked".to_owned(),
        message: one.to_string(),
    })
}

async fn why(Shared(kernel): Shared<Kernel>, asked: Asked) -> Answered {
    let state = asked.state(&kernel).await?;
    let missing = match asked.object(&state) {
        Ok(object) => {
            let key = object.key.clone();
            let lines =
                explain_object(&state, &kernel.memory(), &key, kernel.now()).unwrap_or_default();
            return reply(WhyReport {
                object: key,
                lines: blocked(&kernel).chain(lines).collect(),
            });
        }
        Err(missing) => missing,
    };
    // What was never accepted may still be known to its source; its kind need not be named then.
    let Some(name) = &asked.name else {
        return Err(missing);
    };
    let namespace = asked
        .namespace()?
        .unwrap_or_else(Namespace::default_namespace);
    match explain_absent(&state, asked.kind.as_deref(), &namespace, name) {
        Some(absent) => reply(WhyReport {
            object: absent.key,
            lines: blocked(&kernel).chain(absent.lines).collect(),
        }),
        None => Err(missing),
    }
}

async fn kinds(Shared(kernel): Shared<Kernel>, asked: Asked) -> Answered {
    let state = asked.state(&kernel).await?;
    let described = state
        .frameworks
        .values()
        .filter_map(|framework| Some((framework.key.name.clone(), framework.description.clone()?)));
    let items = described.flat_map(|(name, description)| {
        description
            .kinds
            .iter()
            .map(|kind| KindView {
                framework: name.clone(),
                kind: kind.clone(),
            })
            .collect::<Vec<_>>()
    });
    list("KindList", items.collect())
}

/// What a client has to know before its first request.
async fn client(Shared(kernel): Shared<Kernel>) -> Answered {
    reply(clients::beginning(&kernel))
}

async fn requests(
    Shared(kernel): Shared<Kernel>,
    Extension(who): Extension<Who>,
    body: Bytes,
) -> Answered {
    match clients::submit(&kernel, &who, &body).await {
        Ok(Answer::Refused(refusal)) if refusal.code == Code::Denied => {
            Err(Failure(StatusCode::FORBIDDEN, refusal))
        }
        Ok(answer @ Answer::Done { .. }) => reply(answer),
        Ok(answer @ Answer::Refused(_)) => {
            Ok((StatusCode::CONFLICT, axum::Json(answer)).into_response())
        }
        Err(status) if status.code() == tonic::Code::InvalidArgument => {
            Err(Failure::bad(status.message()))
        }
        Err(status) if status.code() == tonic::Code::Aborted => {
            Err(Failure::leaderless(status.message()))
        }
        Err(status) => Err(Failure::unavailable(status.message())),
    }
}

async fn plan(Shared(kernel): Shared<Kernel>, body: Bytes) -> Answered {
    let request: PlanRequest =
        serde_json::from_slice(&body).map_err(|error| Failure::bad(error.to_string()))?;
    reads::state(&kernel, Freshness::Linearizable).await?;
    let shown = tokio::task::spawn_blocking(move || {
        preview(
            &kernel.state(),
            kernel.now(),
            kernel.wall(),
            kernel.host().as_ref(),
            &request,
        )
    })
    .await;
    match shown.map_err(|error| Failure::unavailable(error.to_string()))? {
        Ok(preview) => reply(preview),
        Err(refusal) => Err(Failure(StatusCode::CONFLICT, refusal)),
    }
}

async fn logs(Shared(kernel): Shared<Kernel>, asked: Asked, request: Request) -> Answered {
    let stream = asked.stream.clone().unwrap_or_else(|| "stdout".to_owned());
    if !matches!(stream.as_str(), "stdout" | "stderr") {
        return Err(Failure::bad(format!(
            "a task has stdout and stderr, and no '{stream}'"
        )));
    }
    let task = asked.task.as_deref().unwrap_or_default();
    let task = task
        .parse()
        .map_err(|error: kelson_model::id::ParseIdError| Failure::bad(error.to_string()))?;
    let state = reads::state(&kernel, Freshness::Linearizable).await?;
    let agent = state.tasks.get(task).map(|task| task.agent());
    if let Some((member, address)) = agent.and_then(|agent| attached_elsewhere(&kernel, agent))
        && may_go_on(&request)
    {
        return hand_on(&kernel, member, &address, request).await;
    }
    let headers = request.headers();
    let query = LogQuery {
        task,
        stream,
        tail: asked.tail,
        follow: asked.follow.unwrap_or(false),
    };
    let has_trailers = headers
        .get(header::TE)
        .and_then(|te| te.to_str().ok())
        .is_some_and(|te| te.contains("trailers"));
    let body = open_log(&kernel, query, has_trailers)
        .await
        .map_err(|error| {
            let status = match &error {
                LogError::NoTask(_) => StatusCode::NOT_FOUND,
                LogError::Failed(Fault::NotKept, _) => StatusCode::GONE,
                LogError::Failed(Fault::NotNow, _) => StatusCode::CONFLICT,
                LogError::Failed(Fault::NoStream, _) => StatusCode::BAD_REQUEST,
            };
            Failure(status, error.refusal())
        })?;
    let content = (header::CONTENT_TYPE, "application/octet-stream");
    let trailer = (header::TRAILER, TRAILER);
    Ok(([content, trailer], Body::new(body)).into_response())
}

/// The member that an agent is attached to, or the one that may know, where that is not this one.
fn attached_elsewhere(kernel: &Kernel, agent: AgentId) -> Option<(u64, String)> {
    if kernel.sessions().find(agent).is_some() {
        return None;
    }
    let Some(member) = kernel
        .sessions()
        .via(agent)
        .filter(|_| kernel.member().is_leader())
    else {
        return kernel.leader_elsewhere();
    };
    let mut members = kernel.member().members().into_iter();
    let found = members.find(|known| known.id == member)?;
    Some((member, found.address))
}

async fn watch_rows(Shared(kernel): Shared<Kernel>, asked: Asked) -> Answered {
    let kinds: Vec<String> = asked
        .kinds
        .iter()
        .flat_map(|kinds| kinds.split(','))
        .filter(|kind| !kind.is_empty())
        .map(str::to_owned)
        .collect();
    if let Some(unknown) = kinds
        .iter()
        .find(|kind| !watch::KINDS.contains(&kind.as_str()))
    {
        return Err(Failure::bad(format!(
            "there are no rows of kind '{unknown}'; there are {}",
            watch::KINDS.join(", ")
        )));
    }
    let token = watch::Token {
        index: asked.resume.unwrap_or(0),
        cluster: asked.cluster.unwrap_or_default(),
    };
    let opened = watch::open_watch(&kernel, kinds, token).await;
    let opened = opened.map_err(|error| Failure::leaderless(error.to_string()))?;
    let cluster = json!(kernel.state().cluster).to_string();
    let batches = ReceiverStream::new(opened);
    let lines = batches.map(move |batch| {
        let rows = batch.rows.iter().map(|row| {
            let json = row.json.as_deref().unwrap_or("null");
            format!(
                r#"{{"kind":{},"key":{},"json":{json}}}"#,
                json!(row.kind),
                json!(row.key)
            )
        });
        let rows = rows.collect::<Vec<_>>().join(",");
        let watch::Batch {
            index,
            restart,
            current,
            ..
        } = batch;
        let line = format!(
            r#"{{"index":{index},"cluster":{cluster},"restart":{restart},"current":{current},"rows":[{rows}]}}"#
        );
        Ok::<_, std::convert::Infallible>(Bytes::from(format!("{line}\n")))
    });
    Ok((
        [(header::CONTENT_TYPE, "application/jsonl")],
        Body::from_stream(lines),
    )
        .into_response())
}

async fn info(Shared(kernel): Shared<Kernel>) -> Answered {
    let state = kernel.state();
    reply(MemberInfo {
        cluster: state.cluster.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        index: state.index,
        term: kernel.member().term(),
        state_hash: state.hash().to_string(),
        member: kernel.member().id(),
        data_dir: kernel.config().data_dir.clone(),
        repository: kernel.config().repository.clone(),
    })
}
