//! The kernel's client against a server that misbehaves.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use kelson_model::code::Code;
use kelson_model::id::{Digest, Index};
use kelson_model::principal::Principal;
use kelson_model::request::{Answer, Confirm, Refusal, Request, Submission};
use kelson_proto::v1;
use kelson_proto::v1::kernel_server::{Kernel, KernelServer};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Response, Status, Streaming};

use crate::client::{GrpcKernel, KernelPort as _, PortError, RowKind};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Breaks the connection `breaks` times before it answers, and remembers what it was asked.
#[derive(Clone, Default)]
struct Flaky {
    breaks: Arc<Mutex<u32>>,
    /// How many answers then say that the client is not known any more.
    forgets: Arc<Mutex<u32>>,
    asked: Arc<Mutex<Vec<Submission>>>,
    resumed: Arc<Mutex<Vec<u64>>>,
    stored: Arc<Mutex<Vec<u8>>>,
    /// What the next watches are answered, each before its connection is over.
    scripts: Arc<Mutex<VecDeque<v1::WatchBatch>>>,
}

impl Flaky {
    fn breaks(&self) -> bool {
        count_down(&self.breaks)
    }

    fn forgets(&self) -> bool {
        count_down(&self.forgets)
    }
}

fn count_down(times: &Mutex<u32>) -> bool {
    let mut times = times.lock().unwrap();
    let is_left = *times > 0;
    *times = times.saturating_sub(1);
    is_left
}

#[tonic::async_trait]
impl Kernel for Flaky {
    type SubmitStream = Answers<v1::SubmitAnswer>;
    type WatchStream = Answers<v1::WatchBatch>;
    type GetBlobStream = Answers<v1::BlobChunk>;

    async fn begin(
        &self,
        _: tonic::Request<v1::BeginRequest>,
    ) -> Result<Response<v1::Beginning>, Status> {
        let since = u64::try_from(self.asked.lock().unwrap().len()).unwrap();
        Ok(Response::new(v1::Beginning {
            cluster: "test".to_owned(),
            since,
        }))
    }

    async fn submit(
        &self,
        request: tonic::Request<Streaming<v1::SubmitRequest>>,
    ) -> Result<Response<Self::SubmitStream>, Status> {
        let flaky = self.clone();
        let answers = request.into_inner().map(move |request| {
            let submission: Submission = serde_json::from_str(&request?.submission_json).unwrap();
            let index = Index(submission.sequence);
            flaky.asked.lock().unwrap().push(submission);
            if flaky.breaks() {
                return Err(Status::unavailable("broken on purpose"));
            }
            let answer = match flaky.forgets() {
                true => Answer::Refused(Refusal {
                    code: Code::ClientForgotten.into(),
                    message: String::new(),
                    hint: String::new(),
                }),
                false => Answer::Done {
                    index,
                    generation: None,
                },
            };
            Ok(v1::SubmitAnswer {
                answer_json: serde_json::to_string(&answer).unwrap(),
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn watch(
        &self,
        request: tonic::Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let resume = request.into_inner().resume;
        self.resumed.lock().unwrap().push(resume);
        let row = |kind: &str, json: &str| v1::WatchRow {
            kind: kind.to_owned(),
            key: "k".to_owned(),
            json: json.to_owned(),
        };
        let script = self.scripts.lock().unwrap().pop_front();
        let batch = script.unwrap_or_else(|| v1::WatchBatch {
            index: resume + 5,
            restart: resume == 0,
            current: true,
            cluster: "test".to_owned(),
            rows: vec![row("task", "{}"), row("object", ""), row("novelty", "{}")],
        });
        // One batch, and then the connection is over.
        Ok(Response::new(Box::pin(stream::iter([
            Ok(batch),
            Err(Status::unavailable("over")),
        ]))))
    }

    async fn put_blob(
        &self,
        request: tonic::Request<Streaming<v1::BlobChunk>>,
    ) -> Result<Response<v1::BlobStored>, Status> {
        let mut chunks = request.into_inner();
        let mut content = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            content.extend_from_slice(&chunk.data);
        }
        if self.breaks() {
            return Err(Status::unavailable("broken on purpose"));
        }
        let digest = Digest::of(&content).to_string();
        let size = u64::try_from(content.len()).unwrap();
        *self.stored.lock().unwrap() = content;
        Ok(Response::new(v1::BlobStored { digest, size }))
    }

    async fn get_blob(
        &self,
        _: tonic::Request<v1::BlobRequest>,
    ) -> Result<Response<Self::GetBlobStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn missing_blobs(
        &self,
        request: tonic::Request<v1::BlobDigests>,
    ) -> Result<Response<v1::BlobDigests>, Status> {
        Ok(Response::new(request.into_inner()))
    }
}

async fn serve(flaky: &Flaky) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let service = KernelServer::new(flaky.clone());
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    address
}

fn dialer(address: &str) -> kelson_trust::Dialer {
    kelson_trust::Dialer::plain(address.parse().unwrap())
}

fn request() -> Request {
    Request::Confirm(Confirm {
        source: String::new(),
        revision: "0123456".to_owned(),
        hold: String::new(),
    })
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_under_the_same_sequence() {
    let flaky = Flaky::default();
    *flaky.breaks.lock().unwrap() = 2;
    let address = serve(&flaky).await;
    let kernel = GrpcKernel::new(dialer(&address), Principal::reconciler());
    for _ in 0..2 {
        kernel.submit(request()).await.unwrap();
    }
    let asked = flaky.asked.lock().unwrap();
    let sequences: Vec<u64> = asked.iter().map(|it| it.sequence).collect();
    assert_eq!(sequences, [1, 1, 1, 2]);
    assert!(
        asked
            .iter()
            .all(|it| it.client == asked[0].client && it.client.len() <= 64)
    );
}

#[tokio::test]
async fn a_client_that_was_forgotten_begins_anew_unless_its_request_may_have_been_carried_out() {
    let flaky = Flaky::default();
    let address = serve(&flaky).await;
    let kernel = GrpcKernel::new(dialer(&address), Principal::reconciler());
    *flaky.forgets.lock().unwrap() = 1;
    let answer = kernel.submit(request()).await.unwrap();
    assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
    // Its first answer is lost, so nobody knows whether it was done.
    *flaky.breaks.lock().unwrap() = 1;
    *flaky.forgets.lock().unwrap() = 1;
    let answer = kernel.submit(request()).await.unwrap();
    let Answer::Refused(refusal) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(refusal.code, Code::ClientForgotten);
    kernel.submit(request()).await.unwrap();
    let asked = flaky.asked.lock().unwrap();
    let sequences: Vec<u64> = asked.iter().map(|it| it.sequence).collect();
    assert_eq!(sequences, [1, 1, 2, 2, 1]);
    let since: Vec<u64> = asked.iter().map(|it| it.since.0).collect();
    assert_eq!(since, [0, 1, 1, 1, 4]);
    assert_ne!(asked[0].client, asked[1].client);
}

#[tokio::test]
async fn a_watch_goes_on_from_its_last_token_and_leaves_unknown_rows_aside() {
    let flaky = Flaky::default();
    let address = serve(&flaky).await;
    let kernel = GrpcKernel::new(dialer(&address), Principal::reconciler());
    let batches: Vec<_> = kernel.watch(&RowKind::ALL).take(3).collect().await;
    let indices: Vec<u64> = batches.iter().map(|batch| batch.index.0).collect();
    assert_eq!(indices, [5, 10, 15]);
    assert!(batches[0].is_restart && !batches[1].is_restart);
    let rows: Vec<(RowKind, bool)> = batches[0]
        .rows
        .iter()
        .map(|row| (row.kind, row.json.is_some()))
        .collect();
    assert_eq!(rows, [(RowKind::Task, true), (RowKind::Object, false)]);
    assert_eq!(flaky.resumed.lock().unwrap()[..3], [0, 5, 10]);
}

#[tokio::test]
async fn a_watch_that_breaks_while_it_begins_again_begins_again_once_more() {
    let flaky = Flaky::default();
    let batch = |index, restart, current| v1::WatchBatch {
        index,
        restart,
        current,
        ..v1::WatchBatch::default()
    };
    flaky.scripts.lock().unwrap().extend([
        batch(7, true, true),
        // The kernel does not know what has changed since; the first half of everything arrives.
        batch(7, true, false),
        batch(9, false, true),
    ]);
    let address = serve(&flaky).await;
    let kernel = GrpcKernel::new(dialer(&address), Principal::reconciler());
    let batches: Vec<_> = kernel.watch(&RowKind::ALL).take(4).collect().await;
    assert_eq!(batches.len(), 4);
    assert_eq!(flaky.resumed.lock().unwrap()[..4], [0, 7, 0, 9]);
}

#[tokio::test]
async fn a_large_blob_arrives_whole_although_the_connection_breaks() {
    let flaky = Flaky::default();
    *flaky.breaks.lock().unwrap() = 1;
    let address = serve(&flaky).await;
    let kernel = GrpcKernel::new(dialer(&address), Principal::reconciler());
    let content: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let digest = kernel.put_blob(Bytes::from(content.clone())).await.unwrap();
    assert_eq!(digest, Digest::of(&content));
    assert_eq!(*flaky.stored.lock().unwrap(), content);
    let missing = kernel.missing_blobs(vec![digest.clone()]).await.unwrap();
    assert_eq!(missing, [digest]);
}

#[tokio::test]
async fn a_kernel_that_is_not_there_is_an_error_in_time() {
    let kernel = GrpcKernel::with_patience(
        dialer("http://127.0.0.1:1"),
        Principal::reconciler(),
        Duration::from_millis(50),
    );
    let error = kernel.submit(request()).await.unwrap_err();
    assert!(matches!(error, PortError::Unreachable { .. }), "{error}");
}
