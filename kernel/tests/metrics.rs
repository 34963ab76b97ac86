//! What a member measures, as a scraper reads it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::collections::BTreeMap;

use support::{get, serve};

/// Reads a page as strictly as a scraper: each sample belongs to a family that was described before
/// it, is a number, and comes once; the page says where it ends.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut samples = BTreeMap::new();
    let body = page.strip_suffix("# EOF\n").unwrap();
    for line in body.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap();
            assert_eq!(kinds.insert(name, kind), None, "{name} is described twice");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let name = sample.split('{').next().unwrap();
        let is_of = |(family, kind): (&&str, &&str)| {
            let endings: &[&str] = match *kind {
                "counter" => &["_total"],
                "gauge" => &[""],
                "histogram" => &["_bucket", "_count", "_sum"],
                other => panic!("{family} is a {other}"),
            };
            endings.iter().any(|end| name == format!("{family}{end}"))
        };
        assert!(kinds.iter().any(is_of), "nothing describes {line}");
        assert!(name.starts_with("kelson_"), "{name}");
        let value: f64 = value.parse().unwrap();
        let twice = samples.insert(sample.to_owned(), value);
        assert_eq!(twice, None, "{sample} comes twice");
    }
    samples
}

#[tokio::test]
async fn a_scraper_reads_what_a_member_does() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = support::start(folder.path()).await;
    let address = serve(&kernel).await;
    let answer = get(&address, "/metrics").await;
    assert!(
        answer
            .head
            .contains("content-type: application/openmetrics-text")
    );
    let before = samples(&answer.body);
    assert_eq!(before["kelson_raft_is_leader"], 1.0);
    assert!(before["kelson_process_resident_bytes"] > 1e6);

    support::write(&kernel, 1..2).await;
    for path in ["/v1/info", "/nobody", "/knows/this"] {
        get(&address, path).await;
    }
    let after = samples(&get(&address, "/metrics").await.body);
    let grown = |name: &str| after[name] - before.get(name).copied().unwrap_or_default();
    assert_eq!(
        grown(r#"kelson_entries_applied_total{command="setNamespace"}"#),
        1.0
    );
    assert_eq!(grown(r#"kelson_proposals_total{outcome="applied"}"#), 1.0);
    assert_eq!(grown("kelson_proposal_seconds_count"), 1.0);
    assert!(grown("kelson_log_write_seconds_count") >= 1.0);
    assert_eq!(grown("kelson_raft_applied_index"), 1.0);
    let answers = |route: &str, status: u16| {
        grown(&format!(
            r#"kelson_api_requests_total{{route="{route}",status="{status}"}}"#
        ))
    };
    assert_eq!(answers("/v1/info", 200), 1.0);
    // What strangers ask for makes no name of its own.
    assert_eq!(answers("none", 404), 2.0);
    assert_eq!(get(&address, "/healthz").await.body, "ok\n");
}
