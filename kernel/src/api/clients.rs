//! gRPC clients of the kernel: requests, watches, blobs.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use kelson_kernel_core::Reply;
use kelson_model::code::Code;
use kelson_model::id::Digest;
use kelson_model::request::{Answer, Beginning, Refusal, Submission};
use kelson_proto::{BLOB_CHUNK, v1};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::api::access::{Who, authorise, needed};
use crate::api::watch;
use crate::blobs::{BlobError, MAX_BLOB};
use crate::kernel::Kernel;

/// Requests of one client that may be under way at once; they are answered in order.
const IN_FLIGHT: usize = 64;
/// Digests of one question.
const MAX_DIGESTS: usize = 10_000;

/// The gRPC service that clients use.
pub(crate) struct ClientService {
    kernel: Kernel,
}

impl ClientService {
    pub(crate) fn new(kernel: Kernel) -> Self {
        Self { kernel }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What a client is told of a reply.
pub(crate) fn answer(reply: Reply) -> Answer {
    match reply {
        Reply::Done { index, generation } => Answer::Done { index, generation },
        Reply::Refused(refusal) => Answer::Refused(refusal),
        Reply::Attached { .. }
        | Reply::Admitted { .. }
        | Reply::SessionOver { .. }
        | Reply::Counted { .. }
        | Reply::TokenCreated { .. }
        | Reply::Joined { .. }
        | Reply::Void { .. } => Answer::Refused(Refusal {
            code: Code::NotForClients.into(),
            message: "this reply is not for clients".to_owned(),
            hint: "this is a defect of the kernel: report it".to_owned(),
        }),
    }
}

/// What a client has to know before its first request.
pub(crate) fn beginning(kernel: &Kernel) -> Beginning {
    let state = kernel.state();
    Beginning {
        cluster: state.cluster.clone(),
        since: state.time,
    }
}

/// Reads a submission and carries it out, where whoever asks may ask for it.
pub(crate) async fn submit(kernel: &Kernel, who: &Who, json: &[u8]) -> Result<Answer, Status> {
    let mut submission: Submission = serde_json::from_slice(json).map_err(|error| {
        Status::invalid_argument(format!("the request cannot be read: {error}"))
    })?;
    if submission.client.is_empty() || submission.client.len() > 64 {
        return Err(Status::invalid_argument(
            "a client's name has 1 to 64 bytes",
        ));
    }
    let (role, place) = needed(&submission.request, &kernel.state());
    if let Err(refusal) = authorise(who, &[role], &place) {
        tracing::info!(?who, %refusal, "refused");
        return Ok(Answer::Refused(refusal));
    }
    submission.principal = who.principal(submission.principal);
    let reply = kernel.submit(submission).await.map_err(|error| {
        if error.is_open() {
            Status::aborted(error.to_string())
        } else {
            Status::unavailable(error.to_string())
        }
    })?;
    Ok(answer(reply))
}

fn blob_status(error: &BlobError) -> Status {
    match error {
        BlobError::Missing(_) => Status::not_found(error.to_string()),
        BlobError::TooLarge => Status::resource_exhausted(error.to_string()),
        BlobError::Io { .. } => Status::unavailable(error.to_string()),
        BlobError::Damaged(_) => Status::data_loss(error.to_string()),
    }
}

fn parse_digest(text: &str) -> Result<Digest, Status> {
    text.parse()
        .map_err(|error: kelson_model::id::ParseIdError| {
            Status::invalid_argument(error.to_string())
        })
}

#[tonic::async_trait]
impl v1::kernel_server::Kernel for ClientService {
    type SubmitStream = Answers<v1::SubmitAnswer>;
    type WatchStream = Answers<v1::WatchBatch>;
    type GetBlobStream = Answers<v1::BlobChunk>;

    async fn begin(&self, _: Request<v1::BeginRequest>) -> Result<Response<v1::Beginning>, Status> {
        let Beginning { cluster, since } = beginning(&self.kernel);
        let since = since.0;
        Ok(Response::new(v1::Beginning { cluster, since }))
    }

    async fn submit(
        &self,
        request: Request<Streaming<v1::SubmitRequest>>,
    ) -> Result<Response<Self::SubmitStream>, Status> {
        let kernel = self.kernel.clone();
        let who = request.extensions().get::<Who>().cloned();
        let who = who.unwrap_or(Who::Stranger);
        let carry_out = move |request: Result<v1::SubmitRequest, Status>| {
            let (kernel, who) = (kernel.clone(), who.clone());
            async move {
                let answer = submit(&kernel, &who, request?.submission_json.as_bytes()).await?;
                let answer_json = serde_json::to_string(&answer)
                    .map_err(|error| Status::internal(error.to_string()))?;
                Ok(v1::SubmitAnswer { answer_json })
            }
        };
        Ok(Response::new(Box::pin(
            request.into_inner().map(carry_out).buffered(IN_FLIGHT),
        )))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        if let Some(unknown) = request
            .kinds
            .iter()
            .find(|kind| !watch::KINDS.contains(&kind.as_str()))
        {
            return Err(Status::invalid_argument(format!(
                "there are no rows of kind '{unknown}'"
            )));
        }
        let cluster = self.kernel.state().cluster.clone();
        let token = watch::Token {
            index: request.resume,
            cluster: request.cluster,
        };
        let opened = watch::open_watch(&self.kernel, request.kinds, token).await;
        let opened = opened.map_err(|error| Status::unavailable(error.to_string()))?;
        let batches = ReceiverStream::new(opened);
        let to_wire = move |batch: watch::Batch| {
            let rows = batch.rows.into_iter().map(|row| v1::WatchRow {
                kind: row.kind.to_owned(),
                key: row.key,
                json: row.json.unwrap_or_default(),
            });
            Ok(v1::WatchBatch {
                index: batch.index,
                restart: batch.restart,
                current: batch.current,
                cluster: cluster.clone(),
                rows: rows.collect(),
            })
        };
        Ok(Response::new(Box::pin(batches.map(to_wire))))
    }

    async fn put_blob(
        &self,
        request: Request<Streaming<v1::BlobChunk>>,
    ) -> Result<Response<v1::BlobStored>, Status> {
        let mut chunks = request.into_inner();
        let mut content: Vec<u8> = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            content.extend_from_slice(&chunk.data);
            if u64::try_from(content.len()).is_ok_and(|size| size > MAX_BLOB) {
                return Err(blob_status(&BlobError::TooLarge));
            }
        }
        let blobs = self.kernel.blobs().clone();
        let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
        let stored = tokio::task::spawn_blocking(move || blobs.put(&content)).await;
        let digest = stored
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(|error| blob_status(&error))?;
        Ok(Response::new(v1::BlobStored {
            digest: digest.to_string(),
            size,
        }))
    }

    async fn get_blob(
        &self,
        request: Request<v1::BlobRequest>,
    ) -> Result<Response<Self::GetBlobStream>, Status> {
        let digest = parse_digest(&request.into_inner().digest)?;
        let blobs = self.kernel.blobs().clone();
        let read = tokio::task::spawn_blocking(move || blobs.get(&digest)).await;
        let content = read
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(|error| blob_status(&error))?;
        let content = bytes::Bytes::from(content);
        let chunks: Vec<_> = (0..content.len())
            .step_by(BLOB_CHUNK)
            .map(|start| {
                Ok(v1::BlobChunk {
                    data: content.slice(start..content.len().min(start + BLOB_CHUNK)),
                })
            })
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
    }

    async fn missing_blobs(
        &self,
        request: Request<v1::BlobDigests>,
    ) -> Result<Response<v1::BlobDigests>, Status> {
        let digests = request.into_inner().digests;
        if digests.len() > MAX_DIGESTS {
            return Err(Status::invalid_argument(format!(
                "{MAX_DIGESTS} digests at the most"
            )));
        }
        let mut missing = Vec::new();
        for text in digests {
            if !self.kernel.blobs().has(&parse_digest(&text)?) {
                missing.push(text);
            }
        }
        Ok(Response::new(v1::BlobDigests { digests: missing }))
    }
}
