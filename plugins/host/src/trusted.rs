//! The one place where compiled code is taken as it is.
#![expect(
    unsafe_code,
    reason = "wasmtime cannot check compiled code; cache.rs hands over only what this host wrote and whose checksum holds"
)]

use wasmtime::Engine;
use wasmtime::component::Component;

/// Makes a component of code that an engine of the same compatibility hash has compiled.
///
/// The caller vouches that `code` is what [`Component::serialize`] returned, byte for byte.
pub(crate) fn component(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes come from a file that this user wrote into a folder closed to others, and
    // their checksum was just compared.
    unsafe { Component::deserialize(engine, code) }
}
