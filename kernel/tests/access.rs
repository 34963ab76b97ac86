//! Who gets through to what over TLS: people, agents, and whoever has shown nothing.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use kelson_kernel::Kernel;
use kelson_kernel::api::run_secure_api;
use kelson_model::access::Role;
use kelson_model::code::Code as Told;
use kelson_model::time::WallTime;
use kelson_proto::v1::agent_message::Message as Up;
use kelson_proto::v1::agents_client::AgentsClient;
use kelson_proto::v1::kernel_message::Message as Down;
use kelson_proto::v1::{
    AgentDescription, AgentMessage, Attach, Goodbye, KernelMessage, SessionEnd,
};
use kelson_trust::{
    Address, Addresses, Authority, ClientTls, Dialer, Identity, KeyedCertificate, Limits, Listener,
    MACHINE_LIFE, Protocol, ServerTls,
};
use serde_json::Value;
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
        tokio::spawn(run_secure_api(
            kernel.clone(),
            listener,
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

    /// The number of an answer, and its body.
    async fn get(&self, own: Option<(Role, &str)>, path: &str) -> (u16, Value) {
        let (mut stream, _) = self.dialer(own, Protocol::Http1).connect().await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: one.example:7460\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let number = head.split(' ').nth(1).unwrap().parse().unwrap();
        (number, serde_json::from_str(body).unwrap_or(Value::Null))
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
