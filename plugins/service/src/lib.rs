//! The scheduler of `kind: Service`: keeps `instances` tasks running, and rolls a new version out
//! with its health in view.
//!
//! It decides which slots need a task, from which generation, when a failed one is tried again,
//! when an old one may go, and when a version is given up. It never decides whether that is legal
//! (the kernel does) nor how a task runs (its agent does). Everything is derived from the rows of
//! the turn: nothing that matters is remembered, so a restored instance answers as a warm one.
//!
//! Read next: [`plan_workload`] (the whole decision, pure), `status.rs` (its words), `service.rs`
//! (from turns to plans and back), `schema.rs` (the manifest).

mod amount;
mod backoff;
mod pace;
mod place;
mod plan;
mod schema;
mod service;
mod slots;
mod spec;
mod status;
mod validate;
mod view;

pub use amount::Amount;
pub use backoff::Backoff;
pub use plan::{Plan, plan_removal, plan_workload};
pub use service::Service;
pub use spec::{OnFailure, Spec, Update};
pub use status::{Reason, Said, Waiting};
pub use view::{Start, View, Want};

kelson_sdk::export_scheduler!(Service);
