//! AdmitMember, RecordMember, DismissMember.

use kelson_kernel_core::Reply;
use kelson_kernel_core::command::{AdmitMember, Command, DismissMember, RecordMember};
use kelson_model::code::Code;
use kelson_model::id::MemberId;
use kelson_model::member::{MemberDescription, Supports};

use crate::world::{World, refused, through_snapshot};

fn describe(name: &str, port: u16) -> MemberDescription {
    MemberDescription {
        name: name.to_owned(),
        address: format!("10.0.0.1:{port}"),
        version: "1".to_owned(),
        supports: Supports {
            oldest: 1,
            newest: 2,
        },
    }
}

fn admit(world: &mut World, token: &str, name: &str, port: u16) -> Reply {
    world.apply(Command::AdmitMember(AdmitMember {
        token: token.to_owned(),
        description: describe(name, port),
    }))
}

fn record(world: &mut World, id: u64, name: &str, port: u16) -> Reply {
    world.apply(Command::RecordMember(RecordMember {
        member: MemberId(id),
        description: describe(name, port),
    }))
}

fn dismiss(world: &mut World, id: u64) -> Reply {
    let member = MemberId(id);
    world.apply(Command::DismissMember(DismissMember { member }))
}

fn admitted(reply: Reply) -> u64 {
    match reply {
        Reply::Admitted { member } => member.0,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_member_has_an_id_of_its_own_and_is_given_it_again_under_its_token() {
    let mut world = World::new();
    assert!(matches!(record(&mut world, 1, "a", 1), Reply::Done { .. }));
    assert_eq!(admitted(admit(&mut world, "x", "b", 2)), 2);
    assert_eq!(admitted(admit(&mut world, "y", "c", 3)), 3);
    assert_eq!(admitted(admit(&mut world, "x", "b", 20)), 2);
    let names: Vec<String> = world
        .state
        .living_members()
        .map(|member| member.description.name.clone())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    for (name, port) in [("b", 9), ("d", 20)] {
        let refusal = refused(admit(&mut world, "z", name, port));
        assert_eq!(refusal.code, Code::MemberRefused);
    }
}

#[test]
fn an_id_is_never_used_again_and_a_member_that_was_removed_is_told_so() {
    let mut world = World::new();
    record(&mut world, 1, "a", 1);
    admit(&mut world, "x", "b", 2);
    assert!(matches!(dismiss(&mut world, 2), Reply::Done { .. }));
    assert!(
        matches!(dismiss(&mut world, 2), Reply::Done { .. }),
        "once more"
    );
    world.state = through_snapshot(&world.state);
    let refusal = refused(admit(&mut world, "x", "b", 2));
    assert!(refusal.message.contains("mbr_2 was removed"), "{refusal}");
    assert!(
        refused(record(&mut world, 2, "b", 2))
            .message
            .contains("removed")
    );
    // Its name and address are free.
    assert_eq!(admitted(admit(&mut world, "y", "b", 2)), 3);
    assert_eq!(refused(dismiss(&mut world, 7)).code, Code::MemberRefused);
    assert!(matches!(dismiss(&mut world, 3), Reply::Done { .. }));
    assert!(
        refused(dismiss(&mut world, 1))
            .message
            .contains("only member")
    );
}

#[test]
fn a_place_that_was_made_is_taken_by_whoever_comes_first_from_its_address() {
    let mut world = World::new();
    record(&mut world, 1, "a", 1);
    assert_eq!(admitted(admit(&mut world, "", "b", 2)), 2);
    assert_eq!(admitted(admit(&mut world, "x", "b", 2)), 2);
    let refusal = refused(admit(&mut world, "y", "b", 2));
    assert!(
        refusal.message.contains("mbr_2 has the name b"),
        "{refusal}"
    );
}

#[test]
fn a_cluster_admits_nine_members_at_a_time() {
    let mut world = World::new();
    record(&mut world, 1, "a", 1);
    for number in 2..=9 {
        admitted(admit(
            &mut world,
            &format!("t{number}"),
            &format!("m{number}"),
            number,
        ));
    }
    assert_eq!(
        refused(admit(&mut world, "x", "x", 99)).code,
        Code::MemberRefused
    );
    dismiss(&mut world, 5);
    assert_eq!(admitted(admit(&mut world, "x", "x", 99)), 10);
}
