//! The processes of a cluster: `dev` raises a kernel and an agent as they are; `kernel` and `agent`
//! wire the rooms together; `shim` and its gate hold a task; `compile` compiles one component.

pub(crate) mod agent;
pub(crate) mod compile;
pub(crate) mod dev;
mod doors;
mod ending;
mod founding;
mod joining;
pub(crate) mod kernel;
mod log;
mod loopback;
mod place;
mod ranges;
mod renewal;
pub(crate) mod shim;
