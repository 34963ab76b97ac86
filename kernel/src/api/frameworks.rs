//! What authors ask of their schedulers: the lines that they wrote, and verbs that only read.

use axum::body::Bytes;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use kelson_kernel_core::State;
use kelson_kernel_core::port::{LogLine, SeatId};
use kelson_kernel_core::record::Framework;
use kelson_kernel_core::round::plan_query;
use kelson_model::code::Code;
use kelson_model::object::Namespace;
use kelson_model::time::WallTime;
use kelson_model::view::{LogLineView, QueryReport, QueryRequest, ResetReport, ResetRequest};
use serde::Deserialize;

use super::http::{Answered, Failure, list, reply};
use crate::kernel::Kernel;

/// Bytes of the arguments of a query.
const MAX_ARGUMENTS: usize = 1 << 20;
/// Lines that are shown where nothing else is asked for.
const LINES: usize = 200;

/// Whose lines are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsAsked {
    name: String,
    #[serde(default)]
    namespace: Option<Namespace>,
    #[serde(default)]
    tail: Option<usize>,
}

/// The newest lines that a framework's schedulers wrote.
pub(super) async fn logs(
    Shared(kernel): Shared<Kernel>,
    asked: Result<Query<LogsAsked>, axum::extract::rejection::QueryRejection>,
) -> Answered {
    let Query(asked) = asked.map_err(|error| Failure::bad(error.body_text()))?;
    let state = kernel.state();
    let mut lines = Vec::new();
    for framework in named(&state, &asked.name)? {
        let of = kernel
            .host()
            .log_lines(&framework.key, asked.namespace.as_ref());
        lines.extend(of);
    }
    let (now, wall) = (kernel.now(), kernel.wall());
    let spare = lines.len().saturating_sub(asked.tail.unwrap_or(LINES));
    let items = lines.into_iter().skip(spare).map(|line| {
        let at = WallTime(wall.0.saturating_sub(now.since(line.at).0));
        view(line, at)
    });
    list("FrameworkLog", items.collect())
}

fn view(line: LogLine, at: WallTime) -> LogLineView {
    LogLineView {
        namespace: line.seat.namespace,
        turn_no: line.turn_no,
        at: at.to_string(),
        level: line.level,
        text: line.text,
        is_void: line.is_void,
    }
}

/// Lets a framework's paused seats try again at once.
pub(super) async fn reset(Shared(kernel): Shared<Kernel>, body: Bytes) -> Answered {
    let reset: ResetRequest =
        serde_json::from_slice(&body).map_err(|error| Failure::bad(error.to_string()))?;
    let wanted = reset.namespace.as_ref();
    let is_meant = |seat: &&SeatId| {
        seat.framework.name == reset.framework
            && wanted.is_none_or(|wanted| seat.namespace == *wanted)
    };
    let state = kernel.state();
    let seats: Vec<SeatId> = state.seats.keys().filter(is_meant).cloned().collect();
    if seats.is_empty() {
        let message = format!("framework {} has no such seat", reset.framework);
        return Err(not_found(message));
    }
    for seat in &seats {
        kernel.host().drop_instance(seat);
        kernel.memory().reset(seat);
    }
    kernel.poke();
    let seats = seats.iter().map(ToString::to_string).collect();
    reply(ResetReport { seats })
}

/// Asks a framework's scheduler a verb that only reads, on an instance of its own.
pub(super) async fn query(Shared(kernel): Shared<Kernel>, body: Bytes) -> Answered {
    let question: QueryRequest =
        serde_json::from_slice(&body).map_err(|error| Failure::bad(error.to_string()))?;
    let arguments = question.arguments.to_string();
    if arguments.len() > MAX_ARGUMENTS {
        return Err(Failure::bad(format!(
            "the arguments have {} bytes, more than {MAX_ARGUMENTS}",
            arguments.len()
        )));
    }
    let state = kernel.state();
    let requests = named(&state, &question.framework)?
        .into_iter()
        .filter_map(|framework| {
            let seat = SeatId {
                framework: framework.key.clone(),
                namespace: question.namespace.clone(),
            };
            plan_query(&state, &seat, kernel.now())
        });
    let Some(request) = requests.into_iter().next() else {
        return Err(not_found(format!(
            "framework {} serves namespace {} with no component",
            question.framework, question.namespace
        )));
    };
    let host = kernel.host().clone();
    let asked =
        tokio::task::spawn_blocking(move || host.query(&request, &question.verb, &arguments)).await;
    match asked.map_err(|error| Failure::unavailable(error.to_string()))? {
        Ok(answer) => {
            let answer = serde_json::from_str(&answer)
                .map_err(|error| Failure::unavailable(error.to_string()))?;
            reply(QueryReport { answer })
        }
        Err(fault) => Err(Failure::new(
            StatusCode::CONFLICT,
            Code::NoQueryAnswer,
            fault.to_string(),
            "ask the framework's author which verbs it answers",
        )),
    }
}

/// The frameworks of a name, of which each namespace may have one.
fn named<'a>(state: &'a State, name: &str) -> Result<Vec<&'a Framework>, Failure> {
    let all = state.frameworks.values().map(AsRef::as_ref);
    let named: Vec<&Framework> = all.filter(|framework| framework.key.name == name).collect();
    if named.is_empty() {
        return Err(not_found(format!("there is no framework {name}")));
    }
    Ok(named)
}

fn not_found(message: String) -> Failure {
    Failure::new(
        StatusCode::NOT_FOUND,
        Code::NoSuchObject,
        message,
        "see `kelson frameworks`",
    )
}
