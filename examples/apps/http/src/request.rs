//! Reading a request: as much of HTTP/1.1 as a health check, curl and a browser need.

use std::io::{self, BufRead, Read};

/// No request line or header block may be longer.
const MAX_HEAD: u64 = 16 * 1024;

/// The first line of a request, and whether its connection stays open after the answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) keep_alive: bool,
}

/// Reads one request; `None` when the peer has closed between requests. A body is not read, so a
/// request with one closes its connection.
pub(crate) fn read(stream: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut head = stream.take(MAX_HEAD);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut words = line.split_whitespace();
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next())
    else {
        return Err(bad("no request line"));
    };
    let path = target.split('?').next().unwrap_or_default();
    let mut request = Request {
        method: method.into(),
        path: path.into(),
        keep_alive: version == "HTTP/1.1",
    };
    loop {
        let mut header = String::new();
        if head.read_line(&mut header)? == 0 {
            return Err(bad("the head is cut off or too long"));
        }
        let header = header.trim_end();
        if header.is_empty() {
            return Ok(Some(request));
        }
        let Some((name, value)) = header.split_once(':') else {
            return Err(bad("a header without a colon"));
        };
        let (name, value) = (
            name.trim().to_ascii_lowercase(),
            value.trim().to_ascii_lowercase(),
        );
        match name.as_str() {
            "connection" if value == "close" => request.keep_alive = false,
            "content-length" if value != "0" => request.keep_alive = false,
            "transfer-encoding" => request.keep_alive = false,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn two_requests_on_one_connection_are_read_in_turn() {
        let mut bytes: &[u8] =
            b"GET /a?x=1 HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nConnection: close\r\n\r\n";
        assert_eq!(
            read(&mut bytes).unwrap(),
            Some(Request {
                method: "GET".into(),
                path: "/a".into(),
                keep_alive: true
            })
        );
        assert_eq!(
            read(&mut bytes).unwrap(),
            Some(Request {
                method: "GET".into(),
                path: "/b".into(),
                keep_alive: false
            })
        );
        assert_eq!(read(&mut bytes).unwrap(), None);
    }

    #[test]
    fn an_endless_head_is_refused() {
        let mut bytes = b"GET / HTTP/1.1\r\n".to_vec();
        bytes.extend(b"a: b\r\n".repeat(10_000));
        assert!(read(&mut bytes.as_slice()).is_err());
    }
}
