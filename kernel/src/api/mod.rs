//! The API: gRPC for machines, JSON over HTTP for people with curl, on one port.
//!
//! `sessions.rs` is the service that agents attach to, `clients.rs` answers gRPC clients,
//! `frameworks.rs` what authors ask of their schedulers, `http.rs` the same nouns as JSON,
//! `watch.rs` makes the rows that both stream, `views.rs` the JSON of objects, agents and
//! frameworks, `logs.rs` relays the output of tasks, `members.rs` is about the members,
//! `reads.rs` says how fresh an answer is, `forward.rs` takes to another member what only that one
//! can answer.

mod access;
mod clients;
mod doors;
mod enrolment;
mod forward;
mod frameworks;
mod guard;
mod http;
mod logs;
mod members;
mod reads;
mod serve;
mod sessions;
mod tokens;
mod views;
mod watch;

pub use serve::{run_api, serve_api};
pub use sessions::run_dispatch;
