//! Several members in one process, over real sockets, with a way that can be made bad from each to
//! each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tonic::transport::Channel;

use super::proxy::{Proxy, Way};
use super::*;
use crate::raft::{
    Beginning, ClusterId, DialError, Dialer, Lane, ProposeError, RaftError, Role, endpoint,
};

pub(super) const CLUSTER: ClusterId = ClusterId::from_bytes([9; 16]);

/// The ways between the members, by who calls and who is called.
type Ways = Arc<Mutex<BTreeMap<(u64, u64), Proxy>>>;

/// Dials the proxy that stands before a member.
struct ThroughProxy {
    own: u64,
    ways: Ways,
}

impl std::fmt::Debug for ThroughProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "member {}'s ways", self.own)
    }
}

impl Dialer for ThroughProxy {
    fn dial(&self, member: u64, address: &str, _lane: Lane) -> Result<Channel, DialError> {
        let proxied = self
            .ways
            .lock()
            .unwrap()
            .get(&(self.own, member))
            .map(|proxy| proxy.address.to_string());
        Ok(endpoint("http", proxied.as_deref().unwrap_or(address))?.connect_lazy())
    }
}

/// One member that runs, with what serves it.
pub(super) struct Node {
    pub(super) running: Running,
    pub(super) server: Option<Runtime>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown_background();
        }
    }
}

/// A cluster of several members.
pub(super) struct Cluster {
    directory: tempfile::TempDir,
    addresses: BTreeMap<u64, SocketAddr>,
    ways: Ways,
    pub(super) nodes: BTreeMap<u64, Node>,
    settings: fn(&mut MemberConfig),
    /// Directories that are elsewhere.
    moved: BTreeMap<u64, std::path::PathBuf>,
}

impl Cluster {
    /// Starts one member that founds, and the others as voters.
    pub(super) async fn start(members: u64) -> Self {
        Self::start_with(members, |_| {}).await
    }

    pub(super) async fn start_with(members: u64, settings: fn(&mut MemberConfig)) -> Self {
        let mut cluster = Self {
            directory: tempfile::tempdir().unwrap(),
            addresses: BTreeMap::new(),
            ways: Ways::default(),
            nodes: BTreeMap::new(),
            settings,
            moved: BTreeMap::new(),
        };
        cluster.run(1).await;
        for id in 2..=members {
            cluster.run(id).await;
            cluster.add_voter(1, id).await;
        }
        cluster
    }

    pub(super) fn path(&self, id: u64) -> std::path::PathBuf {
        let own = || self.directory.path().join(id.to_string());
        self.moved.get(&id).cloned().unwrap_or_else(own)
    }

    /// Lets a member that does not run yet have its directory elsewhere.
    pub(super) fn move_to(&mut self, id: u64, directory: std::path::PathBuf) {
        self.moved.insert(id, directory);
    }

    pub(super) fn address(&self, id: u64) -> String {
        self.addresses.get(&id).unwrap().to_string()
    }

    /// Makes the ways to and from a member, if there are none yet.
    async fn make_ways(&mut self, id: u64, address: SocketAddr) {
        let others: Vec<(u64, SocketAddr)> = self
            .addresses
            .iter()
            .map(|(id, address)| (*id, *address))
            .collect();
        self.addresses.insert(id, address);
        for (other, at) in others {
            let (to, from) = (Proxy::start(at).await, Proxy::start(address).await);
            let mut ways = self.ways.lock().unwrap();
            ways.insert((id, other), to);
            ways.insert((other, id), from);
        }
    }

    pub(super) fn config(&self, id: u64) -> MemberConfig {
        let mut config = MemberConfig {
            member: id,
            cluster: Some(CLUSTER),
            beginning: if id == 1 {
                Beginning::Found
            } else {
                Beginning::Join
            },
            address: self.address(id),
            dialer: Arc::new(ThroughProxy {
                own: id,
                ways: Arc::clone(&self.ways),
            }),
            ..super::config(&self.path(id))
        };
        (self.settings)(&mut config);
        config
    }

    /// Starts a member, again where it was before; waits until its directory is free.
    pub(super) async fn run(&mut self, id: u64) {
        let known = self.addresses.get(&id).copied();
        let at = known.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = within(async {
            loop {
                match TcpListener::bind(at).await {
                    Ok(listener) => return listener,
                    // The one before has not quite gone.
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await;
        let address = listener.local_addr().unwrap();
        if known.is_none() {
            self.make_ways(id, address).await;
        }
        let running = within(async {
            loop {
                match start_with(self.config(id)).await {
                    Ok(running) => return running,
                    Err(RaftError::InUse { .. }) => tokio::task::yield_now().await,
                    Err(error) => panic!("member {id}: {error}"),
                }
            }
        })
        .await;
        self.nodes.insert(id, serve(running, listener));
    }

    /// Ends a member without a word to anybody.
    pub(super) fn kill(&mut self, id: u64) {
        let node = self.nodes.remove(&id).unwrap();
        // Clients may still hold it.
        node.running.member.inner.runtime.end();
    }

    pub(super) fn member(&self, id: u64) -> &Member {
        &self.nodes.get(&id).unwrap().running.member
    }

    pub(super) fn lines(&self, id: u64) -> Vec<String> {
        self.nodes.get(&id).unwrap().running.lines()
    }

    /// Adds a member that runs as a voter, by the leader.
    pub(super) async fn add_voter(&self, leader: u64, id: u64) {
        let leader = self.member(leader);
        within(leader.add_learner(id, self.address(id)))
            .await
            .unwrap();
        within(leader.promote(id)).await.unwrap();
    }

    /// Changes the way from one member to another.
    pub(super) fn set(&self, from: u64, to: u64, way: Way) {
        self.ways.lock().unwrap().get(&(from, to)).unwrap().set(way);
    }

    /// Says how many bytes went from one member to another.
    pub(super) fn bytes(&self, from: u64, to: u64) -> u64 {
        let ways = self.ways.lock().unwrap();
        let bytes = &ways.get(&(from, to)).unwrap().bytes;
        bytes.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Changes all ways between a member and the others.
    pub(super) fn set_all(&self, id: u64, way: Way) {
        for ((from, to), proxy) in self.ways.lock().unwrap().iter() {
            if *from == id || *to == id {
                proxy.set(way);
            }
        }
    }

    /// Waits until one of these members leads, and knows it.
    pub(super) async fn leader_of(&self, ids: &[u64]) -> u64 {
        within(async {
            loop {
                for id in ids {
                    let member = self.member(*id);
                    if member.is_leader() && member.lease_barrier().await.is_ok() {
                        return *id;
                    }
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
    }

    pub(super) async fn leader(&self) -> u64 {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        self.leader_of(&ids).await
    }

    /// Waits until a member shows a line.
    pub(super) async fn shows(&self, id: u64, line: &str) {
        let mut shown = self.nodes.get(&id).unwrap().running.shown.clone();
        within(shown.wait_for(|(_, lines)| lines.iter().any(|shown| shown == line)))
            .await
            .unwrap();
    }

    /// Writes a line to whoever leads among these members.
    pub(super) async fn write(&self, ids: &[u64], line: &str) {
        within(async {
            loop {
                for id in ids {
                    if self.member(*id).propose(line.to_owned()).await.is_ok() {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    /// Waits until all members that run show the same, and gives it.
    pub(super) async fn agree(&self) -> Vec<String> {
        let leader = self.leader().await;
        let last = format!("agreed {}", self.lines(leader).len());
        self.write(&self.nodes.keys().copied().collect::<Vec<_>>(), &last)
            .await;
        for id in self.nodes.keys() {
            self.shows(*id, &last).await;
        }
        let lines = self.lines(leader);
        for id in self.nodes.keys() {
            assert_eq!(self.lines(*id), lines, "member {id}");
        }
        lines
    }

    pub(super) fn voters(&self, id: u64) -> BTreeSet<u64> {
        let members = self.member(id).members();
        let voters = members.iter().filter(|member| member.role == Role::Voter);
        voters.map(|member| member.id).collect()
    }

    pub(super) async fn shutdown(mut self) {
        for (_, node) in std::mem::take(&mut self.nodes) {
            within(node.running.member.shutdown()).await;
        }
    }
}

/// Takes connections for a member on a runtime of its own, so that the listener ends with it.
fn serve(running: Running, listener: TcpListener) -> Node {
    let server = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listener = listener.into_std().unwrap();
    let member = running.member.clone();
    server.spawn(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let stream = stream.into_std().unwrap();
            member.serve_connection(move || TcpStream::from_std(stream));
        }
    });
    Node {
        running,
        server: Some(server),
    }
}

/// Clients that write numbered lines until they are told to stop, and note what was answered.
pub(super) struct Load {
    stop: watch::Sender<bool>,
    clients: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    /// Starts clients that know these members; each sends one line at a time to whoever leads, and
    /// never one again whose fate is unknown.
    pub(super) fn start(name: &str, clients: usize, members: Vec<Member>) -> Self {
        let (stop, stopping) = watch::channel(false);
        let client = |number: usize| {
            let (members, stopping) = (members.clone(), stopping.clone());
            let name = name.to_owned();
            tokio::spawn(async move {
                let mut answered = Vec::new();
                let mut turn = number;
                for line in (0..).map(|line| format!("{name}-{number}-{line}")) {
                    loop {
                        if *stopping.borrow() {
                            return answered;
                        }
                        let member = members.get(turn % members.len()).unwrap();
                        match member.propose(line.clone()).await {
                            Ok(_) => {
                                answered.push(line);
                                break;
                            }
                            Err(error) => {
                                turn += 1;
                                tokio::time::sleep(Duration::from_millis(5)).await;
                                let is_open = matches!(
                                    error,
                                    ProposeError::Unknown { .. } | ProposeError::Stopped { .. }
                                );
                                if is_open {
                                    break;
                                }
                            }
                        }
                    }
                }
                answered
            })
        };
        Self {
            clients: (0..clients).map(client).collect(),
            stop,
        }
    }

    /// Ends the clients; gives what was answered.
    pub(super) async fn stop(self) -> Vec<String> {
        self.stop.send_replace(true);
        let mut answered = Vec::new();
        for client in self.clients {
            answered.extend(within(client).await.unwrap());
        }
        answered
    }
}

/// Asserts that everything answered is there, and nothing twice.
pub(super) fn assert_kept(answered: &[String], lines: &[String]) {
    let kept: BTreeSet<_> = lines.iter().collect();
    assert_eq!(kept.len(), lines.len(), "nothing was applied twice");
    let lost: Vec<_> = answered
        .iter()
        .filter(|line| !kept.contains(line))
        .collect();
    assert!(
        lost.is_empty(),
        "{} of {} answered lines are lost: {lost:?}",
        lost.len(),
        answered.len()
    );
}
