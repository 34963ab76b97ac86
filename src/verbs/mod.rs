//! The verbs, one file each: what may be typed behind it, what it asks, how it shows the answer.

pub(crate) mod agents;
pub(crate) mod completions;
pub(crate) mod confirm;
pub(crate) mod describe;
pub(crate) mod doctor;
pub(crate) mod drift;
pub(crate) mod events;
pub(crate) mod frameworks;
pub(crate) mod get;
pub(crate) mod init;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod manifests;
pub(crate) mod plan;
pub(crate) mod schema;
pub(crate) mod set;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod target;
pub(crate) mod tasks;
pub(crate) mod token;
pub(crate) mod validate;
pub(crate) mod version;
pub(crate) mod wait;
pub(crate) mod watching;
pub(crate) mod why;
