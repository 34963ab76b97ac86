//! The kernel's watch, over HTTP: rows as they change, each with the time at which it came in.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// No line may be longer: a batch of 500 rows is far below.
const MAX_LINE: usize = 64 << 20;

/// Rows that changed, all of one state.
#[derive(Debug, Clone)]
pub struct Batch {
    /// When its line had come in.
    pub at: Instant,
    /// The log entry that it is the state after.
    pub index: u64,
    /// Whether everything up to `index` is known with it.
    pub is_current: bool,
    /// `{kind, key, json}`, as the kernel has sent them.
    pub rows: Vec<Value>,
}

impl Batch {
    /// The rows of a kind, without those that are gone.
    pub fn rows_of<'b>(&'b self, kind: &'b str) -> impl Iterator<Item = &'b Value> {
        let of_kind = self
            .rows
            .iter()
            .filter(move |row| row.get("kind").is_some_and(|found| found == kind));
        of_kind
            .filter_map(|row| row.get("json"))
            .filter(|json| !json.is_null())
    }
}

/// A watch that is open. A thread of its own takes the time of what comes in; it ends with the
/// connection.
#[derive(Debug)]
pub struct Watch {
    batches: Receiver<Result<Batch>>,
}

impl Watch {
    /// Opens a watch of these kinds of rows at `http://HOST:PORT`.
    ///
    /// # Errors
    /// When nobody listens there, or what answers is no watch.
    pub fn open(address: &str, kinds: &str) -> Result<Watch> {
        let host = address
            .strip_prefix("http://")
            .with_context(|| format!("{address} is no http://HOST:PORT"))?;
        let mut stream = TcpStream::connect(host).with_context(|| format!("no {address}"))?;
        stream.set_nodelay(true)?;
        write!(
            stream,
            "GET /v1/watch?kinds={kinds} HTTP/1.1\r\nHost: {host}\r\n\r\n"
        )?;
        let mut reader = BufReader::new(stream);
        let status = line(&mut reader)?;
        ensure!(status.contains(" 200 "), "the watch answers {status:?}");
        while !line(&mut reader)?.is_empty() {}
        let (sender, batches) = channel();
        std::thread::spawn(move || {
            let mut text = Vec::new();
            loop {
                let batch = chunk(&mut reader, &mut text);
                let is_over = batch.is_err();
                let Some(batch) = batch.transpose() else {
                    continue;
                };
                if sender.send(batch).is_err() || is_over {
                    return;
                }
            }
        });
        Ok(Watch { batches })
    }

    /// The next batch.
    ///
    /// # Errors
    /// When the connection has ended, or none has come in time.
    pub fn next(&self, deadline: Duration) -> Result<Batch> {
        match self.batches.recv_timeout(deadline) {
            Ok(batch) => batch,
            Err(error) => bail!("no rows within {deadline:?}: {error}"),
        }
    }

    /// Takes in batches until none has come for a while; says what the last index was, if any came.
    ///
    /// # Errors
    /// When the connection has ended, or there is still no quiet at the deadline.
    pub fn quiet(&self, pause: Duration, deadline: Duration) -> Result<Option<u64>> {
        let begun = Instant::now();
        let mut last = None;
        while begun.elapsed() < deadline {
            match self.batches.recv_timeout(pause) {
                Ok(batch) => last = Some(batch?.index),
                Err(RecvTimeoutError::Timeout) => return Ok(last),
                Err(error @ RecvTimeoutError::Disconnected) => {
                    bail!("the watch has ended: {error}")
                }
            }
        }
        bail!("no quiet within {deadline:?}")
    }
}

/// Reads a chunk; `None` while its line goes on in the next one.
fn chunk(reader: &mut impl BufRead, text: &mut Vec<u8>) -> Result<Option<Batch>> {
    let size = line(reader)?;
    let size = usize::from_str_radix(size.trim(), 16)
        .with_context(|| format!("no size of a chunk: {size:?}"))?;
    ensure!(size > 0, "the watch was ended by the kernel");
    ensure!(
        text.len() + size <= MAX_LINE,
        "a line of the watch is too long"
    );
    let from = text.len();
    text.resize(from + size, 0);
    reader.read_exact(text.get_mut(from..).unwrap_or_default())?;
    line(reader)?;
    if text.last() != Some(&b'\n') {
        return Ok(None);
    }
    let at = Instant::now();
    let value: Value = serde_json::from_slice(text).context("a line of the watch is no JSON")?;
    text.clear();
    let rows = value.get("rows").and_then(Value::as_array);
    Ok(Some(Batch {
        at,
        index: value
            .get("index")
            .and_then(Value::as_u64)
            .context("a batch without an index")?,
        is_current: value.get("current").is_some_and(|current| current == true),
        rows: rows.context("a batch without rows")?.clone(),
    }))
}

fn line(reader: &mut impl BufRead) -> Result<String> {
    let mut text = String::new();
    ensure!(reader.read_line(&mut text)? > 0, "the connection has ended");
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_line_may_come_in_several_chunks() {
        let lines = "{\"index\":7,\"current\":true,\"rows\":[{\"kind\":\"task\",\"json\":{\"state\":\"running\"}},{\"kind\":\"task\",\"json\":null}]}\n";
        let (first, second) = lines.split_at(20);
        let chunked = format!(
            "{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
            first.len(),
            second.len()
        );
        let (mut reader, mut text) = (chunked.as_bytes(), Vec::new());
        assert!(chunk(&mut reader, &mut text).unwrap().is_none());
        let batch = chunk(&mut reader, &mut text).unwrap().unwrap();
        assert_eq!((batch.index, batch.is_current), (7, true));
        assert_eq!(
            batch.rows_of("task").count(),
            1,
            "a row that is gone is none"
        );
        assert_eq!(batch.rows_of("object").count(), 0);
        assert!(chunk(&mut reader, &mut text).is_err(), "the end is told");
    }
}
