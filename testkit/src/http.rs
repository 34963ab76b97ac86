//! A blocking HTTP client of one verb: GET.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// No response may be longer.
const MAX_RESPONSE: u64 = 16 * 1024 * 1024;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body as text; what is not UTF-8 is replaced.
    pub body: String,
}

/// Fetches `http://HOST:PORT/PATH`; connecting, and the whole answer, each have `timeout`.
///
/// # Errors
/// `ConnectionRefused` and other errors of the socket; `TimedOut` or `WouldBlock` when it took too
/// long; `InvalidData` when what came is not a whole HTTP/1.1 response; `InvalidInput` for another
/// kind of address.
pub fn get(url: &str, timeout: Duration) -> io::Result<Response> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{url}: {what}"));
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| wrong("not http://"))?;
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let address = authority
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| wrong("no such host"))?;
    let started = Instant::now();
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_write_timeout(Some(timeout))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\nAccept: */*\r\n\r\n"
    )?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let left = timeout
            .checked_sub(started.elapsed())
            .filter(|left| !left.is_zero());
        stream.set_read_timeout(Some(left.ok_or(io::ErrorKind::TimedOut)?))?;
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        bytes.extend(chunk.get(..read).unwrap_or_default());
        if bytes.len() as u64 > MAX_RESPONSE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{url}: the response is too long"),
            ));
        }
    }
    parse(&bytes).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{url}: not a whole HTTP response"),
        )
    })
}

/// Reads a response that was ended by closing; `None` when it is cut off.
fn parse(bytes: &[u8]) -> Option<Response> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let body = bytes.get(end + 4..)?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()?
        .strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    let header = |wanted: &str| {
        lines.clone().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let body = if header("transfer-encoding")
        .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    {
        unchunk(body)?
    } else if let Some(length) = header("content-length") {
        body.get(..length.parse().ok()?)?.to_vec()
    } else {
        body.to_vec()
    };
    Some(Response {
        status,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn unchunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(bytes.get(..end)?)
            .ok()?
            .split(';')
            .next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let from = end + 2;
        if size == 0 {
            return Some(body);
        }
        body.extend(bytes.get(from..from.checked_add(size)?)?);
        bytes = bytes.get(from + size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_response_with_a_length_is_read_and_a_shorter_one_is_cut_off() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(
            parse(whole),
            Some(Response {
                status: 200,
                body: "abc".into()
            })
        );
        assert_eq!(parse(whole.get(..whole.len() - 1).unwrap()), None);
    }

    #[test]
    fn chunks_are_put_together_and_a_missing_last_one_is_noticed() {
        let whole = b"HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        assert_eq!(
            parse(whole),
            Some(Response {
                status: 404,
                body: "abcde".into()
            })
        );
        assert_eq!(parse(whole.get(..whole.len() - 5).unwrap()), None);
    }

    #[test]
    fn nobody_listening_is_a_refused_connection() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let error = get(&format!("http://{address}/"), Duration::from_secs(5)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
