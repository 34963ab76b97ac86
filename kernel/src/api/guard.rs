//! The guard: keeps web pages from talking to a kernel on the same machine through somebody's
//! browser.
//!
//! A listener in plain authenticates nobody and is reached from this machine alone. A browser there
//! is the one way in for a stranger: a page may send requests to 127.0.0.1 (then it says its
//! origin), or let its own name point there (then the host is that name). Both are refused. Over
//! TLS a page of another origin is refused; the host may be any, since whoever asks has to be
//! known.

use axum::extract::Request;
use axum::http::{StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use kelson_model::code::Code;

use crate::api::access::Who;
use crate::api::http::Failure;

/// Refuses a request that a web page of another origin has made.
pub(crate) async fn refuse_foreign(request: Request, next: Next) -> Response {
    let (host, origin) = named(&request);
    let is_local = matches!(request.extensions().get::<Who>(), Some(Who::Local));
    if is_own(host.as_deref(), origin.as_deref(), is_local) {
        return next.run(request).await;
    }
    let message = format!(
        "a web page of {} may not ask",
        origin.or(host).unwrap_or_default()
    );
    Failure::new(
        StatusCode::FORBIDDEN,
        Code::ForeignPage,
        message,
        "use the command line, or a program on this machine",
    )
    .into_response()
}

/// The host and the origin that a request names.
fn named(request: &Request) -> (Option<String>, Option<String>) {
    let text = |name| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap_or("?").to_owned())
    };
    let authority = request.uri().authority().map(ToString::to_string);
    (text(header::HOST).or(authority), text(header::ORIGIN))
}

fn is_own(host: Option<&str>, origin: Option<&str>, is_local: bool) -> bool {
    let is_loopback = !is_local
        || host.is_none_or(|host| {
            let name = host
                .parse::<Uri>()
                .ok()
                .and_then(|uri| uri.host().map(str::to_owned))
                .unwrap_or_default();
            let bare = name.trim_start_matches('[').trim_end_matches(']');
            bare == "localhost"
                || bare
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        });
    let scheme = if is_local { "http" } else { "https" };
    let is_same =
        origin.is_none_or(|origin| host.is_some_and(|host| origin == format!("{scheme}://{host}")));
    is_loopback && is_same
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_own_pages_pass_and_foreign_pages_do_not() {
        for host in [
            "127.0.0.1:7460",
            "localhost:7460",
            "[::1]:7460",
            "127.0.0.1",
        ] {
            assert!(is_own(Some(host), None, true), "{host}");
            assert!(
                is_own(Some(host), Some(&format!("http://{host}")), true),
                "{host}"
            );
            assert!(
                !is_own(Some(host), Some("http://evil.example"), true),
                "{host}"
            );
            assert!(!is_own(Some(host), Some("null"), true), "{host}");
        }
        assert!(!is_own(Some("evil.example:7460"), None, true));
        assert!(!is_own(
            Some("evil.example:7460"),
            Some("http://evil.example:7460"),
            true
        ));
    }

    #[test]
    fn over_tls_a_member_may_be_called_by_any_name_and_foreign_pages_do_not_pass() {
        assert!(is_own(Some("one.example:7460"), None, false));
        assert!(is_own(
            Some("one.example:7460"),
            Some("https://one.example:7460"),
            false
        ));
        for foreign in ["https://evil.example", "http://one.example:7460", "null"] {
            assert!(!is_own(Some("one.example:7460"), Some(foreign), false));
        }
    }
}
