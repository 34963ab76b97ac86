//! A kernel for tests: no frameworks, no turns.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test binary uses a part of it"
)]

pub(crate) mod trio;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kelson_kernel::api::run_api;
use kelson_kernel::{Kernel, KernelConfig, KernelError, Place};
use kelson_kernel_core::Reply;
use kelson_kernel_core::port::{
    ForkTurns, LoadFault, Problem, SchedulerHost, SeatId, TurnFault, TurnOutcome, TurnRequest,
};
use kelson_model::framework::{Ceiling, Description, Limits};
use kelson_model::id::Digest;
use kelson_model::principal::Principal;
use kelson_model::request::{Request, SetNamespace, Submission};
use kelson_model::time::ClusterTime;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A sandbox without any component: no turn is ever asked of it here.
pub(crate) struct NoHost;

impl SchedulerHost for NoHost {
    fn load(&self, _: &Digest, _: &[u8], _: &Limits) -> Result<Description, LoadFault> {
        Err(LoadFault::NotAComponent("there is none".to_owned()))
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
        Box::new(NoFork)
    }
}

/// A fork on which no turn says anything.
pub(crate) struct NoFork;

impl ForkTurns for NoFork {
    fn turn(&self, _: &TurnRequest) -> Result<TurnOutcome, TurnFault> {
        Ok(TurnOutcome::default())
    }
}

/// Starts a kernel without any framework.
pub(crate) async fn start(data_dir: &Path) -> Kernel {
    start_with_lease(data_dir, Duration::from_secs(10)).await
}

/// Starts one whose agents are unreachable after a silence of `lease`.
pub(crate) async fn start_with_lease(data_dir: &Path, lease: Duration) -> Kernel {
    started(data_dir, lease).await.unwrap()
}

/// Starts one that may refuse to.
pub(crate) async fn try_start(data_dir: &Path) -> Result<Kernel, KernelError> {
    started(data_dir, Duration::from_secs(10)).await
}

async fn started(data_dir: &Path, lease: Duration) -> Result<Kernel, KernelError> {
    let config = KernelConfig {
        data_dir: data_dir.to_owned(),
        lease,
        built_in: Vec::new(),
        ceiling: Ceiling::default(),
        repository: None,
        place: Place::default(),
    };
    Kernel::start(config, Arc::new(NoHost)).await
}

/// A request that changes something small.
pub(crate) fn weight(sequence: u64) -> Submission {
    let namespace = format!("team-{}", sequence % 50).parse().unwrap();
    let weight = u32::try_from(sequence).unwrap() + 1;
    Submission {
        client: "test".to_owned(),
        sequence,
        since: ClusterTime(0),
        principal: Principal::new("somebody", "test"),
        request: Request::SetNamespace(SetNamespace { namespace, weight }),
    }
}

/// Carries out these requests, one after the other.
pub(crate) async fn write(kernel: &Kernel, sequences: std::ops::Range<u64>) {
    for sequence in sequences {
        let reply = kernel.submit(weight(sequence)).await.unwrap();
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    }
}

/// Serves the API in plain; gives its address. Ends with the test's runtime.
pub(crate) async fn serve(kernel: &Kernel) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(run_api(kernel.clone(), listener, std::future::pending()));
    address
}

/// An answer over HTTP.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Asks for a path.
pub(crate) async fn get(address: &str, path: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // An answer to HTTP/1.0 never comes in chunks.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}
