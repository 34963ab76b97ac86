//! One HTTP/1 request over a connection of its own.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use kelson_model::request::Refusal;
use kelson_model::view::ErrorReport;
use kelson_trust::{Connection, DialError, explain};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::address::Address;
use crate::exit::{Exit, Failure};
use crate::output::say;

/// How long the kernel of a living `dev` may be away: longer than the longest wait before it is
/// started again.
const RESTART: Duration = Duration::from_secs(15);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
/// How long an answer may take to begin where the kernel only has to read what it knows.
pub(super) const TO_READ: Duration = Duration::from_secs(10);
/// How long any other may take to begin, and each to arrive; a preview of a large cluster takes its
/// time.
pub(super) const ANSWER: Duration = Duration::from_secs(120);
/// Most bytes of an answer.
const ANSWER_BYTES: usize = 64 << 20;

/// An answer that has arrived.
pub(crate) struct Arrived {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The body as JSON; null where there is none.
    pub(crate) body: Value,
}

/// Sends a request and returns the answer, whose body has not been read, and which has to begin
/// within `patience`.
///
/// # Errors
/// When nothing listens, or the answer does not begin in time.
pub(crate) async fn send(
    address: &Address,
    method: Method,
    target: &str,
    body: Option<&Value>,
    patience: Duration,
) -> Result<Response<Incoming>, Failure> {
    let stream = connect(address).await?;
    let lost = |error: hyper::Error| lost(address, &error);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(lost)?;
    // It ends with the connection: when the answer has been read or dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection has ended");
        }
    });
    let bytes = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, address.authority())
        .header(header::ACCEPT, "application/json")
        .header(header::TE, "trailers");
    if let Some(token) = address.bearer() {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()))
            .map_err(|error| Failure::usage(format!("the token cannot be sent: {error}")))?;
        bearer.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, bearer);
    }
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let request = request
        .body(Full::new(Bytes::from(bytes)))
        .map_err(|error| Failure::usage(format!("cannot ask for {target}: {error}")))?;
    timeout(patience, sender.send_request(request))
        .await
        .map_err(|_| silent(address, patience))?
        .map_err(lost)
}

/// Reads an answer to its end.
///
/// # Errors
/// When it breaks off, is too long, is no JSON, or does not arrive in time.
pub(crate) async fn read(
    address: &Address,
    response: Response<Incoming>,
) -> Result<Arrived, Failure> {
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect();
    let bytes = timeout(ANSWER, body)
        .await
        .map_err(|_| too_late(address))?
        .map_err(|error| {
            Failure::new(
                Exit::NothingListens,
                format!("the answer of {address} broke off: {error}"),
            )
        })?
        .to_bytes();
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        match serde_json::from_slice(&bytes) {
            Ok(body) => body,
            // Whoever refuses without JSON is named below with what it said.
            Err(_) if !status.is_success() => {
                Value::String(String::from_utf8_lossy(&bytes).chars().take(300).collect())
            }
            Err(error) => {
                return Err(Failure::new(
                    Exit::Refused,
                    format!("what listens at {address} does not answer in JSON: {error}"),
                )
                .with_hint("is it a Kelson kernel?"));
            }
        }
    };
    Ok(Arrived { status, body })
}

/// Why an answer ends early, as its trailer says.
pub(crate) fn ended_early(trailers: &HeaderMap) -> Option<Failure> {
    let told = trailers.get("kelson-error")?;
    let told: Refusal = serde_json::from_slice(told.as_bytes()).ok()?;
    let failure = Failure::new(Exit::Refused, told.message);
    Some(failure.with_code(told.code).with_hint(told.hint))
}

/// What a refusal says.
pub(crate) fn refusal(address: &Address, arrived: &Arrived) -> Failure {
    let exit = Exit::of_status(arrived.status.as_u16());
    if let Ok(ErrorReport { error }) = ErrorReport::deserialize(&arrived.body) {
        return Failure::new(exit, error.message)
            .with_code(error.code)
            .with_hint(error.hint);
    }
    let message = match arrived.body.as_str() {
        Some(text) if !text.trim().is_empty() => {
            format!("{address} says {}: {}", arrived.status, text.trim())
        }
        _ => format!("{address} says {}", arrived.status),
    };
    Failure::new(exit, message)
}

/// Connects. A `dev` by which the address was found, and that lives, starts its kernel again: that
/// is waited for.
async fn connect(address: &Address) -> Result<Connection, Failure> {
    let since = Instant::now();
    let mut is_told = false;
    loop {
        let failure = match connect_once(address).await {
            Ok(stream) => return Ok(stream),
            Err(failure) => failure,
        };
        let Some(dev) = address.living_dev().filter(|_| since.elapsed() < RESTART) else {
            return Err(failure);
        };
        if !is_told {
            is_told = true;
            say(&format!(
                "the `kelson dev` of this repository (process {dev}) starts its kernel again"
            ));
        }
        sleep(PAUSE).await;
    }
}

async fn connect_once(address: &Address) -> Result<Connection, Failure> {
    let connected = address.dialer().connect().await;
    connected
        .map(|(connection, _)| connection)
        .map_err(|error| unconnected(address, &error))
}

fn unconnected(address: &Address, error: &DialError) -> Failure {
    let why = error.why();
    if error.is_of_trust() {
        let failure = Failure::usage(format!("no connection to {address}: {why}"));
        return if address.dialer().is_secure() {
            failure.with_hint("are these the credentials of that cluster?")
        } else {
            failure.with_hint("name the file of your credentials with --credentials")
        };
    }
    Failure::new(
        Exit::NothingListens,
        format!("nothing listens at {address}: {why}"),
    )
    .with_hint(
        "start `kelson dev` in your repository, or name the kernel with --addr or KELSON_ADDR",
    )
}

fn silent(address: &Address, patience: Duration) -> Failure {
    Failure::new(
        Exit::TimedOut,
        format!(
            "the kernel at {address} took the connection and says nothing: no answer within {} s",
            patience.as_secs()
        ),
    )
    .with_hint("its process may be stopped, or its machine have far too much to do")
}

fn too_late(address: &Address) -> Failure {
    Failure::new(
        Exit::TimedOut,
        format!(
            "the answer of {address} did not arrive within {} s",
            ANSWER.as_secs()
        ),
    )
}

fn lost(address: &Address, error: &hyper::Error) -> Failure {
    let of_system = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    let why = of_system.map_or_else(|| error.to_string(), explain);
    let exit = Exit::NothingListens;
    Failure::new(
        exit,
        format!("the connection to {address} broke off: {why}"),
    )
}

/// Makes any text fit for one part of a path or query.
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::dev_directory::{Ready, ready_file};
    use kelson_model::code::Code;
    use serde_json::json;

    #[test]
    fn a_namespace_and_a_branch_survive_a_query() {
        assert_eq!(
            percent_encoded("shop/check out&ü"),
            "shop%2Fcheck%20out%26%C3%BC"
        );
    }

    #[tokio::test]
    async fn a_kernel_that_takes_the_connection_and_says_nothing_is_named_as_such() {
        // The system takes connections for a listener that never asks for them.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address: Address = silent.local_addr().unwrap().to_string().parse().unwrap();
        let patience = Duration::from_millis(20);
        let answer = send(&address, Method::GET, "/v1/status", None, patience).await;
        let failure = answer.unwrap_err();
        assert_eq!(failure.exit, Exit::TimedOut);
        let told = failure.to_string();
        assert!(
            told.contains("took the connection and says nothing"),
            "{told}"
        );
    }

    #[tokio::test]
    async fn the_kernel_of_a_living_dev_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let place = free.local_addr().unwrap();
        drop(free);
        let ready: Ready = serde_json::from_value(json!({"event": "ready", "address": format!("http://{place}"),
            "pid": std::process::id(), "dataDir": folder.path(), "repository": "/r", "branch": "main", "agent": "agt_1", "version": "0.1.0"}))
        .unwrap();
        let file = ready_file(folder.path());
        std::fs::write(&file, serde_json::to_vec(&ready).unwrap()).unwrap();
        let address = Address::of_dev(&ready).unwrap();
        // The first attempt comes before anybody listens.
        let listening = async { tokio::net::TcpListener::bind(place).await.unwrap() };
        let (connected, listening) = tokio::join!(connect(&address), listening);
        assert!(connected.is_ok(), "{connected:?}");
        drop((connected, listening));
        std::fs::remove_file(file).unwrap();
        let failure = connect(&address).await.unwrap_err();
        assert_eq!(failure.exit, Exit::NothingListens);
    }

    #[test]
    fn a_refusal_keeps_its_code_and_hint() {
        let address: Address = "127.0.0.1:1".parse().unwrap();
        let arrived = Arrived {
            status: StatusCode::NOT_FOUND,
            body: json!({"error": {"code": Code::NoSuchObject, "message": "there is no Service shop/x", "hint": "look at `kelson status`"}}),
        };
        let failure = refusal(&address, &arrived);
        assert_eq!(failure.exit, Exit::Refused);
        assert_eq!(failure.to_string(), "K0302: there is no Service shop/x");
        assert_eq!(failure.hint.as_deref(), Some("look at `kelson status`"));
    }

    #[test]
    fn an_answer_that_ends_early_says_why() {
        let mut trailers = HeaderMap::new();
        assert_eq!(ended_early(&trailers), None);
        let told = json!({"code": Code::OutputAway, "message": "agt_1 cannot be reached", "hint": "try again"});
        trailers.insert("kelson-error", told.to_string().parse().unwrap());
        let failure = ended_early(&trailers).unwrap();
        assert_eq!(failure.to_string(), "K0321: agt_1 cannot be reached");
        assert_eq!(failure.exit, Exit::Refused);
    }

    #[test]
    fn a_refusal_in_another_tongue_is_quoted() {
        let address: Address = "127.0.0.1:1".parse().unwrap();
        let arrived = Arrived {
            status: StatusCode::BAD_GATEWAY,
            body: json!("<html>no</html>\n"),
        };
        assert_eq!(
            refusal(&address, &arrived).message,
            "http://127.0.0.1:1 says 502 Bad Gateway: <html>no</html>"
        );
    }
}
