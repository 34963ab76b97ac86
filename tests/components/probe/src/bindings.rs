//! The generated side of the treaty.

#![expect(unsafe_code, clippy::crate_in_macro_def, reason = "generated")]
// Natively nothing of it is exported.
#![cfg_attr(target_arch = "wasm32", expect(unreachable_pub, reason = "generated"))]

wit_bindgen::generate!({
    path: "../../../wit",
    world: "framework",
    pub_export_macro: true,
    default_bindings_module: "crate::bindings",
});

use crate::probe::Probe;
export!(Probe with_types_in crate::bindings);
