use kelson_kernel_core::command::{Command, FoundCluster};

use crate::world::World;

#[test]
fn a_cluster_keeps_the_name_that_it_was_given_first() {
    let mut world = World::empty();
    for name in ["one", "two"] {
        world.done(Command::FoundCluster(FoundCluster {
            cluster: name.to_owned(),
        }));
    }
    assert_eq!(world.state.cluster, "one");
}
