//! What is said of a loop of the kernel that stands still: to whoever asks whether it is ready, and
//! in the status.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::time::Duration;

use serde_json::Value;

/// The number of an answer, and its body.
async fn get(address: &str, path: &str) -> (u16, Value) {
    let answer = support::get(address, path).await;
    (answer.status, answer.json())
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
    let address = support::serve(&kernel).await;
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
