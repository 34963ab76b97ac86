//! Logs: relays the output of a task from its agent to a client. Nothing of it is kept here.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use kelson_model::id::{AgentId, TaskId};
use kelson_proto::v1;
use kelson_proto::v1::kernel_message::Message as Down;
use tokio::sync::mpsc;

use crate::kernel::Kernel;

/// Chunks that may wait for a slow client; the agent's session waits for it then.
const WAITING: usize = 64;

/// The log requests that are under way.
#[derive(Default)]
pub(crate) struct LogRelay {
    last: AtomicU64,
    waiting: Mutex<BTreeMap<u64, mpsc::Sender<v1::LogChunk>>>,
}

impl LogRelay {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, mpsc::Sender<v1::LogChunk>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a chunk of an agent to the client that asked for it; a client that does not read is
    /// dropped.
    pub(crate) async fn take(&self, chunk: v1::LogChunk) {
        let (request, is_end) = (chunk.request, chunk.end);
        let client = self.lock().get(&request).cloned();
        let is_gone = match client {
            Some(client) => client
                .send_timeout(chunk, std::time::Duration::from_secs(5))
                .await
                .is_err(),
            None => true,
        };
        if is_gone || is_end {
            self.lock().remove(&request);
        }
    }
}

/// What a client asks for.
#[derive(Debug, Clone)]
pub(crate) struct LogQuery {
    /// Whose output.
    pub(crate) task: TaskId,
    /// `stdout` or `stderr`.
    pub(crate) stream: String,
    /// At most this many bytes of the end at first; 0: all.
    pub(crate) tail: u64,
    /// Whether to go on.
    pub(crate) follow: bool,
}

/// The output of a task as it comes; dropping it tells the agent to stop.
pub(crate) struct LogStream {
    kernel: Kernel,
    agent: AgentId,
    request: u64,
    query: LogQuery,
    chunks: mpsc::Receiver<v1::LogChunk>,
}

/// Asks a task's agent for its output; says why where that cannot be.
pub(crate) fn open_log(kernel: &Kernel, query: LogQuery) -> Result<LogStream, String> {
    let state = kernel.state();
    let task = state
        .tasks
        .get(&query.task)
        .ok_or_else(|| format!("there is no task {}", query.task))?;
    let relay = &kernel.sessions().logs;
    let request = relay.last.fetch_add(1, Ordering::Relaxed) + 1;
    let (sender, chunks) = mpsc::channel(WAITING);
    relay.lock().insert(request, sender);
    let stream = LogStream {
        kernel: kernel.clone(),
        agent: task.agent,
        request,
        query,
        chunks,
    };
    if kernel
        .sessions()
        .send(task.agent, Down::Log(stream.ask(false)))
    {
        Ok(stream)
    } else {
        Err(format!(
            "{} cannot be reached now; the output is kept there",
            task.agent
        ))
    }
}

impl LogStream {
    fn ask(&self, cancel: bool) -> v1::LogRequest {
        v1::LogRequest {
            request: self.request,
            task: self.query.task.0,
            stream: self.query.stream.clone(),
            tail_bytes: self.query.tail,
            follow: self.query.follow,
            cancel,
        }
    }
}

impl Drop for LogStream {
    fn drop(&mut self) {
        if self
            .kernel
            .sessions()
            .logs
            .lock()
            .remove(&self.request)
            .is_some()
        {
            self.kernel
                .sessions()
                .send(self.agent, Down::Log(self.ask(true)));
        }
    }
}

impl Stream for LogStream {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.chunks.poll_recv(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(chunk)) if !chunk.error.is_empty() => {
                Poll::Ready(Some(Err(std::io::Error::other(chunk.error))))
            }
            Poll::Ready(Some(chunk)) if chunk.end && chunk.data.is_empty() => Poll::Ready(None),
            Poll::Ready(Some(chunk)) => Poll::Ready(Some(Ok(chunk.data))),
        }
    }
}
