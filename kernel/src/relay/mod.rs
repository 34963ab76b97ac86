//! The relay: what a member that does not lead hands to the one that does, one hop and no further.
//!
//! `outgoing.rs` is the side of the follower, `incoming.rs` that of the leader, `links.rs` the
//! connections to other members, `joining.rs` how a machine asks to be one.

mod incoming;
mod joining;
mod links;
mod outgoing;

pub(crate) use incoming::{AdmissionService, RelayService};
pub use joining::{JoinError, join_cluster};
pub(crate) use links::Links;
pub(crate) use outgoing::Relays;

/// The metadata that names the cluster which a call means.
const CLUSTER: &str = "kelson-cluster";
/// Entries of one stream that are under way at once.
const UNDER_WAY: usize = 256;
