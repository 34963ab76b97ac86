#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use super::*;

const HTTP: &str = include_str!("http.rs");
const PROTOS: &[&str] = &[
    include_str!("../../../proto/kelson/v1/agents.proto"),
    include_str!("../../../proto/kelson/v1/kernel.proto"),
    include_str!("../../../proto/kelson/v1/members.proto"),
    include_str!("../../../proto/kelson/v1/relay.proto"),
];

fn known(role: Role, namespace: Option<&str>) -> Who {
    Who::Known(Known {
        role,
        name: "somebody".to_owned(),
        namespace: namespace.map(|text| text.parse().unwrap()),
    })
}

fn place(text: &str) -> Place {
    Place::In(text.parse().unwrap())
}

#[test]
fn every_route_of_the_router_and_of_the_services_stands_in_the_table_and_nothing_else() {
    let quoted = HTTP.split(".route(").skip(1);
    let mut served: BTreeSet<String> = quoted
        .map(|rest| rest.split('"').nth(1).unwrap().to_owned())
        .collect();
    for proto in PROTOS {
        for service in proto.split("\nservice ").skip(1) {
            let name = service.split([' ', '{']).next().unwrap();
            let body = service.split("\n}").next().unwrap();
            for rpc in body.split("rpc ").skip(1) {
                let method = rpc.split(['(', ' ']).next().unwrap();
                served.insert(format!("/kelson.v1.{name}/{method}"));
            }
        }
    }
    assert!(served.len() > 20, "{served:?}");
    let listed: BTreeSet<String> = ROUTES.iter().map(|route| route.path.to_owned()).collect();
    assert_eq!(listed, served);
    assert_eq!(ROUTES.len(), listed.len(), "a route stands there twice");
}

#[test]
fn a_machine_asks_for_what_is_its_own_and_for_nothing_of_people() {
    let agent = known(Role::Agent, None);
    let open: Vec<&str> = ROUTES
        .iter()
        .filter(|route| authorise(&agent, route.roles, &Place::Everywhere).is_ok())
        .map(|route| route.path)
        .collect();
    let own = [
        "/healthz",
        "/readyz",
        "/v1/authorities",
        "/v1/renew",
        "/v1/enrol",
        "/kelson.v1.Kernel/GetBlob",
        "/kelson.v1.Agents/Session",
    ];
    assert_eq!(open, own);
}

#[test]
fn who_has_shown_nothing_learns_that_a_member_lives_and_nothing_else() {
    let open: Vec<&str> = ROUTES
        .iter()
        .filter(|route| authorise(&Who::Stranger, route.roles, &Place::Nowhere).is_ok())
        .map(|route| route.path)
        .collect();
    assert_eq!(
        open,
        ["/healthz", "/readyz", "/v1/authorities", "/v1/enrol"]
    );
    let refusal = authorise(&Who::Stranger, READER, &Place::Nowhere).unwrap_err();
    assert_eq!(refusal.code, Code::NotKnown);
}

#[test]
fn a_role_in_a_namespace_holds_there_and_below() {
    let reader = known(Role::Reader, Some("shop"));
    assert_eq!(authorise(&reader, READER, &place("shop/checkout")), Ok(()));
    assert_eq!(authorise(&reader, READER, &Place::Nowhere), Ok(()));
    for elsewhere in [place("data"), place("shopping"), Place::Everywhere] {
        let refusal = authorise(&reader, READER, &elsewhere).unwrap_err();
        assert_eq!(refusal.code, Code::Denied);
    }
    authorise(&reader, OPERATOR, &place("shop")).unwrap_err();
    assert_eq!(
        authorise(&known(Role::Admin, None), OPERATOR, &Place::Everywhere),
        Ok(())
    );
}

#[test]
fn what_an_address_names_decides_where_a_route_looks() {
    let state = State::default();
    let at = |scope, uri: &str| place_of(scope, &uri.parse().unwrap(), &state);
    assert_eq!(at(Scope::Namespace, "/x?namespace=shop"), place("shop"));
    assert_eq!(at(Scope::Namespace, "/x"), Place::Everywhere);
    assert_eq!(at(Scope::Object, "/x?name=web"), place("default"));
    assert_eq!(
        at(Scope::MaybeObject, "/x?namespace=shop"),
        Place::Everywhere
    );
    assert_eq!(
        at(Scope::MaybeObject, "/x?namespace=shop&name=web"),
        place("shop")
    );
    // What cannot be read, or is not there, is nobody's own.
    assert_eq!(at(Scope::Namespace, "/x?namespace=%2F"), Place::Everywhere);
    assert_eq!(at(Scope::Task, "/x?task=tsk_9"), Place::Everywhere);
}

#[test]
fn a_person_is_named_by_the_connection_and_a_member_passes_on_who_asked() {
    let said = Principal::new("mallory", "cli");
    let named = known(Role::Operator, None).principal(said.clone());
    assert_eq!(named, Principal::new("somebody", "cli"));
    assert_eq!(known(Role::Member, None).principal(said.clone()), said);
}
