//! Three members: any of them answers, one leads, and nothing that was answered is lost when that
//! one goes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kelson_kernel::raft::PlainDialer;
use kelson_kernel::{Kernel, SUPPORTS, join_cluster};
use kelson_kernel_core::Reply;
use kelson_model::agent::AgentState;
use kelson_model::id::AgentId;
use kelson_model::member::{MemberChange, MemberDescription, MemberRequest, MemberState};
use kelson_model::object::Namespace;
use kelson_model::principal::Principal;
use kelson_model::request::{Answer, Request, SetNamespace, Submission};
use kelson_model::time::ClusterTime;
use kelson_proto::v1;
use kelson_proto::v1::agents_client::AgentsClient;
use kelson_proto::v1::kernel_client::KernelClient;
use serde_json::Value;
use support::NoHost;
use support::trio::{DEADLINE, Peer, Start, leader, until};
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

fn start() -> Start {
    Start {
        lease: Duration::from_secs(2),
        host: Arc::new(|| Arc::new(NoHost)),
    }
}

fn weight(client: &str, sequence: u64, weight: u32) -> Submission {
    Submission {
        client: client.to_owned(),
        sequence,
        since: ClusterTime(0),
        principal: Principal::new("somebody", "test"),
        request: Request::SetNamespace(SetNamespace {
            namespace: client.parse().unwrap(),
            weight,
        }),
    }
}

/// The status and the JSON at a path.
async fn get(address: &str, path: &str) -> (u16, Value) {
    let answer = support::get(address, path).await;
    (answer.status, answer.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn any_member_takes_a_change_and_shows_it_at_once_and_all_come_to_the_same_state() {
    let peers = start().trio().await;
    for (place, peer) in (1..).zip(&peers) {
        let client = format!("client-{place}");
        let reply = peer.kernel.submit(weight(&client, 1, place)).await.unwrap();
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
        let known = peer.kernel.state();
        let namespace: Namespace = client.parse().unwrap();
        let shown = known.namespaces.get(&namespace).copied();
        assert_eq!(
            shown.unwrap().weight,
            place,
            "it is shown where it was asked"
        );
        // Asked again at another member, it is answered alike.
        let other = &peers[usize::try_from(place).unwrap() % 3];
        let again = other
            .kernel
            .submit(weight(&client, 1, place))
            .await
            .unwrap();
        assert_eq!(again, reply);
    }
    until("one state", async || {
        let states: Vec<_> = peers.iter().map(|peer| peer.kernel.state()).collect();
        let index = states[0].index;
        states.iter().all(|state| state.index == index)
            && states.iter().all(|state| state.hash() == states[0].hash())
    })
    .await;
    for peer in &peers {
        let (number, list) = get(&peer.address, "/v1/members").await;
        assert_eq!(number, 200, "{list}");
        let items = list["items"].as_array().unwrap();
        let names: Vec<&str> = items
            .iter()
            .map(|one| one["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["a", "b", "c"]);
        let leaders = items.iter().filter(|one| one["state"] == "leader").count();
        assert_eq!(leaders, 1, "{list}");
        assert!(
            items
                .iter()
                .all(|one| one["role"] == "voter" && one["lag"].is_u64()),
            "{list}"
        );
        let (number, status) = get(&peer.address, "/v1/status").await;
        assert_eq!(
            (number, status["members"].as_array().unwrap().len()),
            (200, 3)
        );
        let index = peer.kernel.state().index.0;
        let path = format!("/v1/status?stale=true&min_index={index}");
        assert_eq!(get(&peer.address, &path).await.0, 200);
        assert_eq!(get(&peer.address, "/v1/frameworks").await.0, 200);
    }
}

/// Asks a member over the wire; nothing where it does not answer, or does not know what became of
/// it.
async fn ask(address: &str, submission: &Submission) -> Option<Answer> {
    let mut client = KernelClient::connect(format!("http://{address}"))
        .await
        .ok()?;
    let submission_json = serde_json::to_string(submission).unwrap();
    let requests = tokio_stream::iter([v1::SubmitRequest { submission_json }]);
    let mut answers = client.submit(requests).await.ok()?.into_inner();
    let answer = answers.next().await?.ok()?;
    Some(serde_json::from_str(&answer.answer_json).unwrap())
}

/// Writes numbers one after another, at whichever member answers, and gives those that were
/// answered.
async fn write_load(addresses: Vec<String>, client: String, stop: watch::Sender<bool>) -> Vec<u32> {
    let mut answered = Vec::new();
    let mut place = 0;
    for number in 1.. {
        let asked = weight(&client, u64::from(number), number);
        let answer = loop {
            if *stop.borrow() {
                return answered;
            }
            place += 1;
            if let Some(answer) = ask(&addresses[place % addresses.len()], &asked).await {
                break answer;
            }
        };
        assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
        answered.push(number);
    }
    answered
}

/// How often each client's numbers were carried out, as a watch over all that happened saw it.
async fn watch_events(address: &str, token: (u64, String)) -> tonic::Streaming<v1::WatchBatch> {
    let mut client = KernelClient::connect(format!("http://{address}"))
        .await
        .unwrap();
    let request = v1::WatchRequest {
        kinds: vec!["event".to_owned()],
        resume: token.0,
        cluster: token.1,
    };
    client.watch(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_answered_is_lost_or_done_twice_when_the_leader_goes_and_a_watch_misses_nothing() {
    let start = start();
    let mut peers: Vec<Peer> = start.trio().await.into();
    let stop = watch::Sender::new(false);
    let mut load = Vec::new();
    for client in 0..4 {
        let addresses = peers.iter().map(|peer| peer.address.clone()).collect();
        let load_of_one = write_load(addresses, format!("client-{client}"), stop.clone());
        load.push(tokio::spawn(load_of_one));
    }
    // What was carried out, as one watch saw it, wherever it was attached.
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut token = (0, String::new());
    let mut stopped = Vec::new();
    for round in 0..3 {
        let at = leader(&peers).await;
        let watched = peers[(at + 1 + round) % peers.len()].address.clone();
        let mut watch = watch_events(&watched, token.clone()).await;
        let mut batches = 0;
        while batches < 20 {
            let batch = tokio::time::timeout(DEADLINE, watch.next()).await.unwrap();
            let Some(Ok(batch)) = batch else { break };
            assert!(
                !batch.restart || token.0 == 0,
                "a token of this cluster goes on"
            );
            for row in batch.rows {
                let event: Value = serde_json::from_str(&row.json).unwrap();
                if event["reason"] == "NamespaceSet" {
                    *seen
                        .entry(event["message"].as_str().unwrap().to_owned())
                        .or_default() += 1;
                }
            }
            if batch.current {
                token = (batch.index, batch.cluster);
                batches += 1;
            }
        }
        drop(watch);
        let at = leader(&peers).await;
        let gone = peers.remove(at);
        stopped.push(gone.stop().await);
        leader(&peers).await;
        peers.push(start.again(stopped.pop().unwrap()).await);
    }
    stop.send_replace(true);
    let mut answered = Vec::new();
    for client in load {
        answered.push(client.await.unwrap());
    }
    assert!(
        answered.iter().all(|numbers| numbers.len() > 20),
        "{answered:?}"
    );
    let at = leader(&peers).await;
    let kernel = &peers[at].kernel;
    kernel.member().read_barrier().await.unwrap();
    let state = kernel.state();
    let set = state
        .events
        .iter()
        .filter(|event| event.reason == "NamespaceSet");
    let mut known = BTreeSet::new();
    for event in set {
        assert!(
            known.insert(event.message.clone()),
            "carried out twice: {}",
            event.message
        );
    }
    for numbers in &answered {
        // Each client counts up and waits for each answer.
        let counted: Vec<u32> = (1..=numbers.last().copied().unwrap()).collect();
        assert_eq!(*numbers, counted, "one was not answered");
    }
    for (client, numbers) in answered.iter().enumerate() {
        let namespace: Namespace = format!("client-{client}").parse().unwrap();
        let last = state.namespaces[&namespace].weight;
        let told = numbers.last().copied().unwrap();
        assert!(
            last == told || last == told + 1,
            "client {client}: {told} was answered, {last} is kept"
        );
    }
    for (message, times) in &seen {
        assert_eq!(*times, 1, "the watch saw {message} more than once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_removed_for_good_and_leadership_is_handed_over() {
    let start = start();
    let peers = start.trio().await;
    let at = leader(&peers).await;
    let next = peers[(at + 1) % 3].id();
    let change = |change| MemberRequest {
        principal: Principal::new("somebody", "test"),
        change,
    };
    let transfer = change(MemberChange::Transfer { member: next });
    peers[at].kernel.change_members(transfer).await.unwrap();
    until("another leader", async || {
        peers[(at + 1) % 3].kernel.watch_tenure().borrow().is_some()
    })
    .await;
    let leads = &peers[(at + 1) % 3].kernel;
    let gone = peers[at].id();
    let remove = change(MemberChange::Remove { member: gone });
    leads.change_members(remove).await.unwrap();
    let rows = leads.member_rows();
    assert!(
        rows.iter().all(|row| row.id != gone.to_string()),
        "{rows:?}"
    );
    assert!(rows.iter().any(|row| row.state == MemberState::Leader));
    // Its place is another one's now, and its id nobody's.
    let description = MemberDescription {
        name: "d".to_owned(),
        address: "127.0.0.1:1".to_owned(),
        version: "test".to_owned(),
        supports: SUPPORTS,
    };
    let known = &peers[(at + 2) % 3].address;
    let joined = join_cluster(&PlainDialer, known, "another", &description).await;
    assert_eq!(joined.unwrap().0.0, 4);
}

/// An agent's end of a session.
struct Session {
    up: mpsc::Sender<v1::AgentMessage>,
    down: tonic::Streaming<v1::KernelMessage>,
}

impl Session {
    async fn attach(address: &str, agent: u64) -> (Self, v1::Attached) {
        let (up, outgoing) = mpsc::channel(16);
        let attach = v1::Attach {
            agent,
            incarnation: 1,
            token: "directory".to_owned(),
            description: Some(v1::AgentDescription {
                name: "machine".to_owned(),
                address: "10.0.0.9".to_owned(),
                milli_cpus: 1000,
                first_port: 20_000,
                last_port: 20_010,
                ..v1::AgentDescription::default()
            }),
            ..v1::Attach::default()
        };
        up.send(v1::AgentMessage {
            message: Some(v1::agent_message::Message::Attach(attach)),
        })
        .await
        .unwrap();
        let mut client = AgentsClient::connect(format!("http://{address}"))
            .await
            .unwrap();
        let mut down = client
            .session(ReceiverStream::new(outgoing))
            .await
            .unwrap()
            .into_inner();
        let first = down.next().await.unwrap().unwrap().message;
        let Some(v1::kernel_message::Message::Attached(attached)) = first else {
            panic!("{first:?}")
        };
        (Self { up, down }, attached)
    }

    /// Speaks for as long as its member listens.
    async fn beat(mut self) {
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        loop {
            let beat = v1::AgentMessage {
                message: Some(v1::agent_message::Message::Heartbeat(v1::Heartbeat {})),
            };
            tokio::select! {
                _ = ticks.tick() => if self.up.send(beat).await.is_err() { return },
                down = self.down.next() => if !matches!(down, Some(Ok(_))) { return },
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_a_follower_stays_ready_across_a_change_of_leader_and_is_missed_when_it_goes() {
    let start = start();
    let mut peers: Vec<Peer> = start.trio().await.into();
    let at = leader(&peers).await;
    let (session, attached) = Session::attach(&peers[(at + 1) % 3].address, 0).await;
    let agent = AgentId(attached.agent);
    let beating = tokio::spawn(session.beat());
    let is = |kernel: &Kernel, state: AgentState| {
        kernel
            .state()
            .agents
            .get(&agent)
            .is_some_and(|agent| agent.state == state)
    };
    // Another leader, which the agent is not attached to either.
    let follower = peers[(at + 1) % 3].id();
    let gone = peers.remove(at);
    gone.stop().await;
    leader(&peers).await;
    let holder = peers.iter().position(|peer| peer.id() == follower).unwrap();
    if leader(&peers).await == holder {
        let other = peers[1 - holder].id();
        let transfer = MemberRequest {
            principal: Principal::new("somebody", "test"),
            change: MemberChange::Transfer { member: other },
        };
        peers[holder].kernel.change_members(transfer).await.unwrap();
    }
    let leads = &peers[1 - holder].kernel;
    until("the other one leads", async || {
        leads.watch_tenure().borrow().is_some()
    })
    .await;
    // Longer than two leases, in which only the follower hears of it.
    let mut view = leads.watch();
    let is_lost = view.wait_for(|state| {
        state
            .agents
            .get(&agent)
            .is_some_and(|agent| agent.state != AgentState::Ready)
    });
    let lost = tokio::time::timeout(Duration::from_secs(5), is_lost).await;
    assert!(lost.is_err(), "an agent that speaks is ready");
    drop(lost);
    beating.abort();
    until("the agent is missed", async || {
        is(leads, AgentState::Unreachable)
    })
    .await;
}
