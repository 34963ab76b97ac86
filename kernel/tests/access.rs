//! Who gets through to what over TLS: people, agents, and whoever has shown nothing.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use kelson_kernel::api::serve_api;
use kelson_kernel::raft::{Dialer as _, Lane};
use kelson_kernel::{Kernel, SecureDialer, Trust};
use kelson_model::access::Role;
use kelson_model::code::Code as Told;
use kelson_model::id::TokenId;
use kelson_model::time::WallTime;
use kelson_proto::v1::agent_message::Message as Up;
use kelson_proto::v1::agents_client::AgentsClient;
use kelson_proto::v1::kernel_client::KernelClient;
use kelson_proto::v1::kernel_message::Message as Down;
use kelson_proto::v1::{
    AgentDescription, AgentMessage, Attach, BlobDigests, Goodbye, KernelMessage, SessionEnd,
};
use kelson_trust::{
    Address, Addresses, Authority, ClientTls, Dialer, Identity, KeyedCertificate, Limits, Listener,
    MACHINE_LIFE, PrivateKey, Protocol, ServerTls,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic::transport::Endpoint;
use tonic::{Code, Status};

/// A kernel that is served over TLS.
struct Stage {
    authority: Authority,
    address: Address,
    _kernel: Kernel,
}

impl Stage {
    async fn start(folder: &std::path::Path) -> Self {
        let kernel = support::start(folder).await;
        let authority = Authority::found(&kernel.state().cluster, now()).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::from(tcp.local_addr().unwrap());
        let own = issue(&authority, Role::Member, "mbr_1");
        let tls = ServerTls::new(&own, &authority.bundle().unwrap()).unwrap();
        let listener = Listener::secure(tcp, tls, Limits::default());
        // Ends with the test's runtime.
        let trust = Trust::new(
            authority.bundle().unwrap(),
            Some(Authority::from_pem(&authority.to_pem()).unwrap()),
            address.to_string(),
        );
        tokio::spawn(serve_api(
            kernel.clone(),
            listener,
            Some(trust),
            std::future::pending(),
        ));
        Self {
            authority,
            address,
            _kernel: kernel,
        }
    }

    fn dialer(&self, own: Option<(Role, &str)>, protocol: Protocol) -> Dialer {
        let own = own.map(|(role, name)| issue(&self.authority, role, name));
        let bundle = self.authority.bundle().unwrap();
        let tls = ClientTls::new(&bundle, own.as_ref(), protocol).unwrap();
        Dialer::secure(Addresses::from(self.address.clone()), tls)
    }

    /// Sends a request as it stands; gives the number of the answer, and its body.
    async fn send(&self, own: Option<(Role, &str)>, request: String) -> (u16, Value) {
        let dialer = self.dialer(own, Protocol::Http1);
        let (mut stream, _) = dialer.connect().await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let number = head.split(' ').nth(1).unwrap().parse().unwrap();
        (number, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// Sends a body.
    async fn post(&self, own: Option<(Role, &str)>, path: &str, body: Value) -> (u16, Value) {
        let body = body.to_string();
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: one.example:7460\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        self.send(own, format!("{head}{body}")).await
    }

    /// Asks as whoever has this token.
    async fn get_by_token(&self, token: &str, path: &str) -> (u16, Value) {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: one.example:7460\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
        self.send(None, request).await
    }

    /// A token, as an administrator makes one; its id and its line.
    async fn token(&self, asked: Value) -> (String, String) {
        let admin = Some((Role::Admin, "admin"));
        let (number, made) = self.post(admin, "/v1/tokens", asked).await;
        assert_eq!(number, 200, "{made}");
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        (text("id"), text("token"))
    }

    /// A machine of this name joins.
    async fn enrol(&self, token: &str, key: &PrivateKey, name: &str) -> (u16, Value) {
        let asked = json!({"token": token, "request": key.request().unwrap(),
            "directory": name, "name": name});
        self.post(None, "/v1/enrol", asked).await
    }

    /// The number of an answer, and its body.
    async fn get(&self, own: Option<(Role, &str)>, path: &str) -> (u16, Value) {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: one.example:7460\r\nConnection: close\r\n\r\n");
        self.send(own, request).await
    }

    /// The first thing that an agent with this certificate is told when it says that it is `agent`.
    async fn attach(&self, own: Option<(Role, &str)>, agent: u64) -> Result<Down, Status> {
        let dialer = self.dialer(own, Protocol::Http2);
        let endpoint = Endpoint::from_static("http://members.kelson.internal");
        let mut client = AgentsClient::new(endpoint.connect_with_connector_lazy(dialer));
        let attach = AgentMessage {
            message: Some(Up::Attach(Attach {
                agent,
                incarnation: 1,
                description: Some(AgentDescription {
                    name: "one".to_owned(),
                    address: "127.0.0.1".to_owned(),
                    first_port: 20_000,
                    last_port: 20_009,
                    ..AgentDescription::default()
                }),
                ..Attach::default()
            })),
        };
        let said = client.session(tokio_stream::iter([attach])).await?;
        let first: Option<KernelMessage> = said.into_inner().message().await?;
        Ok(first.unwrap().message.unwrap())
    }
}

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    WallTime(u64::try_from(since.as_millis()).unwrap())
}

fn issue(authority: &Authority, role: Role, name: &str) -> KeyedCertificate {
    let identity = Identity {
        cluster: authority.cluster().to_owned(),
        role,
        name: name.to_owned(),
    };
    authority
        .issue(&identity, &[], now(), MACHINE_LIFE)
        .unwrap()
}

#[tokio::test]
async fn each_route_answers_those_whose_role_it_wants() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::start(folder.path()).await;
    let admin = Some((Role::Admin, "admin"));
    let agent = Some((Role::Agent, "agt_7"));
    let denied = Value::from(Told::Denied.id());
    let unknown = Value::from(Told::NotKnown.id());
    let (number, status) = stage.get(admin, "/v1/status").await;
    assert_eq!((number, &status["kind"]), (200, &Value::from("Status")));
    let (number, refused) = stage.get(agent, "/v1/status").await;
    assert_eq!((number, &refused["error"]["code"]), (403, &denied));
    let (number, refused) = stage.get(None, "/v1/status").await;
    assert_eq!((number, &refused["error"]["code"]), (401, &unknown));
    for anybody in [admin, agent, None] {
        assert_eq!(stage.get(anybody, "/healthz").await.0, 200);
    }
    // What nobody may ask for is refused, and not searched for.
    assert_eq!(stage.get(None, "/v1/nothing").await.0, 401);
    assert_eq!(stage.get(admin, "/v1/nothing").await.0, 403);
}

#[tokio::test]
async fn an_agent_speaks_for_itself_and_for_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::start(folder.path()).await;
    let own = stage.attach(Some((Role::Agent, "agt_7")), 7).await.unwrap();
    // It gets through, to hear that nobody has admitted it yet.
    let unknown = SessionEnd::UnknownAgent;
    assert!(
        matches!(&own, Down::Goodbye(Goodbye { end, .. }) if *end == unknown as i32),
        "{own:?}"
    );
    for (own, agent, code) in [
        (Some((Role::Agent, "agt_7")), 8, Code::PermissionDenied),
        (Some((Role::Agent, "agt_7")), 0, Code::PermissionDenied),
        (Some((Role::Admin, "admin")), 7, Code::PermissionDenied),
        (None, 7, Code::Unauthenticated),
    ] {
        let refused = stage.attach(own, agent).await.unwrap_err();
        assert_eq!(refused.code(), code, "{own:?} {agent}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_one_machine_lets_one_in_however_many_ask_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::start(folder.path()).await;
    let asked = json!({"role": "agent", "ttl": "60s", "uses": 1});
    let (_, token) = stage.token(asked).await;
    let keys: Vec<PrivateKey> = (0..8).map(|_| PrivateKey::generate().unwrap()).collect();
    let joining = keys.iter().map(|key| stage.enrol(&token, key, "one"));
    let answers = futures_util::future::join_all(joining).await;
    let joined: Vec<usize> = (0..8).filter(|at| answers[*at].0 == 200).collect();
    assert_eq!(joined.len(), 1, "{answers:?}");
    let refused = answers.iter().filter(|(number, _)| *number == 409);
    for (_, refusal) in refused.clone() {
        assert_eq!(refusal["error"]["code"], Told::TokenRefused.id());
    }
    assert_eq!(refused.count(), 7);
    // Who asks again with the same key is told the same, and is who it was told.
    let at = joined[0];
    let (number, again) = stage.enrol(&token, &keys[at], "one").await;
    assert_eq!((number, &again["id"]), (200, &answers[at].1["id"]));
    let chain = again["certificate"].as_str().unwrap();
    let key = PrivateKey::from_pem(&keys[at].to_pem()).unwrap();
    let own = KeyedCertificate::new(chain, key).unwrap();
    assert_eq!(own.certified().identity.role, Role::Agent);
    assert_eq!(own.certified().identity.name, again["id"].as_str().unwrap());
}

#[tokio::test]
async fn a_machine_is_certified_anew_as_what_it_is_and_a_person_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::start(folder.path()).await;
    let key = PrivateKey::generate().unwrap();
    let asked = json!({"request": key.request().unwrap()});
    let agent = Some((Role::Agent, "agt_7"));
    let (number, answer) = stage.post(agent, "/v1/renew", asked.clone()).await;
    assert_eq!((number, &answer["id"]), (200, &Value::from("agt_7")));
    let renewed = KeyedCertificate::new(answer["certificate"].as_str().unwrap(), key).unwrap();
    assert_eq!(renewed.certified().identity.name, "agt_7");
    for (other, refused) in [(Some((Role::Admin, "admin")), 403), (None, 401)] {
        let (number, _) = stage.post(other, "/v1/renew", asked.clone()).await;
        assert_eq!(number, refused, "{other:?}");
    }
}

#[tokio::test]
async fn a_person_shows_a_token_and_is_let_in_where_and_while_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::start(folder.path()).await;
    let asked = json!({"role": "reader", "namespace": "shop", "name": "alice",
        "ttl": "60s", "uses": 0});
    let (id, token) = stage.token(asked).await;
    let in_shop = "/v1/status?namespace=shop/checkout";
    assert_eq!(stage.get_by_token(&token, in_shop).await.0, 200);
    for elsewhere in ["/v1/status", "/v1/status?namespace=data", "/v1/tokens"] {
        let (number, _) = stage.get_by_token(&token, elsewhere).await;
        assert_eq!(number, 403, "{elsewhere}");
    }
    // Another secret of the same token.
    let middle = token.len() - 90;
    let mut guess = token.clone().into_bytes();
    guess[middle] = if guess[middle] == b'0' { b'1' } else { b'0' };
    let guess = String::from_utf8(guess).unwrap();
    assert_eq!(stage.get_by_token(&guess, in_shop).await.0, 401);
    // A machine's token says who joins, and nothing of who asks.
    let asked = json!({"role": "agent", "ttl": "60s", "uses": 1});
    let (_, joining) = stage.token(asked).await;
    assert_eq!(stage.get_by_token(&joining, in_shop).await.0, 401);
    let admin = Some((Role::Admin, "admin"));
    let (_, list) = stage.get(admin, "/v1/tokens").await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2), "{list}");
    assert!(!list.to_string().contains(&token));
    let number: TokenId = id.parse().unwrap();
    let revoke = json!({"token": number});
    assert_eq!(stage.post(admin, "/v1/tokens/revoke", revoke).await.0, 200);
    assert_eq!(stage.get_by_token(&token, in_shop).await.0, 401);
}

#[tokio::test]
async fn whoever_is_not_known_may_say_little() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::start(folder.path()).await;
    let asked = json!({"token": "x".repeat(20_000)});
    assert_eq!(stage.post(None, "/v1/enrol", asked).await.0, 413);
}

#[tokio::test]
async fn a_member_speaks_to_the_member_that_is_meant_and_to_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::start(folder.path()).await;
    let own = issue(&stage.authority, Role::Member, "mbr_2");
    let bundle = stage.authority.bundle().unwrap();
    let tls = ClientTls::new(&bundle, Some(&own), Protocol::Http2).unwrap();
    let dialer = SecureDialer::new(tls);
    let ask = async |member: u64| {
        let channel = dialer
            .dial(member, stage.address.authority(), Lane::Urgent)
            .unwrap();
        let none = BlobDigests::default();
        KernelClient::new(channel).missing_blobs(none).await
    };
    ask(1).await.unwrap();
    let refused = ask(3).await.unwrap_err();
    let told = format!("{refused:?}");
    assert!(told.contains("it is mbr_1, and not mbr_3"), "{told}");
}
