//! What a cluster's version allows.

use kelson_kernel_core::command::{Command, SetClusterVersion};
use kelson_kernel_core::form::{FormError, decode_entry, decode_reply, encode_entry};
use kelson_kernel_core::{Reply, apply_form};
use kelson_model::code::Code;
use kelson_model::id::Index;
use kelson_model::request::SetNamespace;

use super::samples;
use crate::world::{World, is_unchanged, ns};

fn raise(version: u32) -> Command {
    Command::SetClusterVersion(SetClusterVersion { version })
}

#[test]
fn a_clusters_version_only_goes_up() {
    let mut world = World::new();
    let before = world.state.cluster_version;
    world.done(raise(before + 1));
    world.done(raise(before + 4));
    for version in [0, before + 1, before + 4] {
        assert!(world.refused(raise(version)).code == Code::ClusterVersion);
    }
    assert_eq!(world.state.cluster_version, before + 4);
    assert!(crate::world::through_snapshot(&world.state) == world.state);
}

#[test]
fn what_a_clusters_version_does_not_know_is_refused_by_name_and_changes_nothing() {
    let mut world = World::new();
    world.done(raise(3));
    let before = world.state.clone();
    let set = SetNamespace {
        namespace: ns("shop"),
        weight: 2,
    };
    let mut entry = samples::entry(Command::SetNamespace(set));
    entry.client = None;
    let index = Index(world.state.index.0 + 1);
    let reply = apply_form(&mut world.state, index, &entry, 4);
    let Reply::Refused(refusal) = reply else {
        panic!("{reply:?}");
    };
    assert!(refusal.code == Code::NotKnownYet);
    assert!(
        refusal
            .message
            .starts_with("setNamespace is known since cluster version 4")
    );
    assert!(is_unchanged(&before, &world.state));
    let index = Index(world.state.index.0 + 1);
    let reply = apply_form(&mut world.state, index, &entry, 3);
    assert!(matches!(reply, Reply::Done { .. }));
}

#[test]
fn an_unknown_form_command_or_version_is_an_error_that_names_it() {
    let good = encode_entry(&samples::entry(raise(1)), 1).unwrap();
    let [.., command, version, body] = good[..] else {
        panic!("{good:?}");
    };
    assert_eq!((good[0], good[1], command, version, body), (2, 1, 17, 1, 1));
    let with = |from_end: usize, byte: u8| {
        let mut bytes = good.clone();
        let place = bytes.len() - from_end;
        bytes[place] = byte;
        decode_entry(&bytes).unwrap_err().to_string()
    };
    assert_eq!(with(good.len(), 3), "form 3 is not known to this program");
    assert_eq!(
        with(good.len() - 1, 9),
        "version 9 of the head of an entry is not known to this program"
    );
    assert_eq!(with(3, 99), "command 99 is not known to this program");
    assert_eq!(
        with(2, 2),
        "version 2 of setClusterVersion is not known to this program"
    );
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(decode_entry(&longer), Err(FormError::Trailing(1)));
    assert_eq!(decode_reply(&[]), Err(FormError::Short));
}
