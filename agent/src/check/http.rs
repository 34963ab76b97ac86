//! One GET, as little of HTTP/1.1 as a health check needs.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest status line that is read, in bytes.
const MAX_STATUS_LINE: usize = 1024;

/// Asks and reads the status line; 200 to 399 is good. The body is not read.
pub(super) async fn get(address: &str, port: u16, path: &str) -> Result<(), String> {
    let said = |error: std::io::Error| format!("GET {path} on port {port}: {}", error.kind());
    let mut stream = TcpStream::connect((address, port)).await.map_err(said)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}:{port}\r\nUser-Agent: kelson-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(said)?;
    let mut line = Vec::new();
    let mut buffer = [0u8; 256];
    while !line.contains(&b'\n') {
        let count = stream.read(&mut buffer).await.map_err(said)?;
        if count == 0 || line.len() > MAX_STATUS_LINE {
            break;
        }
        line.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
    match parse_status(&line) {
        Some(200..=399) => Ok(()),
        Some(status) => Err(format!("GET {path} on port {port}: status {status}")),
        None => Err(format!("GET {path} on port {port}: the answer is not HTTP")),
    }
}

fn parse_status(line: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(line.split(|byte| *byte == b'\n').next()?).ok()?;
    let mut words = text.split_ascii_whitespace();
    words
        .next()
        .filter(|version| version.starts_with("HTTP/1."))?;
    words
        .next()
        .filter(|status| status.len() == 3)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_line_is_a_status_line() {
        assert_eq!(
            parse_status(b"HTTP/1.1 204 No Content\r\nX: y\r\n"),
            Some(204)
        );
        assert_eq!(parse_status(b"HTTP/1.0 503\r\n"), Some(503));
        assert_eq!(parse_status(b"SSH-2.0-x\r\n"), None);
        assert_eq!(parse_status(b""), None);
        assert_eq!(parse_status(b"HTTP/1.1 2000 x\r\n"), None);
    }
}
