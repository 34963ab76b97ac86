//! The sandbox of schedulers: wasmtime, limits, linking, turns.
//!
//! This room decides what a scheduler component can see, use and wish for, and turns one call of it
//! into a value: an outcome, or the reason why there is none. It is the only user of wasmtime for
//! schedulers. It never decides what becomes of an outcome (that is `apply` in the kernel), keeps
//! nothing but caches, reads no clock and hands out no randomness: time and seed come with the
//! request.
//!
//! *Flow.* [`WasmHost::load`](kelson_kernel_core::port::SchedulerHost::load) compiles a component
//! once, refuses what it may not import, and asks it to describe itself. A turn takes the seat's
//! warm instance or restores one from committed rows, lays out the tables, calls `turn`, and takes
//! the outcome.
//!
//! *Guarantees.* A call ends: fuel is the limit, the same on every run; a guard on
//! the time of a processor stands above it. A fault drops the instance and nothing
//! else. The same request gives the same outcome.
//!
//! *Assumes.* That a warm and a restored instance answer alike is the guest's duty; certification
//! checks it.
//!
//! Read next: `host.rs` (the port), `instance.rs` (one call), `outcome.rs` (what is checked),
//! `limits.rs` (the numbers).

mod bindings;
mod cache;
mod compiler;
mod component;
mod cpu_limit;
mod description;
mod engine;
mod fault;
mod host;
mod instance;
mod limits;
mod lines;
mod log;
mod memory;
mod meter;
mod outcome;
mod sandbox;
mod seats;
mod state;
mod tables;
mod text;
mod trusted;

pub use compiler::{ChildCompiler, CompileError, CompileLimits, Compiler, compile_file};
pub use host::{HostConfig, HostError, WasmHost};
