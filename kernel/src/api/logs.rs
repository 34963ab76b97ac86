//! Logs: the output of a task from its agent to a client, as a body whose trailer says why it
//! ends early.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use http_body::{Body, Frame};
use kelson_model::code::Code;
use kelson_model::id::{AgentId, TaskId};
use kelson_model::request::Refusal;
use kelson_proto::v1;
use kelson_proto::v1::kernel_message::Message as Down;
use serde_json::json;
use tokio::sync::mpsc;

use crate::kernel::Kernel;
use crate::sessions::{Fault, Piece, WINDOW};

/// The trailer that says why an output ends early: a refusal as JSON.
pub(crate) const TRAILER: &str = "kelson-error";
/// An agent says within this whether it has the output.
const ANSWER: Duration = Duration::from_secs(10);
/// After this many chunks the agent is told that they were taken.
const TAKEN: u32 = WINDOW / 2;

/// What a client asks for.
#[derive(Debug, Clone)]
pub(crate) struct LogQuery {
    /// Whose output.
    pub(crate) task: TaskId,
    /// `stdout` or `stderr`.
    pub(crate) stream: String,
    /// At most this many bytes of the end at first; absent: all.
    pub(crate) tail: Option<u64>,
    /// Whether to go on.
    pub(crate) follow: bool,
}

/// Why there is no output, or nothing more of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogError {
    /// There is no such task.
    NoTask(TaskId),
    /// Its agent says why.
    Failed(Fault, String),
}

impl LogError {
    fn not_now(message: impl Into<String>) -> Self {
        Self::Failed(Fault::NotNow, message.into())
    }

    /// The same for people.
    pub(crate) fn refusal(&self) -> Refusal {
        let (code, message, hint) = match self {
            Self::NoTask(task) => (
                Code::NoSuchTask,
                format!("there is no task {task}"),
                "see `kelson tasks -A`",
            ),
            Self::Failed(Fault::NotKept, message) => (
                Code::OutputGone,
                message.clone(),
                "agents keep the output of the last ended tasks of each slot: see `kelson agent --kept-outputs`",
            ),
            Self::Failed(Fault::NotNow, message) => (
                Code::OutputAway,
                message.clone(),
                "try again; see `kelson agents`",
            ),
            Self::Failed(Fault::NoStream, message) => (
                Code::UnreadableRequest,
                message.clone(),
                "see docs/reference/http.md",
            ),
        };
        Refusal {
            code: code.into(),
            message,
            hint: hint.to_owned(),
        }
    }
}

/// The output of a task as it comes; dropping it tells the agent to stop.
pub(crate) struct LogBody {
    reading: Reading,
    pieces: mpsc::Receiver<Piece>,
    first: Option<Piece>,
    taken: u32,
    is_over: bool,
    has_trailers: bool,
}

/// A reading that its agent is told to stop once nobody wants it any more.
struct Reading {
    kernel: Kernel,
    agent: AgentId,
    request: u64,
}

impl Reading {
    fn ask(&self, down: Down) -> bool {
        self.kernel.sessions().ask(self.agent, down)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if self.kernel.sessions().outputs.end(self.request) {
            self.ask(Down::Log(v1::LogRequest {
                request: self.request,
                cancel: true,
                ..v1::LogRequest::default()
            }));
        }
    }
}

/// Asks a task's agent for its output and waits until it has found it; `has_trailers` says
/// whether the client reads them.
pub(crate) async fn open_log(
    kernel: &Kernel,
    query: LogQuery,
    has_trailers: bool,
) -> Result<LogBody, LogError> {
    let state = kernel.state();
    let id = query.task;
    let gone = || {
        if id > TaskId(0) && id <= state.last_task {
            // It was given once; nothing but the number is left of it.
            LogError::Failed(
                Fault::NotKept,
                format!("the output of {id} is not kept any more"),
            )
        } else {
            LogError::NoTask(id)
        }
    };
    let task = state.tasks.get(id).ok_or_else(gone)?;
    let agent = task.agent();
    let is_ended = task.state().is_terminal();
    let (request, mut pieces) = kernel.sessions().outputs.begin(agent);
    let reading = Reading {
        kernel: kernel.clone(),
        agent,
        request,
    };
    let asked = reading.ask(Down::Log(v1::LogRequest {
        request,
        task: id.0,
        stream: query.stream,
        tail_bytes: query.tail.unwrap_or(0),
        from_end: query.tail == Some(0),
        follow: query.follow,
        cancel: false,
        window: WINDOW,
    }));
    if !asked {
        let message = format!("{agent} cannot be reached now; the output is kept there");
        return Err(LogError::not_now(message));
    }
    let first = tokio::time::timeout(ANSWER, pieces.recv()).await;
    let first = first.map_err(|_| {
        let seconds = ANSWER.as_secs();
        LogError::not_now(format!("{agent} did not answer within {seconds} s"))
    })?;
    match first {
        Some(first @ (Piece::Begun | Piece::Data(_) | Piece::End)) => Ok(LogBody {
            reading,
            pieces,
            first: Some(first),
            taken: 0,
            is_over: false,
            has_trailers,
        }),
        Some(Piece::Failed(Fault::NotKept, _)) if !is_ended => {
            Err(LogError::not_now(format!("{id} has not been started yet")))
        }
        Some(Piece::Failed(fault, message)) => Err(LogError::Failed(fault, message)),
        None => Err(LogError::not_now(format!("{agent} did not answer"))),
    }
}

impl LogBody {
    /// Counts what was taken; the agent may send as much again.
    fn take(&mut self) {
        self.taken += 1;
        if self.taken >= TAKEN {
            let window = v1::LogWindow {
                request: self.reading.request,
                chunks: self.taken,
            };
            if self.reading.ask(Down::Window(window)) {
                self.taken = 0;
            }
        }
    }

    fn fail(&mut self, error: &LogError) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        self.is_over = true;
        let refusal = json!(error.refusal()).to_string();
        match HeaderValue::from_bytes(refusal.as_bytes()) {
            Ok(value) if self.has_trailers => {
                let trailers = HeaderMap::from_iter([(HeaderName::from_static(TRAILER), value)]);
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Ok(_) | Err(_) => Poll::Ready(Some(Err(BrokenOff(refusal)))),
        }
    }
}

/// What breaks the answer off where the client reads no trailers: a clean end would say that this
/// was all.
#[derive(Debug, thiserror::Error)]
#[error("the output breaks off: {0}")]
pub(crate) struct BrokenOff(String);

impl Body for LogBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        loop {
            let next = match self.first.take() {
                Some(first) => Poll::Ready(Some(first)),
                None => self.pieces.poll_recv(context),
            };
            return match next {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(Piece::Begun)) => continue,
                Poll::Ready(Some(Piece::Data(data))) => {
                    self.take();
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                Poll::Ready(Some(Piece::End)) => {
                    self.is_over = true;
                    Poll::Ready(None)
                }
                Poll::Ready(Some(Piece::Failed(fault, message))) => {
                    self.fail(&LogError::Failed(fault, message))
                }
                Poll::Ready(None) => {
                    let message = format!("{} broke the output off", self.reading.agent);
                    self.fail(&LogError::not_now(message))
                }
            };
        }
    }
}
