//! Nouns that rooms share: ids, quantities, resources, objects, task templates, tasks, agents,
//! time, requests and reports.
//!
//! This room decides how a thing is named, parsed, printed and compared. It never decides what
//! happens to it, reads no clock and does no I/O. It imports nothing of ours. Read `object.rs`
//! first (what git asks for), then `template.rs` (what a task runs) and `task.rs` (what became of
//! it).

pub mod access;
pub mod agent;
pub mod code;
pub mod doctor;
pub mod drift;
pub mod enrol;
pub mod event;
pub mod framework;
pub mod id;
pub mod interpolation;
pub mod member;
pub mod object;
pub mod preview;
pub mod principal;
pub mod quantity;
pub mod reason;
pub mod report;
pub mod request;
pub mod session;
pub mod source;
pub mod spec;
pub mod task;
pub mod template;
pub mod text;
pub mod time;
pub mod token;
pub mod view;
