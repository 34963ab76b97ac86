//! The code that is generated from `wit/`: the only place of the SDK that knows the binary
//! interface.

/// Generated from the treaty; [`crate::export_scheduler!`] uses it, authors do not.
#[doc(hidden)]
pub mod generated {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "framework",
        pub_export_macro: true,
        default_bindings_module: "kelson_sdk::__generated",
        export_macro_name: "export_generated",
    });
}
