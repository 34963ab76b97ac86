//! The watch: everything at first, then each change once, and a token to go on from.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use kelson_kernel::Kernel;
use kelson_proto::v1::kernel_client::KernelClient;
use kelson_proto::v1::{WatchBatch, WatchRequest};
use tonic::Streaming;

async fn serve(kernel: &Kernel) -> String {
    format!("http://{}", support::serve(kernel).await)
}

async fn watch(address: &str, resume: u64) -> Streaming<WatchBatch> {
    let mut client = KernelClient::connect(address.to_owned()).await.unwrap();
    let request = WatchRequest {
        kinds: vec!["event".to_owned()],
        resume,
        ..WatchRequest::default()
    };
    client.watch(request).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<WatchBatch>) -> WatchBatch {
    stream.message().await.unwrap().unwrap()
}

#[tokio::test]
async fn a_watch_goes_on_from_its_token_without_losing_or_repeating_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = support::start(folder.path()).await;
    support::write(&kernel, 1..4).await;
    let address = serve(&kernel).await;

    let mut first = watch(&address, 0).await;
    let all = next(&mut first).await;
    assert!(all.restart && all.current, "{all:?}");
    assert_eq!(all.rows.len(), 3);
    drop(first);

    support::write(&kernel, 4..6).await;
    let mut again = watch(&address, all.index).await;
    let tail = next(&mut again).await;
    assert!(!tail.restart, "what is known stays known");
    assert_eq!(tail.rows.len(), 2);
    let known: Vec<&String> = all.rows.iter().map(|row| &row.key).collect();
    assert!(tail.rows.iter().all(|row| !known.contains(&&row.key)));

    support::write(&kernel, 6..7).await;
    let news = next(&mut again).await;
    assert_eq!((news.restart, news.rows.len()), (false, 1));
}

#[tokio::test]
async fn a_token_of_another_life_begins_again() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = support::start(folder.path()).await;
    support::write(&kernel, 1..3).await;
    let address = serve(&kernel).await;
    let batch = next(&mut watch(&address, 1_000_000).await).await;
    assert!(batch.restart);
    assert_eq!(batch.rows.len(), 2);
}
