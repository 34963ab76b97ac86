//! Who gets through to whom.

use std::time::Duration;

use kelson_model::access::Role;
use kelson_trust::{Addresses, ClientTls, Dialer, Limits, Listener, Protocol};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::stage::{DEADLINE, Stage, authority, client, issue, issue_at, long_ago};

#[tokio::test]
async fn a_machine_is_known_by_its_certificate() {
    let authority = authority();
    let mut stage = Stage::of(&authority).await;
    let own = issue(&authority, Role::Agent, "agt_7");
    stage.reach(client(&authority, Some(&own))).await.unwrap();
    let peer = stage.peer().await;
    assert!(peer.is_secure);
    assert_eq!(peer.certified.as_ref(), Some(own.certified()));
    assert_eq!(own.certified().identity.name, "agt_7");
}

#[tokio::test]
async fn who_shows_no_certificate_gets_through_as_nobody() {
    let authority = authority();
    let mut stage = Stage::of(&authority).await;
    let _open = stage.reach(client(&authority, None)).await.unwrap();
    assert_eq!(stage.peer().await.certified, None);
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused_on_both_sides() {
    let (authority, other) = (crate::stage::authority(), crate::stage::authority());
    let mut stage = Stage::of(&authority).await;
    // A client that was certified by another CA and believes this one.
    let foreign = issue(&other, Role::Admin, "admin");
    let why = stage
        .reach(client(&authority, Some(&foreign)))
        .await
        .unwrap_err();
    assert!(why.contains("of another cluster"), "{why}");
    // A client that believes another CA.
    let own = issue(&authority, Role::Admin, "admin");
    let why = stage.reach(client(&other, Some(&own))).await.unwrap_err();
    assert!(why.contains("not from the CA of this cluster"), "{why}");
    assert!(!stage.somebody_came());
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused_on_both_sides() {
    let authority = authority();
    let mut stage = Stage::of(&authority).await;
    let old = issue_at(&authority, Role::Agent, "agt_7", long_ago());
    let why = stage
        .reach(client(&authority, Some(&old)))
        .await
        .unwrap_err();
    assert!(why.contains("this certificate has expired"), "{why}");
    assert!(!stage.somebody_came());
    let old = issue_at(&authority, Role::Member, "mbr_1", long_ago());
    let bundle = authority.bundle().unwrap();
    let stage = Stage::new(&old, &bundle, Limits::default()).await;
    let why = stage.reach(client(&authority, None)).await.unwrap_err();
    assert!(why.contains("its certificate has expired"), "{why}");
}

#[tokio::test]
async fn an_agent_cannot_pass_for_a_member() {
    let authority = authority();
    let bundle = authority.bundle().unwrap();
    for role in [Role::Agent, Role::Admin] {
        let own = issue(&authority, role, "mbr_1");
        let stage = Stage::new(&own, &bundle, Limits::default()).await;
        let believing = client(&authority, None);
        let pinned = ClientTls::pinned(&bundle.fingerprints()[0], Protocol::Http2).unwrap();
        for tls in [believing, pinned] {
            let why = stage.reach(tls).await.unwrap_err();
            assert!(why.contains("not that of a member"), "{role}: {why}");
        }
    }
}

#[tokio::test]
async fn whoever_knows_the_fingerprint_of_the_ca_believes_its_members_and_nobody_else() {
    let (authority, other) = (crate::stage::authority(), crate::stage::authority());
    let stage = Stage::of(&authority).await;
    let pinned = |of: &kelson_trust::Authority| {
        let fingerprints = of.bundle().unwrap().fingerprints();
        ClientTls::pinned(&fingerprints[0], Protocol::Http2).unwrap()
    };
    stage.reach(pinned(&authority)).await.unwrap();
    let why = stage.reach(pinned(&other)).await.unwrap_err();
    assert!(why.contains("not the one that the token names"), "{why}");
}

#[tokio::test]
async fn a_renewed_certificate_and_a_new_ca_count_from_the_next_handshake_on() {
    let (old, new) = (authority(), authority());
    let mut stage = Stage::of(&old).await;
    let agent = issue(&old, Role::Agent, "agt_7");
    let tls = client(&old, Some(&agent));
    let before = stage.reach(tls.clone()).await.unwrap();
    stage.peer().await;
    // First all believe both, then the new one signs, then the old one goes.
    let both = old.bundle().unwrap().with(&new.bundle().unwrap()).unwrap();
    let member = issue(&new, Role::Member, "mbr_1");
    stage.tls.replace(&member, &both).unwrap();
    let why = stage.reach(tls.clone()).await.unwrap_err();
    assert!(why.contains("not from the CA of this cluster"), "{why}");
    tls.replace(&both, Some(&agent)).unwrap();
    stage.reach(tls.clone()).await.unwrap();
    let renewed = issue(&new, Role::Agent, "agt_7");
    tls.replace(&both, Some(&renewed)).unwrap();
    stage.reach(tls.clone()).await.unwrap();
    let last = both
        .without(&old.bundle().unwrap().fingerprints()[0])
        .unwrap();
    stage.tls.replace(&member, &last).unwrap();
    stage.reach(tls.clone()).await.unwrap();
    tls.replace(&both, Some(&agent)).unwrap();
    stage.reach(tls).await.unwrap_err();
    drop(before);
}

#[tokio::test]
async fn peers_that_never_finish_their_handshake_keep_nobody_out() {
    let authority = authority();
    let own = issue(&authority, Role::Member, "mbr_1");
    let limits = Limits {
        handshake: Duration::from_secs(3600),
        handshakes: 2,
        turn: Duration::ZERO,
        ..Limits::default()
    };
    let stage = Stage::new(&own, &authority.bundle().unwrap(), limits).await;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(TcpStream::connect(stage.address.authority()).await.unwrap());
    }
    stage.reach(client(&authority, None)).await.unwrap();
    // The first of them had to make room.
    let mut byte = [0; 1];
    let ended = tokio::time::timeout(DEADLINE, silent[0].read(&mut byte)).await;
    assert!(!matches!(ended.expect("it is closed"), Ok(1)));
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_given_up() {
    let authority = authority();
    let own = issue(&authority, Role::Member, "mbr_1");
    let limits = Limits {
        handshake: Duration::from_millis(10),
        ..Limits::default()
    };
    let stage = Stage::new(&own, &authority.bundle().unwrap(), limits).await;
    let mut silent = TcpStream::connect(stage.address.authority()).await.unwrap();
    let mut byte = [0; 1];
    let ended = tokio::time::timeout(DEADLINE, silent.read(&mut byte)).await;
    assert!(!matches!(ended.expect("it is closed"), Ok(1)));
}

#[tokio::test]
async fn strangers_have_so_many_places_and_the_known_are_not_counted() {
    let authority = authority();
    let own = issue(&authority, Role::Member, "mbr_1");
    let limits = Limits {
        strangers: 1,
        ..Limits::default()
    };
    let mut stage = Stage::new(&own, &authority.bundle().unwrap(), limits).await;
    let first = stage.reach(client(&authority, None)).await.unwrap();
    stage.reach(client(&authority, None)).await.unwrap_err();
    let agent = issue(&authority, Role::Agent, "agt_7");
    stage.reach(client(&authority, Some(&agent))).await.unwrap();
    drop(first);
    // The place is free once the member has seen the end.
    while stage.reach(client(&authority, None)).await.is_err() {
        tokio::task::yield_now().await;
    }
    stage.peer().await;
}

#[tokio::test]
async fn addresses_are_tried_in_turn_and_the_one_that_worked_comes_first() {
    let authority = authority();
    let stage = Stage::of(&authority).await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);
    let addresses: Addresses = format!("{nobody},{}", stage.address).parse().unwrap();
    let dialer = Dialer::secure(addresses, client(&authority, None));
    assert_eq!(dialer.preferred().unwrap().port(), nobody.port());
    let (_open, address) = dialer.connect().await.unwrap();
    assert_eq!(address, stage.address);
    assert_eq!(dialer.preferred(), Some(&stage.address));
    dialer.turn_away();
    assert_eq!(dialer.preferred().unwrap().port(), nobody.port());
    drop(stage);
    let addresses: Addresses = nobody.to_string().parse().unwrap();
    let error = Dialer::plain(addresses).connect().await.unwrap_err();
    assert!(!error.is_of_trust());
    assert!(
        error.to_string().starts_with(&format!("{nobody}: ")),
        "{error}"
    );
}

#[tokio::test]
async fn an_address_with_credentials_is_never_spoken_to_in_plain() {
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses: Addresses = plain.local_addr().unwrap().to_string().parse().unwrap();
    let authority = authority();
    let own = issue(&authority, Role::Admin, "admin");
    let dialer = Dialer::secure(addresses, client(&authority, Some(&own)));
    let serving = async {
        let (mut stream, _) = plain.accept().await.unwrap();
        let mut head = [0; 5];
        stream.read_exact(&mut head).await.unwrap();
        // What a server says that knows no TLS.
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        head
    };
    let (connected, head) = tokio::join!(dialer.connect(), serving);
    // The first byte of a handshake.
    assert_eq!(head[0], 22);
    let error = connected.unwrap_err();
    assert!(error.is_of_trust());
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
}

#[tokio::test]
async fn plain_connections_stay_on_this_machine() {
    let addresses: Addresses = "192.0.2.1:7460".parse().unwrap();
    let error = Dialer::plain(addresses).connect().await.unwrap_err();
    assert!(error.to_string().contains("over TLS only"), "{error}");
    let everywhere = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let error = Listener::plain(everywhere).unwrap_err();
    assert!(
        error.to_string().contains("have to be encrypted"),
        "{error}"
    );
}
