//! The one place where compiled code is taken as it is.
#![expect(
    unsafe_code,
    reason = "wasmtime cannot check compiled code; only what this program compiled, here or in a child, is handed over"
)]

use wasmtime::Engine;
use wasmtime::component::Component;

/// Makes a component of code that an engine of the same compatibility hash has compiled.
///
/// The caller vouches that `code` is what [`Engine::precompile_component`] returned, byte for byte.
pub(crate) fn component(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes come from this process' engine, or from a file that this program wrote into
    // a folder closed to other users; of one that was kept, the checksum was just compared.
    unsafe { Component::deserialize(engine, code) }
}
