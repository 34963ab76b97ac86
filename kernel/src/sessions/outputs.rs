//! Outputs of tasks that are read at the moment: from the agent's session to whoever asked.
//! Nothing of it is kept here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use kelson_model::id::AgentId;
use kelson_proto::v1;
use tokio::sync::mpsc;

/// Chunks that an agent may send before a client has taken them.
pub(crate) const WINDOW: u32 = 16;
/// Pieces that wait for a client: the window, a begin and an end.
const WAITING: usize = 18;

/// Why an output cannot be read, or not to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not kept any more.
    NotKept,
    /// Not now: its agent cannot be reached, or is busy.
    NotNow,
    /// A task has no such stream.
    NoStream,
}

/// What comes of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// It was found.
    Begun,
    /// The next bytes.
    Data(Bytes),
    /// That was all.
    End,
    /// There is nothing, or nothing more.
    Failed(Fault, String),
}

impl From<v1::LogChunk> for Piece {
    fn from(chunk: v1::LogChunk) -> Self {
        let fault = match chunk.fault() {
            v1::LogFault::None if chunk.end && chunk.data.is_empty() => return Self::End,
            v1::LogFault::None if chunk.data.is_empty() => return Self::Begun,
            v1::LogFault::None => return Self::Data(chunk.data),
            v1::LogFault::NotKept => Fault::NotKept,
            v1::LogFault::Unreadable => Fault::NotNow,
            v1::LogFault::NoStream => Fault::NoStream,
        };
        Self::Failed(fault, chunk.message)
    }
}

struct Reading {
    agent: AgentId,
    pieces: mpsc::Sender<Piece>,
}

/// The outputs that are read at the moment.
///
/// *Guarantees:* never waits for a client: an agent sends no more than its window, and where it
/// does, the reading ends. Only the agent that was asked answers.
#[derive(Default)]
pub(crate) struct Outputs {
    last: AtomicU64,
    readings: Mutex<BTreeMap<u64, Reading>>,
}

impl Outputs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Reading>> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a reading: its number, and where its pieces come out.
    pub(crate) fn begin(&self, agent: AgentId) -> (u64, mpsc::Receiver<Piece>) {
        let request = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (pieces, receiver) = mpsc::channel(WAITING);
        self.lock().insert(request, Reading { agent, pieces });
        (request, receiver)
    }

    /// Ends a reading that nobody wants any more; says whether it was still going on.
    pub(crate) fn end(&self, request: u64) -> bool {
        self.lock().remove(&request).is_some()
    }

    /// Takes a chunk of an agent.
    pub(crate) fn take(&self, agent: AgentId, chunk: v1::LogChunk) {
        let request = chunk.request;
        let mut readings = self.lock();
        let Some(reading) = readings.get(&request).filter(|one| one.agent == agent) else {
            return;
        };
        let piece = Piece::from(chunk);
        let is_over = matches!(piece, Piece::End | Piece::Failed(..));
        if reading.pieces.try_send(piece).is_err() || is_over {
            readings.remove(&request);
        }
    }

    /// Ends the readings of an agent that has no session any more.
    pub(crate) fn lose(&self, agent: AgentId) {
        self.lock().retain(|_, reading| {
            let is_lost = reading.agent == agent;
            if is_lost {
                let message =
                    format!("{agent} cannot be reached any more; the output is kept there");
                // A reader that is as far behind as this sees that the pieces end without an end.
                let _ = reading
                    .pieces
                    .try_send(Piece::Failed(Fault::NotNow, message));
            }
            !is_lost
        });
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn chunk(request: u64, data: &'static str) -> v1::LogChunk {
        v1::LogChunk {
            request,
            data: data.into(),
            ..v1::LogChunk::default()
        }
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_holds_up_nobody_and_is_let_go() {
        let outputs = Outputs::default();
        let (slow, mut unread) = outputs.begin(AgentId(1));
        let (other, mut read) = outputs.begin(AgentId(1));
        for _ in 0..2 * WAITING {
            outputs.take(AgentId(1), chunk(slow, "x"));
        }
        outputs.take(AgentId(2), chunk(other, "of another agent"));
        outputs.take(AgentId(1), chunk(other, ""));
        outputs.take(AgentId(1), chunk(other, "y"));
        outputs.lose(AgentId(1));
        assert_eq!(read.recv().await, Some(Piece::Begun));
        assert_eq!(read.recv().await, Some(Piece::Data("y".into())));
        let last = read.recv().await.unwrap();
        assert!(matches!(last, Piece::Failed(Fault::NotNow, _)), "{last:?}");
        assert_eq!(read.recv().await, None);
        let mut count = 0;
        while unread.recv().await.is_some() {
            count += 1;
        }
        assert_eq!(count, WAITING);
        assert!(!outputs.end(slow));
    }
}
