//! What is answered at which path.

use std::path::Path;
use std::time::Duration;

use crate::options::Options;
use crate::request::Request;

/// A status and a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn text(status: u16, body: impl Into<String>) -> Answer {
        let mut body = body.into();
        if !body.ends_with('\n') {
            body.push('\n');
        }
        Answer {
            status,
            kind: "text/plain; charset=utf-8",
            body: body.into_bytes(),
        }
    }

    /// The whole response as bytes.
    pub(crate) fn encode(&self, keep_alive: bool, head_only: bool) -> Vec<u8> {
        let phrase = match self.status {
            200 => "OK",
            404 => "Not Found",
            405 => "Method Not Allowed",
            500 => "Internal Server Error",
            _ => "Service Unavailable",
        };
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let mut bytes = format!(
            "HTTP/1.1 {} {phrase}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n",
            self.status,
            self.kind,
            self.body.len()
        )
        .into_bytes();
        if !head_only {
            bytes.extend(&self.body);
        }
        bytes
    }
}

/// Answers one request of a server that has been up for `uptime`.
pub(crate) fn answer(options: &Options, request: &Request, uptime: Duration) -> Answer {
    if request.method != "GET" && request.method != "HEAD" {
        return Answer::text(405, "only GET and HEAD");
    }
    match request.path.as_str() {
        "/" | "/index.html" => root(options),
        "/health" => {
            if options.unhealthy_after.is_some_and(|after| uptime >= after)
                || Path::new("unhealthy").exists()
            {
                Answer::text(503, "unhealthy")
            } else {
                Answer::text(200, "healthy")
            }
        }
        "/pid" => Answer::text(200, std::process::id().to_string()),
        path => match path.strip_prefix("/env/").map(std::env::var) {
            Some(Ok(value)) => Answer::text(200, value),
            _ => Answer::text(404, format!("nothing at {path}")),
        },
    }
}

fn root(options: &Options) -> Answer {
    let Some(file) = &options.file else {
        return Answer::text(200, options.text.clone());
    };
    match std::fs::read(file) {
        Ok(body) => {
            let kind = match file.extension().and_then(|e| e.to_str()) {
                Some("html") => "text/html; charset=utf-8",
                _ => "text/plain; charset=utf-8",
            };
            Answer {
                status: 200,
                kind,
                body,
            }
        }
        Err(error) => Answer::text(500, format!("{}: {error}", file.display())),
    }
}
