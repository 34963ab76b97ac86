//! Requests on their way: one stream, one request at a time, carried over broken connections.

use kelson_model::principal::Principal;
use kelson_model::request::{Answer, Request, Submission};
use kelson_model::time::ClusterTime;
use kelson_proto::v1;
use kelson_proto::v1::kernel_client::KernelClient;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::backoff::{Backoff, random};
use super::port::PortError;

/// A request and who waits for its answer.
pub(super) struct Order {
    pub(super) principal: Principal,
    pub(super) request: Request,
    pub(super) answer: oneshot::Sender<Result<Answer, PortError>>,
}

struct Open {
    requests: mpsc::Sender<v1::SubmitRequest>,
    answers: Streaming<v1::SubmitAnswer>,
}

/// What the kernel remembers this process by.
struct Name {
    client: String,
    since: ClusterTime,
    /// The sequence that was used last.
    sequence: u64,
}

/// Carries requests to the kernel until nobody can give any more.
///
/// *Flow*: one request is under way at a time, since each is made from what the one before has
/// come to. A connection that breaks is opened again, and the request whose answer was lost goes
/// out again under its old sequence. A request that nobody waits for any more is dropped. Where
/// the kernel has forgotten this client, a request that was sent once only, and so was not carried
/// out, goes out again under a new name; of any other that is its answer.
pub(super) async fn run_submitting(
    client: KernelClient<Channel>,
    address: String,
    mut orders: mpsc::Receiver<Order>,
) {
    let mut way = Way {
        client,
        name: None,
        open: None,
    };
    let mut backoff = Backoff::new();
    while let Some(mut order) = orders.recv().await {
        let answered = tokio::select! {
            answered = way.carry(&order.principal, &order.request, &mut backoff) => answered,
            () = order.answer.closed() => {
                // The answer may still come, and would be taken for that of the next request.
                way.open = None;
                continue;
            }
        };
        let answer = answered.map_err(|detail| PortError::Protocol {
            address: address.clone(),
            detail,
        });
        // Whoever asked may have gone.
        let _ = order.answer.send(answer);
    }
}

/// The way to the kernel.
struct Way {
    client: KernelClient<Channel>,
    name: Option<Name>,
    open: Option<Open>,
}

impl Way {
    /// Carries one request for as long as it may help.
    ///
    /// # Errors
    /// The kernel does not understand; what it says.
    async fn carry(
        &mut self,
        principal: &Principal,
        request: &Request,
        backoff: &mut Backoff,
    ) -> Result<Answer, String> {
        let mut sent: Option<(String, u32)> = None;
        loop {
            let (message, times) = match &mut sent {
                Some(sent) => sent,
                None => match self.submission(principal, request).await {
                    Ok(submission) => {
                        let text = serde_json::to_string(&submission);
                        sent.insert((text.map_err(|error| error.to_string())?, 0))
                    }
                    Err(status) if may_pass(&status) => {
                        backoff.wait().await;
                        continue;
                    }
                    Err(status) => return Err(status.message().to_owned()),
                },
            };
            *times += 1;
            let submission_json = message.clone();
            let message = v1::SubmitRequest { submission_json };
            match attempt(&mut self.client, &mut self.open, message).await {
                Ok(text) => {
                    backoff.reset();
                    let answer: Answer = serde_json::from_str(&text)
                        .map_err(|error| format!("an answer that is none: {error}"))?;
                    if !is_forgotten(&answer) {
                        return Ok(answer);
                    }
                    self.name = None;
                    if *times > 1 {
                        return Ok(answer);
                    }
                    sent = None;
                }
                Err(status) if may_pass(&status) => {
                    self.open = None;
                    tracing::debug!(code = ?status.code(), "a request goes out again");
                    backoff.wait().await;
                }
                Err(status) => {
                    self.open = None;
                    return Err(status.message().to_owned());
                }
            }
        }
    }

    /// The next submission of this client, which begins where it has not.
    async fn submission(
        &mut self,
        principal: &Principal,
        request: &Request,
    ) -> Result<Submission, Status> {
        let name = match &mut self.name {
            Some(name) => name,
            None => {
                let told = self.client.begin(v1::BeginRequest {}).await?.into_inner();
                self.name.insert(Name {
                    client: format!("{:016x}{:016x}", random(), random()),
                    since: ClusterTime(told.since),
                    sequence: 0,
                })
            }
        };
        name.sequence += 1;
        Ok(Submission {
            client: name.client.clone(),
            sequence: name.sequence,
            since: name.since,
            principal: principal.clone(),
            request: request.clone(),
        })
    }
}

fn is_forgotten(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused(refusal) if refusal.code == kelson_model::code::Code::ClientForgotten)
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
