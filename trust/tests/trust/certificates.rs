//! What is certified, and what lies in files.

use std::os::unix::fs::PermissionsExt as _;

use kelson_model::access::Role;
use kelson_model::time::WallTime;
use kelson_trust::{
    Authority, CaBundle, Certified, Credentials, KeyedCertificate, MACHINE_LIFE, PrivateKey, Proof,
    Secret, TrustFolder, is_due, key_of_request,
};

use crate::stage::{CLUSTER, authority, identity, issue, issue_at, now};

#[test]
fn who_asks_decides_nothing_about_the_certificate_but_its_key() {
    let authority = authority();
    let key = PrivateKey::generate().unwrap();
    let request = key.request().unwrap();
    let agent = identity(Role::Agent, "agt_7");
    let chain = authority.certify(&request, &agent, &[], now(), MACHINE_LIFE);
    let keyed = KeyedCertificate::new(&chain.unwrap(), key).unwrap();
    assert_eq!(keyed.certified().identity, agent);
    // The signature stands in the last line but one.
    let mut lines: Vec<String> = request.lines().map(str::to_owned).collect();
    let last = lines.len() - 2;
    lines[last] = lines[last].chars().rev().collect();
    for request in [&lines.join("\n"), "", &"x".repeat(5000)] {
        let refused = authority.certify(request, &agent, &[], now(), MACHINE_LIFE);
        refused.unwrap_err();
        key_of_request(request).unwrap_err();
    }
    // Another request for the same key is known by it.
    let again = keyed_request_twice();
    assert_eq!(
        key_of_request(&again.0).unwrap(),
        key_of_request(&again.1).unwrap()
    );
}

fn keyed_request_twice() -> (String, String) {
    let key = PrivateKey::generate().unwrap();
    (key.request().unwrap(), key.request().unwrap())
}

#[test]
fn names_that_fit_no_certificate_and_other_clusters_are_refused() {
    let authority = authority();
    for name in ["", "a\nb", "é", &"x".repeat(65)] {
        let wrong = identity(Role::Agent, name);
        authority
            .issue(&wrong, &[], now(), MACHINE_LIFE)
            .unwrap_err();
    }
    let mut other = identity(Role::Agent, "agt_7");
    other.cluster = "another".to_owned();
    authority
        .issue(&other, &[], now(), MACHINE_LIFE)
        .unwrap_err();
    let member = identity(Role::Member, "mbr_1");
    for host in ["", "a b", "-,", "a..b"] {
        let hosts = [host.to_owned()];
        authority
            .issue(&member, &hosts, now(), MACHINE_LIFE)
            .unwrap_err();
    }
    let hosts = [
        "one.example".to_owned(),
        "10.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    authority
        .issue(&member, &hosts, now(), MACHINE_LIFE)
        .unwrap();
}

#[test]
fn a_certificate_is_due_after_two_thirds_of_its_life() {
    let authority = authority();
    let begin = now();
    let own = issue_at(&authority, Role::Agent, "agt_7", begin);
    let certified: &Certified = own.certified();
    let at = |share: u64| WallTime(begin.0 + MACHINE_LIFE.0 * share / 100);
    assert!(!is_due(certified, at(60)) && certified.holds_at(at(60)));
    assert!(is_due(certified, at(67)) && certified.holds_at(at(67)));
    assert!(!certified.holds_at(at(101)));
}

#[test]
fn a_machine_finds_in_its_folder_what_it_has_left_there() {
    let data = tempfile::tempdir().unwrap();
    let folder = TrustFolder::of(data.path());
    assert!(folder.load().unwrap().is_none());
    let authority = authority();
    let own = issue(&authority, Role::Member, "mbr_1");
    let bundle = authority.bundle().unwrap();
    folder.save(&own, &bundle).unwrap();
    folder.save_authority(&authority).unwrap();
    let (read, ca) = folder.load().unwrap().unwrap();
    assert_eq!((read.certified(), &ca), (own.certified(), &bundle));
    let again = Authority::load(&folder.authority_file()).unwrap().unwrap();
    assert_eq!(again.bundle().unwrap(), bundle);
    issue(&again, Role::Agent, "agt_1");
    for file in [
        folder.identity_file(),
        folder.authority_file(),
        folder.bundle_file(),
    ] {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    let other = Authority::found("another", now()).unwrap();
    std::fs::write(folder.bundle_file(), other.bundle().unwrap().to_pem()).unwrap();
    let error = folder.load().unwrap_err().to_string();
    assert!(error.contains("different clusters"), "{error}");
}

#[test]
fn keys_and_certificates_that_do_not_belong_together_are_refused() {
    let authority = authority();
    let own = issue(&authority, Role::Agent, "agt_7");
    let chain = own.chain_pem();
    KeyedCertificate::new(&chain, PrivateKey::generate().unwrap()).unwrap_err();
    let other = PrivateKey::generate().unwrap().to_pem();
    let mixed = format!("{}{}", authority.bundle().unwrap().to_pem(), other.expose());
    Authority::from_pem(&Secret::new(mixed)).unwrap_err();
    // A certificate that is not that of a CA.
    Authority::from_pem(&own.to_pem()).unwrap_err();
    CaBundle::from_pem(&chain).unwrap_err();
    CaBundle::from_pem("").unwrap_err();
}

#[test]
fn credentials_read_back_and_show_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kelson").join("credentials");
    let authority = authority();
    let credentials = Credentials {
        addresses: "a:1,b:2".parse().unwrap(),
        bundle: authority.bundle().unwrap(),
        proof: Proof::Certificate(Box::new(issue(&authority, Role::Admin, "admin"))),
    };
    credentials.save(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let read = Credentials::load(&path).unwrap();
    assert_eq!(read.addresses, credentials.addresses);
    assert_eq!(read.bundle.cluster(), CLUSTER);
    assert!(!read.has_expired(now()));
    let shown = format!("{read:?} {authority:?}");
    assert!(!shown.contains("PRIVATE"), "{shown}");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("PRIVATE KEY"));
    // A file that is damaged is not repeated in the error.
    std::fs::write(&path, text.replace("\"version\"", "\"secretVersion\"")).unwrap();
    let error = Credentials::load(&path).unwrap_err().to_string();
    assert!(error.contains("no file of credentials"), "{error}");
    assert!(!error.contains("secretVersion"), "{error}");
}
