//! The replicated log: what every member agrees on, in which order, and that it survives a power
//! cut.
//!
//! This room decides nothing about resources, tasks or frameworks: it carries opaque payloads to a
//! [`Machine`] in one order on every member, and keeps them on disk. It is the only user of
//! openraft, and no openraft type leaves it: neither in an interface, nor on disk, nor on a wire.
//!
//! The data directory of a member:
//!
//! ```text
//! lock               held while a process uses the directory; names its process id
//! identity           which cluster and which member this is; never changes
//! reserve            space given back when the disk is full, so that a restart can still compact
//! log/               segments of the write-ahead log: votes, entries, truncations, purges, commits
//! snapshots/         the newest snapshot of the machine and the one before it
//! ```
//!
//! Read `member.rs` first (the handle that the kernel holds), then `machine.rs` (what the kernel
//! gives), `membership.rs`, `log/mod.rs` and `snapshot/mod.rs`; for what members say to each other,
//! `network.rs` (the sender) and `service.rs` (the receiver).

mod applier;
mod compaction;
mod config;
mod connection;
mod dialer;
mod error;
mod examine;
mod identity;
mod lock;
mod log;
mod machine;
mod member;
mod membership;
mod message;
#[cfg(test)]
mod message_tests;
mod monitor;
mod network;
mod peers;
mod propose;
mod reads;
mod receive;
mod replica;
mod reserve;
mod roster;
mod runtime;
mod service;
mod snapshot;
mod start;
mod transfer;
mod types;
mod wire;

#[cfg(test)]
mod tests;

pub use config::{Beginning, MemberConfig};
pub use dialer::{DialError, Dialer, Lane, PlainDialer, endpoint};
pub use error::{ChangeError, ProposeError, RaftError, ReadError};
pub use examine::{Examination, examine};
pub use identity::ClusterId;
pub use log::LogError;
pub use machine::{Encode, Machine, MachineError, Position};
pub use member::{Leadership, Member};
pub use membership::{MemberView, Role};
pub use propose::{Committed, MAX_PAYLOAD_BYTES};
pub use service::MemberService;
pub use snapshot::SnapshotError;
