//! A cluster on virtual time: the kernel's core, real scheduler components in the real sandbox, and
//! agents that only pretend.
//!
//! Nothing here does I/O but the compile cache of the sandbox; time moves only when it is told to,
//! so every run is the same. It serves tests and benchmarks, and shows a fault at the exact step
//! where it is wanted. Read `cluster.rs`.

mod cluster;
mod components;

pub use cluster::{Cluster, Fault, framework_key, object, service};
pub use components::{Components, guest};
