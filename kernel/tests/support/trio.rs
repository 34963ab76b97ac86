//! Three members in one process, over real sockets.

use std::sync::Arc;
use std::time::Duration;

use kelson_kernel::leader::{Duty, run_leader};
use kelson_kernel::raft::{Beginning, ClusterId, PlainDialer};
use kelson_kernel::{
    Kernel, KernelConfig, Place, SUPPORTS, api, join_cluster, run_attendance, run_components,
    run_record,
};
use kelson_kernel_core::port::SchedulerHost;
use kelson_model::framework::Ceiling;
use kelson_model::id::MemberId;
use kelson_model::member::{MemberDescription, MemberRole};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until this holds.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let reached = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, reached).await;
    assert!(in_time.is_ok(), "never: {what}");
}

/// One member with all that it does.
pub(crate) struct Peer {
    pub(crate) kernel: Kernel,
    pub(crate) address: String,
    name: String,
    cluster: ClusterId,
    folder: Option<TempDir>,
    runtime: Option<Runtime>,
}

/// How members are started.
#[derive(Clone)]
pub(crate) struct Start {
    pub(crate) lease: Duration,
    pub(crate) host: Arc<dyn Fn() -> Arc<dyn SchedulerHost>>,
}

impl Start {
    pub(crate) async fn found(&self, name: &str) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let place = Place {
            name: name.to_owned(),
            address,
            ..Place::default()
        };
        self.raise(place, listener, tempfile::tempdir().unwrap())
            .await
    }

    pub(crate) async fn join(&self, known: &Peer, name: &str) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let description = MemberDescription {
            name: name.to_owned(),
            address: address.clone(),
            version: "test".to_owned(),
            supports: SUPPORTS,
        };
        let token = format!("directory of {name}");
        let joined = join_cluster(&PlainDialer, &known.address, &token, &description).await;
        let (member, cluster) = joined.unwrap();
        let place = Place {
            member,
            name: name.to_owned(),
            address,
            cluster: Some(cluster),
            beginning: Beginning::Join,
            ..Place::default()
        };
        self.raise(place, listener, tempfile::tempdir().unwrap())
            .await
    }

    /// Starts a member that was stopped on its data directory again, at the same address.
    pub(crate) async fn again(&self, stopped: Stopped) -> Peer {
        let listener = TcpListener::bind(&stopped.address).await.unwrap();
        let place = Place {
            member: stopped.member,
            name: stopped.name,
            address: stopped.address,
            cluster: Some(stopped.cluster),
            ..Place::default()
        };
        self.raise(place, listener, stopped.folder).await
    }

    async fn raise(&self, place: Place, listener: TcpListener, folder: TempDir) -> Peer {
        let (name, address) = (place.name.clone(), place.address.clone());
        let config = KernelConfig {
            data_dir: folder.path().to_owned(),
            lease: self.lease,
            built_in: Vec::new(),
            ceiling: Ceiling::default(),
            repository: None,
            place,
        };
        // Of its own, so that nothing of a member that was stopped answers any more.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let host = (self.host)();
        let kernel = runtime.spawn(async move {
            let kernel = Kernel::start(config, host).await.unwrap();
            let own = kernel.clone();
            tokio::spawn(api::run_api(own, listener, std::future::pending()));
            tokio::spawn(run_leader(kernel.clone(), Duty::common()));
            tokio::spawn(api::run_dispatch(kernel.clone()));
            tokio::spawn(run_attendance(kernel.clone()));
            tokio::spawn(run_components(kernel.clone()));
            tokio::spawn(run_record(kernel.clone()));
            kernel
        });
        let kernel = kernel.await.unwrap();
        Peer {
            cluster: kernel.member().cluster(),
            kernel,
            address,
            name,
            folder: Some(folder),
            runtime: Some(runtime),
        }
    }

    /// Three members that all vote.
    pub(crate) async fn trio(&self) -> [Peer; 3] {
        let first = self.found("a").await;
        let second = self.join(&first, "b").await;
        let third = self.join(&first, "c").await;
        until("three voters", async || {
            let rows = first.kernel.member_rows();
            rows.len() == 3 && rows.iter().all(|row| row.role == MemberRole::Voter)
        })
        .await;
        [first, second, third]
    }
}

/// A member that does not run.
pub(crate) struct Stopped {
    member: MemberId,
    name: String,
    address: String,
    cluster: ClusterId,
    folder: TempDir,
}

impl Peer {
    pub(crate) fn id(&self) -> MemberId {
        MemberId(self.kernel.member().id())
    }

    /// Ends it at once, telling nobody.
    pub(crate) async fn stop(mut self) -> Stopped {
        self.kernel.member().shutdown().await;
        Stopped {
            member: self.id(),
            name: self.name.clone(),
            address: self.address.clone(),
            cluster: self.cluster,
            folder: self.folder.take().unwrap(),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The place of the member that leads.
pub(crate) async fn leader(peers: &[Peer]) -> usize {
    let place = || {
        peers
            .iter()
            .position(|peer| peer.kernel.watch_tenure().borrow().is_some())
    };
    until("a leader", async || place().is_some()).await;
    place().unwrap()
}
