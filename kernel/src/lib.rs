//! The kernel's shell: raft, codec, leader, API.
//!
//! Read `raft/mod.rs` first: the replicated log that everything here goes through.

pub mod raft;
