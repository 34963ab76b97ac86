//! Answers that go on: bytes as they come, and lines of JSON.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use tokio::time::timeout;

use super::address::Address;
use super::api::WatchBatch;
use super::connection::ended_early;
use crate::exit::{Exit, Failure};

/// Longest line that is taken.
const LINE_BYTES: usize = 64 << 20;
/// Changes that come within this time of each other are one.
const TOGETHER: Duration = Duration::from_millis(20);

/// An answer that goes on until either side ends it.
pub(crate) struct ByteStream {
    address: Address,
    body: Incoming,
    rest: Vec<u8>,
    scanned: usize,
}

impl ByteStream {
    pub(super) fn new(address: Address, body: Incoming) -> Self {
        Self {
            address,
            body,
            rest: Vec::new(),
            scanned: 0,
        }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks off.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| {
                Failure::new(
                    Exit::NothingListens,
                    format!("the connection to {} broke off: {error}", self.address),
                )
            })?;
            match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(frame) => {
                    if let Some(failure) = frame.trailers_ref().and_then(ended_early) {
                        return Err(failure);
                    }
                }
            }
        }
    }

    /// The next line, read as JSON; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks off, or a line is too long or something else.
    pub(crate) async fn line<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        loop {
            let fresh = self.rest.get(self.scanned..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|byte| *byte == b'\n') {
                let end = self.scanned.saturating_add(at);
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                self.scanned = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return serde_json::from_slice(&line).map(Some).map_err(|error| {
                    Failure::new(
                        Exit::Refused,
                        format!(
                            "{} says what this version cannot read: {error}",
                            self.address
                        ),
                    )
                });
            }
            self.scanned = self.rest.len();
            if self.rest.len() > LINE_BYTES {
                return Err(Failure::new(
                    Exit::Refused,
                    format!(
                        "{} sent a line of more than {LINE_BYTES} bytes",
                        self.address
                    ),
                ));
            }
            match self.chunk().await? {
                Some(chunk) => self.rest.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }

    /// Waits for a change, on a stream of [`WatchBatch`]es, and for what comes along with it;
    /// `false` at the end of the stream.
    ///
    /// # Errors
    /// As [`ByteStream::line`].
    pub(crate) async fn changed(&mut self) -> Result<bool, Failure> {
        if self.line::<WatchBatch>().await?.is_none() {
            return Ok(false);
        }
        // Under steady change it must still return.
        for _ in 0..50 {
            match timeout(TOGETHER, self.line::<WatchBatch>()).await {
                Err(_) => break,
                Ok(line) => {
                    if line?.is_none() {
                        break;
                    }
                }
            }
        }
        Ok(true)
    }
}
