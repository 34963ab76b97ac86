//! The generated side of the treaty.

#![expect(clippy::crate_in_macro_def, reason = "generated")]
// Natively nothing of it is exported.
#![cfg_attr(
    target_arch = "wasm32",
    expect(unsafe_code, unreachable_pub, reason = "generated")
)]

wit_bindgen::generate!({
    path: "../../../wit",
    world: "framework",
    pub_export_macro: true,
    default_bindings_module: "crate::bindings",
});

// The export names hold `:` and `#`, which native linkers do not take.
#[cfg(target_arch = "wasm32")]
use crate::probe::Probe;
#[cfg(target_arch = "wasm32")]
export!(Probe with_types_in crate::bindings);
