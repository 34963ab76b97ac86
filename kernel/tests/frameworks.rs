//! Frameworks whose components say too much: each is at fault by itself, and the kernel goes on.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kelson_kernel::{Kernel, KernelConfig, Place, leader};
use kelson_kernel_core::Reply;
use kelson_kernel_core::port::{
    COMPILATION, ForkTurns, LoadFault, Problem, SchedulerHost, SeatId, TurnFault, TurnOutcome,
    TurnRequest,
};
use kelson_kernel_core::record::Framework;
use kelson_model::framework::{Ceiling, Description, FaultCause, KindDescription, Limits};
use kelson_model::id::Digest;
use kelson_model::object::{DesiredObject, Lifecycle, ObjectKey, Origin};
use kelson_model::principal::Principal;
use kelson_model::request::{Accept, Request, Stage, Submission};
use kelson_model::text::MESSAGE_BYTES;
use kelson_model::time::ClusterTime;
use serde_json::{Value, json};

/// A sandbox whose components are text: `describe NAME BYTES` brings a kind with a schema of that
/// size, `fail NAME BYTES` cannot be loaded, and `hang NAME BYTES` is compiled until the test lets
/// go of it.
#[derive(Default)]
struct Talker {
    hanging: Mutex<Option<Receiver<()>>>,
}

impl SchedulerHost for Talker {
    fn load(&self, _: &Digest, content: &[u8], _: &Limits) -> Result<Description, LoadFault> {
        let words = String::from_utf8(content.to_vec()).unwrap();
        let mut words = words.split(' ');
        let (verb, name) = (words.next().unwrap(), words.next().unwrap());
        let text = "x".repeat(words.next().unwrap().parse().unwrap());
        if verb == "hang" {
            let hanging = self.hanging.lock().unwrap().take();
            let _ = hanging.unwrap().recv();
        }
        if verb == "fail" {
            return Err(LoadFault::BadDescription(text));
        }
        Ok(Description {
            name: name.to_lowercase(),
            version: "1".to_owned(),
            kinds: vec![KindDescription {
                kind: name.to_owned(),
                schema: json!({"description": text}),
                templates: Vec::new(),
                count: None,
            }],
            config_schema: None,
        })
    }
    fn validate(&self, _: &Digest, _: &str, _: &str) -> Result<Vec<Problem>, TurnFault> {
        Ok(Vec::new())
    }
    fn turn(&self, _: &TurnRequest) -> Result<TurnOutcome, TurnFault> {
        Ok(TurnOutcome::default())
    }
    fn query(&self, _: &TurnRequest, _: &str, _: &str) -> Result<String, TurnFault> {
        Ok(String::new())
    }
    fn drop_instance(&self, _: &SeatId) {}
    fn fork(&self) -> Box<dyn ForkTurns + '_> {
        Box::new(support::NoFork)
    }
}

/// A Framework object whose component says this.
fn framework(kernel: &Kernel, name: &str, component: &str, config: Value) -> DesiredObject {
    let digest = kernel.blobs().put(component.as_bytes()).unwrap();
    DesiredObject {
        key: ObjectKey::new("Framework", "data".parse().unwrap(), name),
        labels: Default::default(),
        lifecycle: Lifecycle::default(),
        spec: json!({"component": {"path": "x.wasm"}, "digest": digest, "config": config}).into(),
        origin: Origin {
            file: format!("{name}.yaml"),
            line: 1,
            column: None,
        },
        written: None,
    }
}

/// Accepts each as a part of its own.
async fn accept(kernel: &Kernel, objects: Vec<DesiredObject>) {
    let revision: kelson_model::id::Revision = "1".repeat(40).parse().unwrap();
    let count = u32::try_from(objects.len()).unwrap();
    let mut requests: Vec<Request> = (0..)
        .zip(objects)
        .map(|(part, object)| {
            Request::Stage(Stage {
                source: "dev".to_owned(),
                revision: revision.clone(),
                part,
                objects: vec![object],
                prune: Vec::new(),
            })
        })
        .collect();
    requests.push(Request::Accept(Accept {
        source: "dev".to_owned(),
        revision: revision.clone(),
        previous: None,
        parts: count,
        prune: Vec::new(),
        going: 0,
        released: Vec::new(),
        hands: None,
        objects: count,
    }));
    for (sequence, request) in (1..).zip(requests) {
        let reply = kernel
            .submit(Submission {
                client: "test".to_owned(),
                sequence,
                since: ClusterTime(0),
                principal: Principal::new("somebody", "test"),
                request,
            })
            .await
            .unwrap();
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    }
}

async fn start(data_dir: &Path, host: Talker) -> Kernel {
    let config = KernelConfig {
        data_dir: data_dir.to_owned(),
        lease: Duration::from_secs(10),
        built_in: Vec::new(),
        ceiling: Ceiling::default(),
        repository: None,
        place: Place::default(),
    };
    Kernel::start(config, Arc::new(host)).await.unwrap()
}

async fn judged(kernel: &Kernel, name: &str) -> Arc<Framework> {
    let key = ObjectKey::new("Framework", "data".parse().unwrap(), name);
    let mut states = kernel.watch();
    let judged = states.wait_for(|state| state.frameworks.contains_key(&key));
    let state = tokio::time::timeout(Duration::from_secs(60), judged);
    state.await.unwrap().unwrap().frameworks[&key].clone()
}

#[tokio::test]
async fn a_framework_that_says_too_much_is_at_fault_and_the_next_is_put_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = start(folder.path(), Talker::default()).await;
    let running = tokio::spawn(leader::run_leader(kernel.clone(), leader::Duty::common()));
    let config = json!({"text": "x".repeat(150 << 10)});
    let objects = vec![
        framework(&kernel, "a-describes", "describe Flood 510000", json!({})),
        framework(&kernel, "b-both", "describe Both 120000", config),
        framework(&kernel, "c-fails", "fail Fails 510000", json!({})),
        framework(&kernel, "d-good", "describe Good 100000", json!({})),
    ];
    accept(&kernel, objects).await;
    let good = judged(&kernel, "d-good").await;
    assert!(good.component.is_some() && good.fault.is_none());
    for name in ["a-describes", "b-both"] {
        let large = judged(&kernel, name).await;
        assert_eq!(large.cause, FaultCause::TooLarge);
        let reason = &large.fault.as_ref().unwrap().1;
        assert!(reason.contains("at most 262144 are kept"), "{reason}");
        assert_eq!(large.component, None);
    }
    let fails = judged(&kernel, "c-fails").await;
    assert_eq!(fails.cause, FaultCause::BadComponent);
    assert_eq!(fails.fault.as_ref().unwrap().1.len(), MESSAGE_BYTES);
    assert!(
        !running.is_finished(),
        "the loading of frameworks has ended"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loop_is_not_late_while_a_component_may_still_be_compiled() {
    let folder = tempfile::tempdir().unwrap();
    let (held, hanging) = channel();
    let host = Talker {
        hanging: Mutex::new(Some(hanging)),
    };
    let kernel = start(folder.path(), host).await;
    tokio::spawn(leader::run_leader(kernel.clone(), leader::Duty::common()));
    let slow = framework(&kernel, "slow", "hang Slow 1", json!({}));
    accept(&kernel, vec![slow]).await;
    let loading = async {
        loop {
            let mut loops = kernel.hearts().report().into_iter();
            let found = loops.find(|one| one.name == "frameworks");
            if let Some(found) = found.filter(|one| one.doing == "compiles Framework data/slow") {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    let loading = tokio::time::timeout(Duration::from_secs(60), loading).await;
    assert!(loading.unwrap().limit_ms.unwrap() > COMPILATION.0);
    held.send(()).unwrap();
    assert!(judged(&kernel, "slow").await.fault.is_none());
    // Whatever it does now is none that takes so long.
    let loops = kernel.hearts().report().into_iter();
    let mut loops = loops.filter(|one| one.name == "frameworks");
    let now = loops.next().unwrap();
    assert!(now.limit_ms.is_none_or(|limit| limit <= 60_000), "{now:?}");
}
