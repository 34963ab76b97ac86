//! What is said of a loop of the kernel that stands still: to whoever asks whether it is ready, and
//! in the status.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::time::Duration;

use kelson_kernel::Kernel;
use kelson_kernel::api::run_api;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn serve(kernel: &Kernel) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Ends with the test's runtime.
    tokio::spawn(run_api(kernel.clone(), listener, std::future::pending()));
    address
}

/// The number of an answer, and its body.
async fn get(address: &str, path: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let number = head.split(' ').nth(1).unwrap().parse().unwrap();
    (number, serde_json::from_str(body).unwrap())
}

/// The state of a loop in an answer.
fn of<'a>(body: &'a Value, list: &str, name: &str) -> Option<&'a Value> {
    let loops = body[list].as_array()?;
    loops.iter().find(|one| one["name"] == name)
}

#[tokio::test]
async fn a_loop_that_is_late_or_has_ended_makes_its_kernel_unready_and_stands_in_the_status() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = support::start(folder.path()).await;
    let address = serve(&kernel).await;
    let (number, ready) = get(&address, "/readyz").await;
    assert_eq!((number, &ready["ready"]), (200, &Value::Bool(true)));
    for name in ["log", "member", "compaction"] {
        let found = of(&ready, "loops", name).unwrap();
        assert_eq!(found["state"], "alive", "{ready}");
    }
    let (_, status) = get(&address, "/v1/status").await;
    assert_eq!(of(&status, "late", "probe"), None);

    let heart = kernel.hearts().start("probe");
    heart.works("stands still", Duration::ZERO);
    let (number, ready) = get(&address, "/readyz").await;
    assert_eq!((number, &ready["ready"]), (503, &Value::Bool(false)));
    let late = of(&ready, "loops", "probe").unwrap();
    assert_eq!(
        (&late["state"], &late["doing"]),
        (&"late".into(), &"stands still".into())
    );
    let (_, status) = get(&address, "/v1/status").await;
    assert_eq!(of(&status, "late", "probe").unwrap()["state"], "late");

    heart.waits("for more", None);
    kernel
        .hearts()
        .check("probe", || Some("the disk is full".to_owned()));
    let (number, ready) = get(&address, "/readyz").await;
    let blocked = of(&ready, "loops", "probe").unwrap();
    assert_eq!(
        (number, &blocked["state"], &blocked["doing"]),
        (503, &"blocked".into(), &"the disk is full".into())
    );
    kernel.hearts().check("probe", || None);
    assert_eq!(get(&address, "/readyz").await.0, 200);
    drop(heart);
    let (number, ready) = get(&address, "/readyz").await;
    assert_eq!(number, 503);
    assert_eq!(of(&ready, "loops", "probe").unwrap()["state"], "ended");
}
