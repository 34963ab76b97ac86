//! Requests on their way: one stream, one request at a time, carried over broken connections.

use kelson_model::request::{Answer, Submission};
use kelson_proto::v1;
use kelson_proto::v1::kernel_client::KernelClient;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::backoff::Backoff;
use super::port::PortError;

/// A request and who waits for its answer.
pub(super) struct Order {
    pub(super) submission: Submission,
    pub(super) answer: oneshot::Sender<Result<Answer, PortError>>,
}

struct Open {
    requests: mpsc::Sender<v1::SubmitRequest>,
    answers: Streaming<v1::SubmitAnswer>,
}

/// Carries requests to the kernel until nobody can give any more.
///
/// *Flow*: one request is under way at a time, since the kernel remembers of each client the last
/// one only. A connection that breaks is opened again, and the request whose answer was lost goes
/// out again under its old sequence. A request that nobody waits for any more is dropped.
pub(super) async fn run_submitting(
    mut client: KernelClient<Channel>,
    address: String,
    mut orders: mpsc::Receiver<Order>,
) {
    let mut open: Option<Open> = None;
    let mut backoff = Backoff::new();
    while let Some(mut order) = orders.recv().await {
        let message = match serde_json::to_string(&order.submission) {
            Ok(submission_json) => v1::SubmitRequest { submission_json },
            Err(error) => {
                let detail = error.to_string();
                let _ = order.answer.send(Err(PortError::Protocol {
                    address: address.clone(),
                    detail,
                }));
                continue;
            }
        };
        let answer = loop {
            let attempt = async {
                let answered = attempt(&mut client, &mut open, message.clone()).await;
                if answered.as_ref().is_err_and(may_pass) {
                    open = None;
                    backoff.wait().await;
                }
                answered
            };
            let answered = tokio::select! {
                answered = attempt => answered,
                () = order.answer.closed() => {
                    // The answer may still come, and would be taken for that of the next request.
                    open = None;
                    break None;
                }
            };
            match answered {
                Ok(text) => {
                    backoff.reset();
                    break Some(parse(&text, &address));
                }
                Err(status) if may_pass(&status) => {
                    tracing::debug!(code = ?status.code(), "a request goes out again");
                }
                Err(status) => {
                    open = None;
                    break Some(Err(PortError::Protocol {
                        address: address.clone(),
                        detail: status.message().to_owned(),
                    }));
                }
            }
        };
        if let Some(answer) = answer {
            // Whoever asked may have gone.
            let _ = order.answer.send(answer);
        }
    }
}

async fn attempt(
    client: &mut KernelClient<Channel>,
    open: &mut Option<Open>,
    message: v1::SubmitRequest,
) -> Result<String, Status> {
    let gone = || Status::unavailable("the stream of requests has ended");
    let stream = match open {
        Some(stream) => {
            stream.requests.send(message).await.map_err(|_| gone())?;
            stream
        }
        None => {
            let (requests, outgoing) = mpsc::channel(1);
            // Given before the call, since a kernel may answer with its head only once it has
            // something to read.
            requests.send(message).await.map_err(|_| gone())?;
            let answers = client
                .submit(ReceiverStream::new(outgoing))
                .await?
                .into_inner();
            open.insert(Open { requests, answers })
        }
    };
    let answer = stream.answers.message().await?.ok_or_else(gone)?;
    Ok(answer.answer_json)
}

fn parse(text: &str, address: &str) -> Result<Answer, PortError> {
    serde_json::from_str(text).map_err(|error| PortError::Protocol {
        address: address.to_owned(),
        detail: format!("an answer that is none: {error}"),
    })
}

/// Whether the same question may be answered when it is asked again.
pub(super) fn may_pass(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable
        | Code::Unknown
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Internal => true,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}
