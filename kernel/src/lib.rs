//! The kernel's shell: raft, codec, leader, API.
